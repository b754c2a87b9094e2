// The holder record of schema 1 as soleguard 0.1 wrote and read it. Never changed: what is written
// here is what an older soleguard on the same machine writes and understands, for ever. Nothing of
// the library is used, so that a change there does not change it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include <boost/json.hpp>
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace soleguard::testing {

// Its writer: an area of 4,096 bytes with any text in it.
inline std::string AreaOfSchema1(std::string_view json, std::uint64_t sequence = 1) {
  const auto padded = [](std::uint64_t number, std::size_t digits) {
    const std::string text = std::to_string(number);
    return std::string(digits - std::min(digits, text.size()), '0') + text;
  };
  const std::string head = padded(sequence, 20) + " " + padded(json.size(), 4) + " ";
  const std::string covered = head + std::string(json);
  std::uint64_t checksum = XXH64(covered.data(), covered.size(), 0);
  std::string hex(16, '0');
  for (auto digit = hex.rbegin(); digit != hex.rend(); ++digit, checksum /= 16) {
    *digit = "0123456789abcdef"[checksum % 16];
  }
  std::string area = "soleguard-record 1 " + head + hex + "\n" + std::string(json);
  area.resize(4095, ' ');
  return area + "\n";
}

// What it wrote, as it stood there, with the first line: of a command in a slot that was handed on,
// and of a process that gave up before it had a token.
inline constexpr std::string_view kHandedOnOfSchema1 =
    "soleguard-record 1 00000000000000000042 0562 4f31ba0414bc6aff\n"
    R"json({"schema":1,"state":"established","name":"trading_bot","slot":2,"scope":"/run/x","identity":)json"
    R"json({"boot_id":"0d7e84a5-6b68-44cf-8fca-8bb0a0cd1f27","pid_namespace":4026531836,"pid":4711,)json"
    R"json("start_ticks":10627439},"instance":{"boot_id":"0d7e84a5-6b68-44cf-8fca-8bb0a0cd1f27",)json"
    R"json("pid_namespace":4026531836,"pid":4713,"start_ticks":10627440},"hostname":"hermes",)json"
    R"json("user":"ada","executable":"/usr/bin/\\xff","cwd":"/home/ada/bot",)json"
    R"json("started":"2025-07-20T08:26:40.123456Z","policy":"all(file, mutex, port)",)json"
    R"json("layers":["file","mutex","port"],"token":1753000000123456,"version":"0.1.0"})json";
inline constexpr std::string_view kGivenUpOfSchema1 =
    "soleguard-record 1 00000000000000000042 0263 30bc731760667818\n"
    R"json({"schema":1,"state":"releasing","name":"x","scope":"user","identity":{"boot_id":"b",)json"
    R"json("pid_namespace":1,"pid":1,"start_ticks":0},"hostname":"","user":"","executable":"",)json"
    R"json("cwd":"","started":"1970-01-01T00:00:00.000000Z","policy":"","layers":[],"token":0,)json"
    R"json("version":""})json";

// Its reader: the record's JSON, or an exception that says what it would not have taken.
inline boost::json::object ReadAsSchema1(std::string_view area) {
  const auto need = [](bool condition, const char* what) {
    if (!condition) throw std::runtime_error(what);
  };
  need(area.size() == 4096, "4,096 bytes");
  const std::size_t size = std::stoul(std::string(area.substr(40, 4)));
  need(size <= 4096 - 62 - 1, "a length that fits");
  const std::string json(area.substr(62, size));
  need(area == AreaOfSchema1(json, std::stoull(std::string(area.substr(19, 20)))),
       "the header, the checksum and blanks");
  boost::json::object record = boost::json::parse(json).as_object();
  need(record.at("schema").to_number<std::uint64_t>() == 1, "schema 1");
  const std::string state(record.at("state").as_string());
  need(state == "candidate" || state == "established" || state == "releasing", "a state");
  for (const char* key :
       {"name", "scope", "hostname", "user", "executable", "cwd", "started", "policy", "version"}) {
    need(record.at(key).is_string(), key);
  }
  need(record.at("layers").is_array(), "layers");
  for (const boost::json::value& layer : record.at("layers").as_array()) {
    need(layer.is_string(), "layers");
  }
  (void)record.at("token").to_number<std::uint64_t>();
  if (record.contains("slot")) (void)record.at("slot").to_number<std::uint32_t>();
  for (const char* key : {"identity", "instance"}) {
    if (std::string_view(key) == "instance" && !record.contains(key)) continue;
    const boost::json::object& identity = record.at(key).as_object();
    need(identity.at("boot_id").is_string(), "boot_id");
    need(identity.at("pid").to_number<std::int32_t>() > 0, "pid");
    (void)identity.at("pid_namespace").to_number<std::uint64_t>();
    (void)identity.at("start_ticks").to_number<std::uint64_t>();
  }
  return record;
}

}  // namespace soleguard::testing

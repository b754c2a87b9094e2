#include "show/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>
#include <boost/json.hpp>

#include "show/words.h"
#include <soleguard/event.h>
#include <soleguard/process.h>

namespace guardcheck {
namespace {

using soleguard::Finding;
using soleguard::Holder;
using soleguard::HolderRecord;
using soleguard::LayerReport;
using soleguard::ProcessIdentity;

boost::json::string TextOf(const Shown& shown) { return boost::json::string(shown.text()); }

// The id of an event, by which other tools know it.
Json EventJson(const Finding& finding) {
  const auto events = soleguard::Events();
  const auto found = std::find_if(
      events.begin(), events.end(),
      [&finding](const soleguard::EventInfo& info) { return finding.event == info.event; });
  return found != events.end() ? Json(Said(found->id)) : Json();
}

Json FindingJson(const Finding& finding) {
  return Json::Object({{"severity", WordOf(finding.severity)},
                       {"layer", Said(finding.layer)},
                       {"what", Said(finding.what)},
                       {"consequence", OrNull(Said(finding.consequence))},
                       {"fix", OrNull(Said(finding.fix))},
                       {"event", EventJson(finding)},
                       {"threat", finding.threat}});
}

// 15.6, as a person writes it: Boost.JSON writes 1.56E1, which some readers take for text.
void AppendNumber(std::string& line, double number) {
  // Of the largest double in this notation, with room to spare.
  std::array<char, 400> digits;
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), number, std::chars_format::fixed);
  const std::string_view text(digits.data(), static_cast<std::size_t>(end - digits.data()));
  line += text;
  if (text.find('.') == std::string_view::npos) line += ".0";  // of one type, whatever its value
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as guardcheck has built it
void Append(std::string& line, const boost::json::value& value) {
  const char* between = "";
  if (const auto* object = value.if_object()) {
    line += '{';
    for (const auto& [key, member] : *object) {
      absl::StrAppend(&line, std::exchange(between, ","), boost::json::serialize(key), ":");
      Append(line, member);
    }
    line += '}';
  } else if (const auto* array = value.if_array()) {
    line += '[';
    for (const boost::json::value& element : *array) {
      line += std::exchange(between, ",");
      Append(line, element);
    }
    line += ']';
  } else if (const auto* number = value.if_double()) {
    AppendNumber(line, *number);
  } else {
    line += boost::json::serialize(value);
  }
}

// To so many decimal places.
double Rounded(double number, int places) {
  const double factor = std::pow(10.0, places);
  return std::round(number * factor) / factor;
}

}  // namespace

Json::Json(const Shown& text) : value_(TextOf(text)) {}

Json Json::Object(std::initializer_list<Member> members) {
  auto object = Json(boost::json::value(boost::json::object_kind));
  for (const auto& [key, value] : members) object.Set(key, value);
  return object;
}

void Json::Set(const Shown& key, const Json& value) {
  value_.as_object()[key.text()] = value.value_;
}

void Json::Add(const Json& element) { value_.as_array().push_back(element.value_); }

Json OrNull(const Shown& text) { return text.empty() ? Json() : Json(text); }

Shown Rfc3339(absl::Time time) {
  return Said(absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone()));
}

Json WordsJson(const std::vector<std::string>& words) {
  return ArrayOf(words, [](const std::string& word) { return Json(Escape(word)); });
}

Json IdentityJson(const ProcessIdentity& identity) {
  Json object = Json::Object({{"pid", identity.pid},
                              {"start_ticks", identity.start_ticks},
                              {"pid_namespace", identity.pid_namespace},
                              {"boot_id", Escape(identity.boot_id)}});
  if (!identity.machine.empty()) object.Set("machine", Escape(identity.machine));
  return object;
}

Json ProcessJson(const ProcessIdentity& identity) {
  Json object = IdentityJson(identity);
  const auto process = Live(identity);
  object.Set("liveness", WordOf(LivenessOf(identity)));
  if (!process.has_value()) return object;
  object.Set("parent_pid", process->parent_pid);
  object.Set("executable", Escape(process->executable));
  object.Set("argv", WordsJson(MaskSecrets(process->argv)));
  object.Set("cwd", Escape(process->working_directory));
  object.Set("uid", process->uid);
  object.Set("user", Escape(process->user));
  object.Set("state", Escape({&process->state, 1}));
  object.Set("cpu_percent", Rounded(process->cpu_percent, 1));
  object.Set("memory_bytes", process->memory_bytes);
  object.Set("started", Rfc3339(process->started));
  return object;
}

Json RecordJson(const HolderRecord& record) {
  Json object = Json::Object({{"state", WordOf(record.state)},
                              {"name", Escape(record.name)},
                              {"slot", record.slot},
                              {"scope", Escape(record.scope)},
                              {"identity", IdentityJson(record.identity)},
                              {"hostname", Escape(record.hostname)},
                              {"user", Escape(record.user)},
                              {"executable", Escape(record.executable)},
                              {"cwd", Escape(record.working_directory)},
                              {"started", record.is_newer() ? Json() : Rfc3339(record.started)},
                              {"policy", Escape(record.policy)},
                              {"layers", WordsJson(record.layers)},
                              {"token", record.token},
                              {"version", Escape(record.version)},
                              {"schema", record.schema}});
  if (record.instance.has_value()) object.Set("instance", IdentityJson(*record.instance));
  return object;
}

Json BeatJson(const std::optional<soleguard::Beat>& beat) {
  if (!beat.has_value()) return nullptr;
  return Json::Object({{"age_seconds", Rounded(absl::ToDoubleSeconds(beat->age), 3)},
                       {"every_seconds", Rounded(absl::ToDoubleSeconds(beat->every), 3)},
                       {"count", beat->count},
                       {"overdue", beat->is_overdue()}});
}

Json HolderJson(const Holder& holder) {
  Json object = Json::Object({{"standing", WordOf(holder.standing)},
                              {"evidence", Said(holder.evidence)},
                              {"record", nullptr},
                              {"process", nullptr},
                              {"suspects", ArrayOf(holder.processes, &ProcessJson)}});
  if (holder.free_at.has_value()) {
    object.Set("free_in_seconds", Rounded(absl::ToDoubleSeconds(holder.free_at->Left()), 3));
  }
  if (holder.beat.has_value()) object.Set("beat", BeatJson(holder.beat));
  if (holder.record.has_value()) {
    object.Set("record", RecordJson(*holder.record));
    object.Set("process", ProcessJson(holder.record->running()));
  }
  return object;
}

Json HolderOrNull(const Holder* holder) { return holder != nullptr ? HolderJson(*holder) : Json(); }

Json HoldersJson(const std::vector<Holder>& holders) { return ArrayOf(holders, &HolderJson); }

Json LayersJson(const std::vector<LayerReport>& layers) {
  return ArrayOf(layers, [](const LayerReport& layer) {
    Json object =
        Json::Object({{"layer", Escape(layer.layer)}, {"outcome", WordOf(layer.outcome)}});
    if (layer.holder.has_value()) object.Set("evidence", Said(layer.holder->evidence));
    if (!layer.status.ok()) object.Set("reason", Said(layer.status.message()));
    return object;
  });
}

Json SightingJson(const std::string& layer, const soleguard::Sighting& sighting) {
  Json object = Json::Object({{"layer", Escape(layer)}, {"sighting", "free"}});
  if (const auto* taken = std::get_if<soleguard::Taken>(&sighting)) {
    object.Set("sighting", "taken");
    object.Set("standing", WordOf(taken->holder.standing));
    object.Set("evidence", Said(taken->holder.evidence));
  } else if (const auto* unavailable = std::get_if<soleguard::Unavailable>(&sighting)) {
    object.Set("sighting", "unavailable");
    object.Set("reason", Said(unavailable->status.message()));
  }
  return object;
}

Json FindingsJson(const std::vector<Finding>& findings) { return ArrayOf(findings, &FindingJson); }

Json Head(const std::string& name, const Common& common) {
  return Json::Object({{"schema", 1},
                       {"name", Escape(name)},
                       {"scope", Escape(common.options.scope.ToString())},
                       {"policy", Escape(common.policy.ToString())}});
}

std::string Line(const Json& value) {
  std::string line;
  Append(line, value.value());
  return line;
}

void Print(const Json& value) { (void)std::puts(Line(value).c_str()); }

}  // namespace guardcheck

#include "refusal.h"

#include <absl/strings/str_cat.h>
#include <boost/json.hpp>

namespace launch_storm {
namespace {

namespace json = boost::json;

constexpr int kDuplicate = 75;
constexpr int kUndetermined = 69;

void ReadHolder(const json::value& holder, Refusal& refusal) {
  const std::string standing = json::value_to<std::string>(holder.at("standing"));
  refusal.note = absl::StrCat(standing, ", ", json::value_to<std::string>(holder.at("evidence")));
  // Of an unknown holder the record is the last one that was written, by whomever.
  if (standing != "unknown" && holder.at("record").is_object()) {
    refusal.cited = holder.at("record").at("identity").at("pid").to_number<std::int64_t>();
  } else if (const json::array& suspects = holder.at("suspects").as_array(); !suspects.empty()) {
    refusal.cited = suspects.front().at("pid").to_number<std::int64_t>();
    for (const json::value& suspect : suspects) {
      absl::StrAppend(&refusal.note, ", pid ", suspect.at("pid").to_number<std::int64_t>(), " (",
                      json::value_to<std::string>(suspect.at("liveness")), ")");
    }
  }
}

}  // namespace

Refusal ReadRefusal(int code, const std::string& output) {
  Refusal refusal;
  if (code != kDuplicate && code != kUndetermined) return refusal;
  refusal.kind = code == kDuplicate ? Refusal::Kind::kDuplicate : Refusal::Kind::kUndetermined;
  try {
    const json::value document = json::parse(output);
    if (code == kDuplicate) {
      ReadHolder(document.at("holder"), refusal);
    } else {
      refusal.note = json::value_to<std::string>(document.at("reason"));
    }
  } catch (const std::exception& error) {
    refusal.note = absl::StrCat("unexpected output (", error.what(), "): ", output.substr(0, 80));
  }
  return refusal;
}

}  // namespace launch_storm

// What guardcheck says to programs: JSON, and the parts that several commands have in theirs.
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/time/time.h>
#include <boost/json/value.hpp>

#include "command.h"
#include "shown.h"
#include <soleguard/diagnose.h>
#include <soleguard/finding.h>
#include <soleguard/guard.h>
#include <soleguard/layer.h>
#include <soleguard/process_identity.h>

namespace guardcheck {

// A value. Of text it takes what is Shown, and nothing else.
class Json {
 public:
  // NOLINTBEGIN(google-explicit-constructor): it stands for what it is made of
  Json(std::nullptr_t = nullptr) {}
  template <typename Number>
  requires std::integral<Number> || std::floating_point<Number> Json(Number number)
      : value_(number) {}
  Json(const Shown& text);
  template <std::size_t size>
  Json(const char (&literal)[size]) : Json(Shown(literal)) {}
  template <std::size_t size>
  Json(char (&buffer)[size]) = delete;
  template <typename Value>
  Json(const std::optional<Value>& value) : Json(value.has_value() ? Json(*value) : Json()) {}
  // NOLINTEND(google-explicit-constructor)

  // In the order of the members.
  using Member = std::pair<Shown, Json>;
  static Json Object(std::initializer_list<Member> members);
  // Adds a member to an object, or changes it.
  void Set(const Shown& key, const Json& value);

  static Json Array() { return Json(boost::json::value(boost::json::array_kind)); }
  void Add(const Json& element);

  const boost::json::value& value() const { return value_; }

 private:
  explicit Json(boost::json::value value) : value_(std::move(value)) {}

  boost::json::value value_;
};

// Of each of `all` what `json` makes of it.
template <typename All, typename Function>
Json ArrayOf(const All& all, Function json) {
  Json array = Json::Array();
  for (const auto& each : all) array.Add(json(each));
  return array;
}

// "" is null.
Json OrNull(const Shown& text);

// With microseconds (RFC 3339).
Shown Rfc3339(absl::Time time);

Json IdentityJson(const soleguard::ProcessIdentity& identity);
// As the process is now.
Json ProcessJson(const soleguard::ProcessIdentity& identity);
// Foreign words, masked if they are an argument vector.
Json WordsJson(const std::vector<std::string>& words);
Json RecordJson(const soleguard::HolderRecord& record);
Json BeatJson(const std::optional<soleguard::Beat>& beat);
Json HolderJson(const soleguard::Holder& holder);
Json HolderOrNull(const soleguard::Holder* holder);
Json HoldersJson(const std::vector<soleguard::Holder>& holders);
// What each layer said to a start.
Json LayersJson(const std::vector<soleguard::LayerReport>& layers);
// What one layer shows, and all: `layers` are of an Inspection or a ConflictReport.
Json SightingJson(const std::string& layer, const soleguard::Sighting& sighting);
template <typename Layers>
Json SightingsJson(const Layers& layers) {
  return ArrayOf(layers,
                 [](const auto& layer) { return SightingJson(layer.layer, layer.sighting); });
}
Json FindingsJson(const std::vector<soleguard::Finding>& findings);

// The members with which an object about a name begins.
Json Head(const std::string& name, const Common& common);

// As one line, without a newline; and that to standard output.
std::string Line(const Json& value);
void Print(const Json& value);

}  // namespace guardcheck

#include "line/config_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "command.h"
#include "line/trusted_file.h"
#include "show/say.h"
#include "shown.h"
#include <soleguard/name.h>
#include <soleguard/patience.h>
#include <soleguard/process.h>

namespace guardcheck {
namespace {

using IsKnown = std::function<bool(const std::string& key)>;

constexpr std::string_view kNames = "names";        // [names.trading_bot]
constexpr std::string_view kProfiles = "profiles";  // [profiles.prod]

Shown At(const std::string& file, const toml::node& node) {
  return Text(Escape(file), ":", node.source().begin.line);
}

[[noreturn]] void Refuse(const std::string& file, const toml::node& node, const std::string& why) {
  throw UsageError(absl::StrCat(At(file, node).text(), ": ", why));
}

std::string TextOf(const std::string& file, const std::string& key, const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto truth = node.value_exact<bool>()) return *truth ? "true" : "false";
  if (const auto number = node.value_exact<std::int64_t>()) return absl::StrCat(*number);
  Refuse(file, node, absl::StrCat(key, ": expected a string, a whole number, true or false"));
}

// The settings of one table, but for its tables of names and profiles.
std::vector<Config::Setting> SettingsOf(const std::string& file, const toml::table& table,
                                        const IsKnown& is_known) {
  std::vector<Config::Setting> settings;
  for (const auto& [toml_key, node] : table) {
    const std::string key(toml_key.str());
    if ((key == kNames || key == kProfiles) && node.is_table()) continue;
    if (!is_known(key)) {
      Refuse(file, node,
             absl::StrCat("there is no setting '", Escape(key).text(),
                          "'; guardcheck config NAME lists them"));
    }
    Config::Setting setting{.key = key, .texts = {}, .origin = At(file, node)};
    if (const toml::array* array = node.as_array()) {
      if (array->empty()) Refuse(file, node, absl::StrCat(key, ": the value is empty"));
      for (const toml::node& element : *array) setting.texts.push_back(TextOf(file, key, element));
    } else {
      setting.texts.push_back(TextOf(file, key, node));
    }
    settings.push_back(std::move(setting));
  }
  return settings;
}

struct Contents {
  std::vector<Config::Setting> of_the_name;
  std::vector<Config::Setting> of_all;
  soleguard::Profiles profiles;
};

soleguard::Profiles ProfilesOf(const std::string& file, const toml::table& tables) {
  soleguard::Profiles profiles;
  for (const auto& [toml_name, node] : tables) {
    const std::string name(toml_name.str());
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      Refuse(file, node, absl::StrCat("expected a table [profiles.", Escape(name).text(), "]"));
    }
    soleguard::Profile::Settings settings;
    for (const auto& [toml_key, value] : *table) {
      const std::string key(toml_key.str());
      settings[key] = TextOf(file, Escape(key).text(), value);
    }
    profiles.emplace(name, std::move(settings));
  }
  return profiles;
}

// A mistake in another name's part is one too: it would wait there for its day.
Contents Read(const std::string& file, const std::string& text, const std::string& name,
              const IsKnown& is_known) {
  const toml::table table = [&] {
    try {
      return toml::parse(text, file);
    } catch (const toml::parse_error& error) {
      throw UsageError(absl::StrCat(Escape(file).text(), ":", error.source().begin.line, ": ",
                                    std::string(error.description())));
    }
  }();
  Contents contents{.of_the_name = {}, .of_all = SettingsOf(file, table, is_known), .profiles = {}};
  if (const toml::table* profiles = table[kProfiles].as_table()) {
    contents.profiles = ProfilesOf(file, *profiles);
  }
  const toml::table* names = table[kNames].as_table();
  if (names == nullptr) return contents;
  for (const auto& [toml_key, node] : *names) {
    const std::string key(toml_key.str());
    if (!node.is_table())
      Refuse(file, node, absl::StrCat("expected a table [names.", Escape(key).text(), "]"));
    const auto valid = soleguard::InstanceName::Parse(key);
    if (!valid.ok()) Refuse(file, node, std::string(valid.status().message()));
    std::vector<Config::Setting> settings = SettingsOf(file, *node.as_table(), is_known);
    if (key == name) contents.of_the_name = std::move(settings);
  }
  return contents;
}

void SayHidden(const Shown& what, const absl::Status& why) {
  Say(Priority::kWarning,
      Text("goes on without the settings of ", what, ": ", Said(why.message())));
}

std::vector<std::string> Places(absl::Duration time) {
  std::vector<std::string> places;
  const soleguard::Patience of_the_names(time);
  const absl::StatusOr<std::string> home = soleguard::HomeDirectory();
  if (home.ok()) {
    places.push_back(absl::StrCat(*home, "/.config/soleguard/config.toml"));
  } else if (soleguard::Patience::Left() <= absl::Milliseconds(1)) {
    // No such user and no answer are one status; what has taken all of the time was no answer.
    SayHidden("the user", absl::UnavailableError(absl::StrCat(
                              "no name service has answered within ", absl::FormatDuration(time),
                              ": ", absl::string_view(home.status().message()))));
  }
  places.emplace_back("/etc/soleguard.toml");
  return places;
}

}  // namespace

Config::Config(const std::string& file, const std::string& name, const IsKnown& is_known,
               absl::Duration patience) {
  const absl::Duration time = std::clamp(patience, kLeast, soleguard::Patience::kMost);
  std::vector<Setting> of_all;
  for (const std::string& place : file.empty() ? Places(time) : std::vector{file}) {
    // For each question anew: what is left over by another one may be nothing.
    std::optional<soleguard::Patience> shorter;
    if (time < soleguard::Patience::kMost) shorter.emplace(time);
    const absl::StatusOr<std::string> text = ReadTrustedFile(place);
    if (file.empty() && absl::IsNotFound(text.status())) continue;
    // Nobody asked for it by name, and nothing says that it is there: a home that is hidden
    // (ProtectHome=, a ~/.config that sudo left) or whose server is away stops no service. See
    // docs/decisions/0018-hidden-settings.md.
    if (file.empty() && absl::IsUnavailable(text.status())) {
      SayHidden(Escape(place), text.status());
      continue;
    }
    if (!text.ok()) throw UsageError(std::string(text.status().message()));
    Contents contents = Read(place, *text, name, is_known);
    std::move(contents.of_the_name.begin(), contents.of_the_name.end(),
              std::back_inserter(settings_));
    std::move(contents.of_all.begin(), contents.of_all.end(), std::back_inserter(of_all));
    profiles_.merge(contents.profiles);
  }
  std::move(of_all.begin(), of_all.end(), std::back_inserter(settings_));
}

const Config::Setting* Config::Find(const std::string& key) const {
  const auto found = std::find_if(settings_.begin(), settings_.end(),
                                  [&](const Setting& setting) { return setting.key == key; });
  return found != settings_.end() ? &*found : nullptr;
}

}  // namespace guardcheck

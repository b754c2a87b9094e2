// Settings of a layer that policy text only names.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace soleguard {

// What a kind of layer needs and policy text must not say, because that is shown to everybody:
// addresses, certificates, passwords. `etcd(prod)` names the profile "prod"; Options::profiles, or
// the table [profiles.prod] of guardcheck's configuration, has it. It has no text form: no record,
// message or log can contain it by accident.
class Profile {
 public:
  using Settings = std::map<std::string, std::string, std::less<>>;
  Profile() = default;
  explicit Profile(Settings settings) : settings_(std::move(settings)) {}

  // nullptr: it is not set.
  const std::string* Find(std::string_view key) const {
    const auto found = settings_.find(key);
    return found == settings_.end() ? nullptr : &found->second;
  }
  // For a kind that looks for what it does not know. The values are not for messages.
  const Settings& settings() const { return settings_; }

 private:
  Settings settings_;
};
using Profiles = std::map<std::string, Profile, std::less<>>;

}  // namespace soleguard

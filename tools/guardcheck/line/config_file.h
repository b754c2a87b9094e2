// The configuration files.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <absl/time/time.h>

#include "shown.h"
#include <soleguard/profile.h>

namespace guardcheck {

// What the files say about one name, in the order of their weight: of the name in the user's file,
// of the name in the host's, then what they say of all names, the user's file first.
class Config {
 public:
  // Reads `file`, which must be there. If it is empty, those that are there of /etc/soleguard.toml
  // and .config/soleguard/config.toml in the home that the password database names ($HOME and
  // XDG_CONFIG_HOME differ under sudo, cron and services); where it cannot be seen whether one of
  // those is there, that is said on stderr and it counts as absent. A server that has to be asked,
  // of names or of files, gets `patience` to answer, but never less than kLeast: else one that
  // answers would be taken for one that is away, and the settings for absent. `name`
  // may be empty: no name. `is_known` tells which keys there are: another one is a mistake, and not
  // passed over. Throws UsageError, with the file and the line. A file that somebody else than root
  // and the caller may write is refused: it can name commands.
  Config(const std::string& file, const std::string& name,
         const std::function<bool(const std::string& key)>& is_known, absl::Duration patience);
  static constexpr absl::Duration kLeast = absl::Milliseconds(500);

  struct Setting {
    std::string key;
    std::vector<std::string> texts;  // more than one of an array
    Shown origin;                    // "/etc/soleguard.toml:3"
  };
  // nullptr: the files do not say.
  const Setting* Find(const std::string& key) const;

  // The tables [profiles.NAME], each from the first file that has it. Their values are secrets: no
  // message has them.
  const soleguard::Profiles& profiles() const { return profiles_; }

 private:
  std::vector<Setting> settings_;  // the first one of a key counts
  soleguard::Profiles profiles_;
};

}  // namespace guardcheck

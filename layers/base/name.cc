#include "soleguard/name.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "soleguard/text.h"

namespace soleguard {
namespace {

// NAME_MAX of every filesystem that matters: a name is the name of a directory.
constexpr std::size_t kMaxBytes = 255;

bool IsForbidden(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == '/' || byte < 0x20 || byte == 0x7f;
}

// `index` counts from 0, the message from 1, as the columns of a policy do.
absl::Status Error(std::size_t index, const std::string& rule) {
  return absl::InvalidArgumentError(absl::StrCat("instance name, byte ", index + 1, ": ", rule));
}

}  // namespace

absl::StatusOr<InstanceName> InstanceName::Parse(std::string_view text) {
  if (text.empty()) return Error(0, "a name has at least 1 byte, this one is empty");
  if (text.size() > kMaxBytes) {
    return Error(kMaxBytes, absl::StrCat("a name has at most ", kMaxBytes, " bytes, this one has ",
                                         text.size()));
  }
  if (text == "." || text == "..") {
    return Error(0, absl::StrCat("a name is not '", std::string(text),
                                 "', which every directory has already"));
  }
  if (const auto bad = std::find_if(text.begin(), text.end(), IsForbidden); bad != text.end()) {
    const auto index = static_cast<std::size_t>(bad - text.begin());
    return Error(index, absl::StrCat("a name has no '/' and no control characters, found '",
                                     EscapeBytes(text.substr(index, 1)), "'"));
  }
  return InstanceName(std::string(text));
}

std::string InstanceName::key() const {
  return slot_ == 0 ? text_ : absl::StrCat(text_, "/slots/", slot_);
}

}  // namespace soleguard

// Why a path cannot be used: what a person has to know to mend it, said where it happens. Private
// to layers/.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include <absl/status/status.h>

namespace soleguard::os {

// "cannot open /x/y: Permission denied (/x belongs to root (uid 0) and has mode 0700, which keeps
// out trader (uid 1000): …)", with the code that fits `error`: who owns what is in the way, its
// mode, who asks, and what to do; of a filesystem that is full or read-only where it is mounted.
// Looks at the path once more, as it is now. `path` is absolute, or the reason is left out.
absl::Status PathError(int error, std::string_view what, const std::string& path);

// Whether the caller could make files below `directory`, which need not exist: an error as of the
// call that would fail.
absl::Status CheckMayMakeBelow(const std::string& directory);

// "0700".
std::string Octal(mode_t mode);

// "sudo -u trader", or "sudo -u '#1000'" for a user without a name.
std::string SudoAs(std::uint32_t uid);
// What a start is told whose scope belongs to somebody else: "start it as that user (sudo -u …)".
std::string StartAs(std::uint32_t uid);

}  // namespace soleguard::os

#include "soleguard/place_name.h"

#include <cstddef>
#include <filesystem>
#include <string>
#include <system_error>

#include <absl/strings/str_cat.h>

#include "base/hash.h"
#include "soleguard/first_bytes.h"
#include "soleguard/patience.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostReadable = 100;  // bytes: what a directory is called may have 255

// The last component of a canonical path, as far as a name can have it.
std::string Readable(const fs::path& canonical) {
  std::string text = canonical.filename();
  if (text.empty()) return "root";              // "/"
  if (text.front() == '-') text.front() = '_';  // it would be an option where it is typed
  for (char& byte : text) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x20 || value == 0x7f) byte = '_';
  }
  return std::string(FirstBytes(text, kMostReadable));
}

}  // namespace

absl::StatusOr<InstanceName> NameOfPlace(const std::string& directory) {
  absl::Status answers = AwaitFilesystem(directory);
  if (!answers.ok()) return answers;
  std::error_code error;
  const fs::path canonical = fs::canonical(directory, error);
  if (!error && !fs::is_directory(canonical, error) && !error) {
    error = std::make_error_code(std::errc::not_a_directory);
  }
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("no name comes from '", EscapeBytes(directory), "': ", error.message()));
  }
  return InstanceName::Parse(absl::StrCat(Readable(canonical), "-",
                                          absl::Hex(HashOf(canonical.string()), absl::kZeroPad16)));
}

}  // namespace soleguard

// The files that programs are, and a watch on one file.
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "os/error.h"
#include "os/file.h"
#include "os/program.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// What execvp(3) uses without PATH (confstr(3), _CS_PATH).
constexpr char kDefaultPath[] = "/bin:/usr/bin";

std::string Below(const std::string& directory, const std::string& path) {
  return directory.empty() || path.starts_with('/') ? path : absl::StrCat(directory, "/", path);
}

// After which execvp(3) tries the next directory of PATH: the program is not there, or is not to be
// executed.
bool IsPassedOver(int error) {
  return error == EACCES || error == ENOENT || error == ENOTDIR || error == ESTALE ||
         error == ENODEV || error == ETIMEDOUT;
}

// The next bytes of a file, less than asked for only at its end.
absl::StatusOr<std::size_t> ReadFully(int fd, std::array<char, 65536>& buffer) {
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t got =
        RetryOnEintr([&] { return read(fd, buffer.data() + size, buffer.size() - size); });
    if (got < 0) return ErrnoStatus(errno, "read a program");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  return size;
}

}  // namespace

absl::StatusOr<ProgramFile> ProgramFileAt(const std::string& path) {
  struct statx result = {};
  // AT_STATX_DONT_SYNC: the server of a network filesystem may be away.
  if (RetryOnEintr([&] {
        return statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC,
                     STATX_TYPE | STATX_INO | STATX_SIZE, &result);
      }) != 0) {
    if (errno == ENOTDIR) errno = ENOENT;
    return ErrnoStatus(errno, absl::StrCat("look at ", EscapeBytes(path)));
  }
  if (!S_ISREG(result.stx_mode)) {
    return absl::NotFoundError(absl::StrCat(EscapeBytes(path), " is no regular file"));
  }
  return ProgramFile{.file = {.device = makedev(result.stx_dev_major, result.stx_dev_minor),
                              .inode = result.stx_ino},
                     .size = result.stx_size};
}

absl::StatusOr<std::string> FindProgram(const std::string& name, const std::string& directory) {
  if (name.find('/') != std::string::npos) return Below(directory, name);
  const char* variable = getenv("PATH");  // NOLINT(concurrency-mt-unsafe): as execvp(3) does
  const std::string path = variable != nullptr ? variable : kDefaultPath;
  for (const absl::string_view entry : absl::StrSplit(path, ':')) {
    const std::string found =
        Below(directory, entry.empty() ? name : absl::StrCat(entry, "/", name));
    if (access(found.c_str(), X_OK) == 0) {
      const absl::Status seen = ProgramFileAt(found).status();
      if (seen.ok()) return found;
      if (!absl::IsNotFound(seen)) return seen;
    } else if (!IsPassedOver(errno)) {
      return ErrnoStatus(errno, absl::StrCat("look for ", EscapeBytes(found)));
    }
  }
  return absl::NotFoundError(absl::StrCat("no program ", EscapeBytes(name), " in PATH"));
}

absl::StatusOr<std::optional<std::string>> InterpreterLine(const std::string& path) {
  const absl::StatusOr<UniqueFd> fd = OpenForReading(path);
  if (absl::IsPermissionDenied(fd.status())) return std::nullopt;
  if (!fd.ok()) return fd.status();
  constexpr std::size_t kRead = 256;
  const absl::StatusOr<std::string> start = ReadAt(fd->get(), kRead);
  if (!start.ok()) return start.status();
  if (!start->starts_with("#!")) return std::nullopt;
  return start->substr(2, start->find('\n') - 2);
}

absl::StatusOr<bool> SameContent(int a, int b) {
  const auto buffers = std::make_unique<std::array<std::array<char, 65536>, 2>>();
  while (true) {
    const absl::StatusOr<std::size_t> of_a = ReadFully(a, buffers->at(0));
    if (!of_a.ok()) return of_a.status();
    const absl::StatusOr<std::size_t> of_b = ReadFully(b, buffers->at(1));
    if (!of_b.ok()) return of_b.status();
    if (*of_a != *of_b) return false;
    if (*of_a == 0) return true;
    if (std::memcmp(buffers->at(0).data(), buffers->at(1).data(), *of_a) != 0) return false;
  }
}

}  // namespace soleguard::os

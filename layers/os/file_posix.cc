#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <new>

#include <absl/strings/str_cat.h>

#include "os/denied.h"
#include "os/error.h"
#include "os/file.h"
#include "os/kept_fd.h"
#include "os/lock.h"
#include "os/path.h"
#include "soleguard/text.h"

namespace soleguard::os {

absl::StatusOr<FileIdentity> IdentityOfFile(int fd) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) return FileError(errno, "fstat", fd);
  return FileIdentity{.device = status.st_dev, .inode = status.st_ino};
}

Stream OpenStream(const char* path) {
  UniqueFd fd(RetryOnEintr([path] { return open(path, O_RDONLY | O_CLOEXEC); }));
  Stream stream(fd ? fdopen(fd.get(), "r") : nullptr, &std::fclose);
  if (stream != nullptr) (void)fd.release();  // the stream's now
  return stream;
}

absl::StatusOr<UniqueFd> OpenForReading(const std::string& path) {
  UniqueFd fd(RetryOnEintr(
      [&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }));
  if (!fd) return PathError(errno, "open", path);
  return fd;
}

absl::StatusOr<std::string> ReadAll(const std::string& path, std::size_t limit) {
  const UniqueFd fd(RetryOnEintr(
      [&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); }));
  if (!fd) return PathError(errno, "open", path);
  std::string text;
  std::array<char, 16384> buffer{};
  while (text.size() < limit) {
    const ssize_t got = RetryOnEintr([&] { return read(fd.get(), buffer.data(), buffer.size()); });
    if (got < 0) return ErrnoStatus(errno, absl::StrCat("read ", EscapeBytes(path)));
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

absl::StatusOr<std::string> ReadAt(int fd, std::size_t limit) {
  return ReadRange(fd, {.offset = 0, .size = limit});
}

absl::StatusOr<std::string> ReadRange(int fd, Range range) {
  std::string bytes(range.size, '\0');
  const auto offset = static_cast<off_t>(range.offset);
  const auto got = RetryOnEintr([&] { return pread(fd, bytes.data(), bytes.size(), offset); });
  if (got < 0) return FileError(errno, "read", fd);
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

absl::Status WriteAt(int fd, std::string_view bytes) { return WriteAt(fd, bytes, 0); }

namespace {

// Beyond it the kernel would end the process.
absl::Status CheckSizeLimit(int fd, std::uint64_t end) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      end <= limit.rlim_cur) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "cannot write ", PathOf(fd), ": the limit of file sizes (ulimit -f) is reached; raise it"));
}

// What write(2) and its kin said of a regular file.
absl::Status CheckWritten(int fd, ssize_t put, std::size_t size) {
  if (put < 0) return FileError(errno, "write", fd);
  // A short write means that the disk or quota ended there.
  if (static_cast<std::size_t>(put) != size) return FileError(ENOSPC, "write", fd);
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteAt(int fd, std::string_view bytes, std::uint64_t offset) {
  absl::Status fits = CheckSizeLimit(fd, offset + bytes.size());
  if (!fits.ok()) return fits;
  const auto put = RetryOnEintr(
      [&] { return pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
  return CheckWritten(fd, put, bytes.size());
}

absl::Status Append(int fd, std::string_view bytes) {
  const absl::StatusOr<std::uint64_t> size = SizeOf(fd);
  if (!size.ok()) return size.status();
  absl::Status fits = CheckSizeLimit(fd, *size + bytes.size());
  if (!fits.ok()) return fits;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_APPEND) != 0) return FileError(errno, "fcntl", fd);
  const auto put = RetryOnEintr([&] { return write(fd, bytes.data(), bytes.size()); });
  return CheckWritten(fd, put, bytes.size());
}

absl::StatusOr<std::uint64_t> SizeOf(int fd) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) return FileError(errno, "fstat", fd);
  return static_cast<std::uint64_t>(status.st_size);
}

namespace {

enum class Flush { kNo, kYes };

absl::StatusOr<UniqueFd> Replace(const std::string& directory, const std::string& name,
                                 std::string_view bytes, mode_t mode, Flush flush) {
  std::string temporary = absl::StrCat(directory, "/.new.XXXXXX");
  UniqueFd file(mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) return PathError(errno, "create", temporary);
  const std::string path = absl::StrCat(directory, "/", name);

  absl::Status done = WriteAt(file.get(), bytes);
  if (done.ok() && fchmod(file.get(), mode) != 0) done = ErrnoStatus(errno, "fchmod");
  if (done.ok() && flush == Flush::kYes && fdatasync(file.get()) != 0) {
    done = ErrnoStatus(errno, "fdatasync");
  }
  if (done.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    done = PathError(errno, "rename to", path);
  }
  if (done.ok()) return file;
  (void)unlink(temporary.c_str());  // the first error is the one to tell
  return done;
}

}  // namespace

absl::Status WriteDurably(const std::string& directory, const std::string& name,
                          std::string_view bytes, Readers readers) {
  const mode_t mode =
      readers == Readers::kGroup ? S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP : S_IRUSR | S_IWUSR;
  const absl::StatusOr<UniqueFd> replaced = Replace(directory, name, bytes, mode, Flush::kYes);
  if (!replaced.ok()) return replaced.status();
  // The new name must be on the disk too.
  const UniqueFd parent(
      RetryOnEintr([&] { return open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!parent || fsync(parent.get()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("fsync ", EscapeBytes(directory)));
  }
  return absl::OkStatus();
}

namespace {

// A name below a directory that nobody has; what a killed process left is passed over.
template <typename Make>
int MakeUnderFreshName(std::string& name, Make make) {
  static std::atomic<unsigned> last{0};
  constexpr int kMost = 1000;
  int result = -1;
  for (int i = 0; i < kMost; ++i) {
    name = absl::StrCat(".soleguard.", getpid(), ".", ++last);
    result = make(name.c_str());
    if (result >= 0 || errno != EEXIST) break;
  }
  return result;
}

// Whether it is the file, and says this.
bool Says(const Entry& entry, const KeptFd& file, std::string_view bytes) {
  const absl::StatusOr<bool> same = EntryIs(entry, file.file());
  if (!same.ok() || !*same || !file.StillOurs()) return false;
  const absl::StatusOr<std::string> text = ReadAt(file.get(), bytes.size() + 1);
  return text.ok() && *text == bytes;
}

}  // namespace

bool IsAnothers(const Entry& entry, const KeptFd& file, std::string_view bytes) {
  struct stat status = {};
  const bool exists = fstatat(entry.parent, entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  return exists && !Says(entry, file, bytes);
}

absl::StatusOr<UniqueFd> WriteForOthers(const Entry& entry, std::string_view bytes) {
  const char* const name = entry.name.c_str();
  struct stat status = {};
  const bool exists = fstatat(entry.parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
  constexpr off_t kMost = 64 * 1024;
  if (exists && (!S_ISREG(status.st_mode) || status.st_size > kMost)) {
    return absl::FailedPreconditionError(
        absl::StrCat(EscapeBytes(entry.path), " exists and is ",
                     S_ISREG(status.st_mode) ? "larger than 64 KiB" : "no regular file",
                     ": it is not overwritten; choose another path"));
  }
  std::string temporary;
  UniqueFd file(MakeUnderFreshName(temporary, [&](const char* fresh) {
    return openat(entry.parent, fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                  S_IRUSR | S_IWUSR);
  }));
  if (!file) return PathError(errno, "create a file for", entry.path);
  absl::Status done = WriteAt(file.get(), bytes);
  if (done.ok() && fchmod(file.get(), S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH) != 0) {
    done = ErrnoStatus(errno, "fchmod");
  }
  if (done.ok() && renameat(entry.parent, temporary.c_str(), entry.parent, name) != 0) {
    done = PathError(errno, "rename to", entry.path);
  }
  if (done.ok()) return file;
  (void)unlinkat(entry.parent, temporary.c_str(), 0);  // the first error is the one to tell
  return done;
}

// The race: somebody replaces the file, or writes into it, between the look and the removal. Made
// small by taking it out of its place first, where nobody finds it any more, and looking again
// there: what was put in its place before is put back, unless there is yet another by then. Left
// open: who has opened it before, and writes between the second look and the removal.
void RemoveIfSays(const Entry& entry, const KeptFd& file, std::string_view bytes) {
  if (!Says(entry, file, bytes)) return;
  Entry aside = entry;
  const int moved = MakeUnderFreshName(aside.name, [&](const char* fresh) {
    return renameat2(entry.parent, entry.name.c_str(), entry.parent, fresh, RENAME_NOREPLACE);
  });
  if (moved != 0) {  // a filesystem that cannot do that
    if (Says(entry, file, bytes)) RemoveEntry(entry);
    return;
  }
  bool same = false;
  try {
    same = Says(aside, file, bytes);
  } catch (const std::bad_alloc&) {  // it stays where it was
  }
  if (!same) {
    (void)renameat2(entry.parent, aside.name.c_str(), entry.parent, entry.name.c_str(),
                    RENAME_NOREPLACE);
    return;
  }
  RemoveEntry(aside);
}

}  // namespace soleguard::os

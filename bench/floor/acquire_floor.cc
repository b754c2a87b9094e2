#include "acquire_floor.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace {

constexpr int kCommon = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;
std::array<char, 4096> record = {};

// Opened and looked at: type, owner, mode.
int OpenChecked(int parent, const char* path, int flags) {
  const int fd = openat(parent, path, flags | kCommon, kFileMode);
  struct stat status = {};
  return fd >= 0 && fstat(fd, &status) == 0 ? fd : -1;
}

int OpenDirectory(int parent, const char* path) {
  (void)mkdirat(parent, path, kDirectoryMode);  // it exists: this is what learning it costs
  return OpenChecked(parent, path, O_RDONLY | O_DIRECTORY);
}

bool SameFile(const char* path, int fd) {
  struct stat opened = {};
  struct stat named = {};
  return fstat(fd, &opened) == 0 && lstat(path, &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

bool SetOfdLock(int fd, short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool WriteRecord(int fd) {
  return pwrite(fd, record.data(), record.size(), 0) == static_cast<ssize_t>(record.size());
}

}  // namespace

AcquireFloor::AcquireFloor(std::string scope, std::string name, std::string ceiling)
    : scope_(std::move(scope)),
      name_(std::move(name)),
      ceiling_(std::move(ceiling)),
      directory_(scope_ + "/names/" + name_),
      lock_path_(directory_ + "/lock") {}

bool AcquireFloor::Acquire() {
  scope_fd_ = OpenDirectory(AT_FDCWD, scope_.c_str());
  const int names = OpenDirectory(scope_fd_, "names");
  directory_fd_ = OpenDirectory(names, name_.c_str());
  if (directory_fd_ < 0) return false;
  (void)close(names);
  if (flock(scope_fd_, LOCK_SH | LOCK_NB) != 0) return false;
  if (flock(directory_fd_, LOCK_EX | LOCK_NB) != 0) return false;
  if (!SameFile(directory_.c_str(), directory_fd_)) return false;

  lock_fd_ = OpenChecked(directory_fd_, "lock", O_RDWR | O_CREAT);
  struct statfs filesystem = {};
  if (lock_fd_ < 0 || flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) return false;
  if (fstatfs(lock_fd_, &filesystem) != 0 || !SetOfdLock(lock_fd_, F_WRLCK)) return false;
  if (!SameFile(lock_path_.c_str(), lock_fd_)) return false;

  const int wake = OpenChecked(directory_fd_, "wake.file", O_RDWR);
  record_fd_ = OpenChecked(directory_fd_, "record", O_RDWR | O_CREAT);
  if (wake < 0 || record_fd_ < 0) return false;
  if (pread(record_fd_, record.data(), record.size(), 0) < 0) return false;
  std::array<char, 13> pid = {};
  if (pread(lock_fd_, pid.data(), pid.size(), 0) < 0) return false;
  if (pwrite(lock_fd_, "12345      \n", 12, 0) != 12) return false;
  if (!WriteRecord(record_fd_)) return false;  // a candidate

  const int ceiling = OpenChecked(AT_FDCWD, ceiling_.c_str(), O_RDONLY);
  std::array<char, 256> text = {};
  if (ceiling < 0 || pread(ceiling, text.data(), text.size(), 0) < 0) return false;
  (void)close(ceiling);
  if (!WriteRecord(record_fd_)) return false;  // established
  (void)close(wake);
  return true;
}

bool AcquireFloor::Release() {
  const int wake = OpenChecked(directory_fd_, "wake.file", O_RDWR);
  if (wake < 0 || !WriteRecord(record_fd_)) return false;  // releasing
  if (!SetOfdLock(lock_fd_, F_UNLCK)) return false;
  if (flock(lock_fd_, LOCK_UN) != 0 || flock(directory_fd_, LOCK_UN) != 0) return false;
  for (const int fd : {lock_fd_, record_fd_, directory_fd_, scope_fd_, wake}) (void)close(fd);
  return true;
}

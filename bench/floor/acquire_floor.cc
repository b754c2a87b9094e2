#include "acquire_floor.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <utility>

namespace {

constexpr int kCommon = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
constexpr mode_t kMode = 0600;
std::array<char, 4096> record = {};

// Opened and looked at: type, owner, mode.
int OpenChecked(int parent, const char* path, int flags) {
  const int fd = openat(parent, path, flags | kCommon, kMode);
  struct stat status = {};
  return fd >= 0 && fstat(fd, &status) == 0 ? fd : -1;
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

bool ReadRecord(int fd) { return pread(fd, record.data(), record.size(), 0) >= 0; }

// The program may have closed all descriptors: what is at this number must still be the record
// (fstat).
bool WriteRecord(int fd) {
  struct stat status = {};
  return fstat(fd, &status) == 0 &&
         pwrite(fd, record.data(), record.size(), 0) == static_cast<ssize_t>(record.size());
}

int OpenWake(const DirectoryFloor& directory, const char* file) {
  return OpenChecked(directory.fd(), file, O_RDWR);
}

// The last holder's record, this one's as a candidate and, with the FIFO's end that wakes waiters,
// as established.
bool Announce(int record_fd, int wake) {
  const bool done = ReadRecord(record_fd) && WriteRecord(record_fd) && WriteRecord(record_fd);
  (void)close(wake);
  return done;
}

}  // namespace

bool DirectoryFloor::Open() {
  scope_fd_ = OpenChecked(AT_FDCWD, scope_.c_str(), O_RDONLY | O_DIRECTORY);
  const int names = OpenChecked(scope_fd_, "names", O_RDONLY | O_DIRECTORY);
  fd_ = OpenChecked(names, name_.c_str(), O_RDONLY | O_DIRECTORY);
  (void)close(names);
  return fd_ >= 0;
}

void DirectoryFloor::Close() {
  (void)close(fd_);
  (void)close(scope_fd_);
}

FileFloor::FileFloor(std::string scope, std::string name, std::string ceiling)
    : ceiling_(std::move(ceiling)),
      directory_path_(DirectoryFloor(scope, name).path()),
      lock_path_(directory_path_ + "/lock"),
      directory_(std::move(scope), std::move(name)) {}

bool FileFloor::Acquire() {
  if (!directory_.Open()) return false;
  if (flock(directory_.scope_fd(), LOCK_SH | LOCK_NB) != 0) return false;  // keeps cleaners out
  if (flock(directory_.fd(), LOCK_EX | LOCK_NB) != 0) return false;
  if (!SameFile(directory_path_.c_str(), directory_.fd())) return false;

  lock_ = OpenChecked(directory_.fd(), "lock", O_RDWR | O_CREAT);
  struct statfs filesystem = {};
  if (lock_ < 0 || flock(lock_, LOCK_EX | LOCK_NB) != 0) return false;
  if (fstatfs(lock_, &filesystem) != 0 || !SetOfdLock(lock_, F_WRLCK)) return false;
  if (!SameFile(lock_path_.c_str(), lock_)) return false;

  const int wake = OpenWake(directory_, "wake.file");
  record_ = OpenChecked(directory_.fd(), "record", O_RDWR | O_CREAT);
  if (wake < 0 || record_ < 0) return false;
  std::array<char, 13> pid = {};
  if (pread(lock_, pid.data(), pid.size(), 0) < 0) return false;
  if (pwrite(lock_, "12345      \n", 12, 0) != 12) return false;

  const int ceiling = OpenChecked(AT_FDCWD, ceiling_.c_str(), O_RDONLY);
  std::array<char, 256> text = {};
  if (ceiling < 0 || pread(ceiling, text.data(), text.size(), 0) < 0) return false;
  (void)close(ceiling);
  return Announce(record_, wake);
}

bool FileFloor::Release() {
  const int wake = OpenWake(directory_, "wake.file");
  if (wake < 0 || !WriteRecord(record_) || !SetOfdLock(lock_, F_UNLCK)) return false;
  if (flock(lock_, LOCK_UN) != 0 || flock(directory_.fd(), LOCK_UN) != 0) return false;
  (void)close(lock_);
  (void)close(record_);
  directory_.Close();
  (void)close(wake);
  return true;
}

MutexFloor::MutexFloor(std::string scope, std::string name, int key, std::string segment)
    : key_(key), segment_(std::move(segment)), directory_(std::move(scope), std::move(name)) {
  const int made = shm_open(segment_.c_str(), O_RDWR | O_CREAT, kMode);
  (void)WriteRecord(made);  // where it fails Acquire will say so
  (void)close(made);
}

MutexFloor::~MutexFloor() {
  (void)semctl(semaphore_, 0, IPC_RMID);
  (void)shm_unlink(segment_.c_str());
}

bool MutexFloor::Acquire() {
  semaphore_ = semget(key_, 1, IPC_CREAT | kMode);
  semid_ds status = {};
  if (semaphore_ < 0 || semctl(semaphore_, 0, IPC_STAT, &status) != 0) return false;
  std::array<sembuf, 2> take = {sembuf{0, 0, IPC_NOWAIT}, sembuf{0, 1, IPC_NOWAIT | SEM_UNDO}};
  if (semop(semaphore_, take.data(), take.size()) != 0) return false;
  if (semget(key_, 1, 0) != semaphore_) return false;

  if (!directory_.Open()) return false;
  const int wake = OpenWake(directory_, "wake.mutex");
  record_ = shm_open(segment_.c_str(), O_RDWR | O_CREAT, kMode);
  struct stat segment = {};
  if (wake < 0 || record_ < 0 || fstat(record_, &segment) != 0) return false;
  return Announce(record_, wake);
}

bool MutexFloor::Release() {
  const int wake = OpenWake(directory_, "wake.mutex");
  if (wake < 0 || !WriteRecord(record_)) return false;
  (void)close(record_);
  sembuf give = {0, -1, IPC_NOWAIT | SEM_UNDO};
  if (semop(semaphore_, &give, 1) != 0) return false;
  directory_.Close();
  (void)close(wake);
  return true;
}

PortFloor::PortFloor(std::string scope, std::string name, std::string companion)
    : companion_(std::move(companion)), directory_(std::move(scope), std::move(name)) {}

bool PortFloor::Acquire() {
  socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  const int on = 1;
  if (setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return false;

  companion_socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un companion = {};
  companion.sun_family = AF_UNIX;
  companion_.copy(companion.sun_path + 1, sizeof companion.sun_path - 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + companion_.size());
  if (bind(companion_socket_, reinterpret_cast<const sockaddr*>(&companion), size) != 0 ||
      listen(companion_socket_, 128) != 0) {
    return false;
  }
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(0x7f424242);  // on loopback, where nobody else is
  address.sin_port = htons(23717);
  if (bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(socket_, 1) != 0) {
    return false;
  }
  if (!directory_.Open()) return false;
  const int wake = OpenWake(directory_, "wake.port");
  record_ = OpenChecked(directory_.fd(), "record.port", O_RDWR | O_CREAT);
  return wake >= 0 && record_ >= 0 && Announce(record_, wake);
}

bool PortFloor::Release() {
  const int wake = OpenWake(directory_, "wake.port");
  if (wake < 0 || !WriteRecord(record_)) return false;
  (void)close(record_);
  if (shutdown(socket_, SHUT_RDWR) != 0 || shutdown(companion_socket_, SHUT_RDWR) != 0) {
    return false;
  }
  (void)close(socket_);
  (void)close(companion_socket_);
  directory_.Close();
  (void)close(wake);
  return true;
}

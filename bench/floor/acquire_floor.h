// The floors of Guard::Acquire and Release, layer by layer: the system calls without which the
// layer could not keep what its page in docs/ promises, and nothing around them: no identity, no
// JSON, no policy, no second look at what was just looked at.
//
// What all three have in common, and why: the name's directory is opened part by part (O_NOFOLLOW
// looks at the last part only) and each part looked at (fstat: type, owner, mode), as another user
// may have put something there. The FIFO wake.LAYER is open for writing until the holder is
// decided, and again while it releases: waiters block on it. The record is read once, for what the
// last holder left, and written three times: candidate, established, releasing, so that others can
// say who is in the way and whether to wait. Everything exists already, as after a first start.
#pragma once

#include <string>

class DirectoryFloor {
 public:
  DirectoryFloor(std::string scope, std::string name)
      : scope_(std::move(scope)), name_(std::move(name)) {}

  bool Open();  // false: a call failed
  void Close();
  std::string path() const { return scope_ + "/names/" + name_; }
  int scope_fd() const { return scope_fd_; }
  int fd() const { return fd_; }

 private:
  const std::string scope_;
  const std::string name_;
  int scope_fd_ = -1;
  int fd_ = -1;
};

// Two locks on the directory and the file in it: a deleted file must let nobody in. Both paths are
// compared after locking. The OFD lock is for lookers and fcntl lockers, where the filesystem has
// it (fstatfs). The pid in the lock file is for people. `ceiling` is the file with the name's token
// ceiling. The unlocking is explicit, as a raw clone(2) may have kept the descriptors.
class FileFloor {
 public:
  FileFloor(std::string scope, std::string name, std::string ceiling);
  bool Acquire();
  bool Release();

 private:
  const std::string ceiling_;
  const std::string directory_path_;
  const std::string lock_path_;
  DirectoryFloor directory_;
  int lock_ = -1;
  int record_ = -1;
};

// semget, whose it is (IPC_STAT), semop, and semget again: one that was removed meanwhile would
// exclude nobody. The record is in shared memory, where the semaphore's namespace is.
class MutexFloor {
 public:
  MutexFloor(std::string scope, std::string name, int key, std::string segment);
  MutexFloor(const MutexFloor&) = delete;
  MutexFloor& operator=(const MutexFloor&) = delete;
  ~MutexFloor();  // removes the semaphore and the segment
  bool Acquire();
  bool Release();

 private:
  const int key_;
  const std::string segment_;
  DirectoryFloor directory_;
  int semaphore_ = -1;
  int record_ = -1;
};

// A socket that listens on loopback, and before it the companion, by which the kernel says who
// listens. Both are shut down and not only closed, as a raw clone(2) may have kept them.
class PortFloor {
 public:
  PortFloor(std::string scope, std::string name, std::string companion);
  bool Acquire();
  bool Release();

 private:
  const std::string companion_;
  DirectoryFloor directory_;
  int socket_ = -1;
  int companion_socket_ = -1;
  int record_ = -1;
};

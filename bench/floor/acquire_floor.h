// The system calls of one claim by the file layer, with nothing around them: the floor of
// Guard::Acquire and Release.
#pragma once

#include <string>

// Takes and gives back the objects of one name in a scope directory that a Guard has used before,
// as a Guard does: the same locks, the same number of reads and writes, no identity, no JSON.
class AcquireFloor {
 public:
  // `ceiling` is the file with the name's token ceiling.
  AcquireFloor(std::string scope, std::string name, std::string ceiling);

  // False when a call failed.
  bool Acquire();
  bool Release();

 private:
  const std::string scope_;
  const std::string name_;
  const std::string ceiling_;
  const std::string directory_;  // scope/names/name
  const std::string lock_path_;
  int scope_fd_ = -1;
  int directory_fd_ = -1;
  int lock_fd_ = -1;
  int record_fd_ = -1;
};

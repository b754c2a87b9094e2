// Where processes wait until they may all go on at once.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "soleguard/fd.h"

namespace soleguard::testing {

// Made before the processes are forked.
class Gate {
 public:
  Gate() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw std::system_error(errno, std::system_category(), "pipe2");
    }
    closed_.reset(ends[0]);
    keeper_.reset(ends[1]);
  }

  // In a child: blocks until the parent has opened it.
  void Wait() {
    keeper_.reset();
    char byte = 0;
    (void)!read(closed_.get(), &byte, 1);  // the end, when nobody keeps it closed any more
  }
  // In the parent, when all are forked.
  void Open() { keeper_.reset(); }

 private:
  UniqueFd closed_;
  UniqueFd keeper_;
};

}  // namespace soleguard::testing

// A value that a test and other processes see together.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <string>
#include <system_error>

#include "soleguard/fd.h"

namespace soleguard::testing {

// Shared with the children that are forked later. `T` has neither pointers nor a destructor that
// matters: atomics, numbers, arrays of char.
template <typename T>
class Shared {
 public:
  Shared() : value_(new (Map(-1)) T()) {}
  // In a new file, for programs that are executed.
  explicit Shared(const std::string& file) : value_(new (Map(Make(file).get())) T()) {}
  // The value that another process has made in that file.
  static Shared Of(const std::string& file) {
    return Shared(static_cast<T*>(Map(Open(file, O_RDWR | O_CLOEXEC).get())));
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { (void)munmap(value_, sizeof(T)); }

  T& operator*() const { return *value_; }
  T* operator->() const { return value_; }

 private:
  explicit Shared(T* value) : value_(value) {}

  [[noreturn]] static void Fail(const std::string& what) {
    throw std::system_error(errno, std::system_category(), what);
  }
  static UniqueFd Open(const std::string& file, int flags) {
    UniqueFd fd(open(file.c_str(), flags, 0600));
    if (!fd) Fail("open " + file);
    return fd;
  }
  static UniqueFd Make(const std::string& file) {
    UniqueFd fd = Open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC);
    if (ftruncate(fd.get(), sizeof(T)) != 0) Fail("ftruncate " + file);
    return fd;
  }
  static void* Map(int fd) {
    const int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    void* page = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, flags, fd, 0);
    if (page == MAP_FAILED) Fail("mmap");
    return page;
  }

  T* value_;
};

}  // namespace soleguard::testing

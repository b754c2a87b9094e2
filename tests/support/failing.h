// What the tests in which system calls fail have in common.
#pragma once

#include <sys/ipc.h>
#include <sys/syscall.h>

#include <cerrno>
#include <ostream>
#include <string>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>

#include "process/registration.h"
#include "soleguard/process.h"
#include "support/test_scope.h"
#include "support/traced.h"

namespace soleguard::testing {

// The parameter of tests: one error in each, so that they run side by side.
struct Error {
  int number;
  const char* name;

  friend void PrintTo(const Error& error, std::ostream* out) { *out << error.name; }
};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// A child takes ten times as long there: one error for each way that a status goes.
inline constexpr Error kErrors[] = {{EACCES, "EACCES"}, {EMFILE, "EMFILE"}, {EIO, "EIO"}};
#else
inline constexpr Error kErrors[] = {{EACCES, "EACCES"}, {EROFS, "EROFS"},   {ENOSPC, "ENOSPC"},
                                    {ENOLCK, "ENOLCK"}, {ENOSYS, "ENOSYS"}, {EMFILE, "EMFILE"},
                                    {ENOMEM, "ENOMEM"}, {EIO, "EIO"}};
#endif

// Not calls that cannot fail, and those of the memory allocator, whose failure is std::bad_alloc.
inline bool CanFail(const Traced::Call& call, const std::string& object) {
  if (IsOfASanitizer(call, object)) return false;
  switch (call.number) {
    case SYS_getpid:
    case SYS_gettid:
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_rt_sigprocmask:
    case SYS_rt_sigaction:
    case SYS_sched_yield:
    case SYS_futex:
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_madvise:
    case SYS_brk:
    case SYS_getrandom:
      return false;
    default:
      return true;
  }
}

// A message that tells the cause, which is that `call` failed with `error`.
inline ::testing::Matcher<std::string> Explains(int error, const Traced::Call& call) {
  using ::testing::AnyOf;
  using ::testing::HasSubstr;
  const auto text = [](int number) { return std::generic_category().message(number); };
  std::string cause = text(error);
  const bool makes = call.number == SYS_semget && (call.arguments[2] & IPC_CREAT) != 0;
  if (makes && error == ENOSPC) cause = "the limit of kernel.sem";
  // glibc does without statx(2) where the kernel has none, but not with the flags that are used.
  if (call.number == SYS_statx && error == ENOSYS) cause = text(EINVAL);
  // The kernel's word is not kept everywhere.
  const auto told = AnyOf(HasSubstr(cause), HasSubstr("cannot tell whether process"),
                          HasSubstr(call.number == SYS_tgkill ? "exists, but /proc" : cause));
  if (error != EACCES) return told;
  // What is in order for another user's things is told in other words.
  return AnyOf(told, HasSubstr("made by another user"), HasSubstr("this user may not see"));
}

inline bool IsRegistered(const TestScope& scope, const Traced& child) {
  Registrations registrations;
  return registrations.Open(scope.scope()).ok() && *registrations.Has(*IdentityOf(child.pid()));
}

// What a child has open that has got nothing and had `before` open: that, and the two descriptors
// of a registration, which lasts as long as its process.
inline auto WithRegistration(const TestScope& scope, const Traced& child,
                             std::vector<std::string> before) {
  if (IsRegistered(scope, child)) {
    before.push_back(scope.path());
    before.push_back(scope.path() + "/candidates");
  }
  return ::testing::UnorderedElementsAreArray(before);
}

}  // namespace soleguard::testing

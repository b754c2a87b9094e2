// Reading /proc: its files, its directories of numbers, and what a task's stat says. Private to
// layers/os/.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/error.h"
#include "soleguard/fd.h"

namespace soleguard::proc {

// A process may be in 65,536 groups, and status lists them before the line that is wanted.
inline constexpr std::size_t kStatusLimit = std::size_t{1024} * 1024;

// SIGKILL in a set of signals.
inline constexpr std::uint64_t kSigkill = std::uint64_t{1} << (SIGKILL - 1);

// The next word of `line`, which is shortened by it. Empty at the end of the line.
std::string_view NextField(std::string_view& line);

template <typename Number>
bool ParseNumber(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// What follows `key` at the start of a line, up to the line's end; nothing when there is no such
// line.
std::optional<std::string_view> LineAfter(std::string_view text, std::string_view key);

struct Reading {
  int error = 0;  // an errno value
  std::string_view text = {};
};

// The start of the file `path` below `directory`, by one read(2): files of /proc such as stat come
// whole when the buffer is large enough. Neither allocates nor loops: this is on the way of every
// acquire.
Reading ReadStart(int directory, const char* path, std::span<char> buffer);

struct LongReading {
  int error = 0;  // an errno value
  std::string text = {};
};

// The file `path` below `directory` up to `limit` bytes.
LongReading ReadUpTo(int directory, const char* path, std::size_t limit);

// Where the link points to; empty when that cannot be read.
std::string ReadLink(int directory, const char* path);

// A directory to find things below, which need not be readable.
UniqueFd OpenPath(int directory, const char* path);

struct CloseDir {
  void operator()(DIR* dir) const { (void)closedir(dir); }  // was only read
};

// Calls visit(number, descriptor of the directory, name) for each entry whose name is a number,
// until it returns false. An errno value, or 0.
template <typename Visit>
int ForEachNumber(int directory, const char* path, Visit visit) {
  UniqueFd fd(os::RetryOnEintr(
      [&] { return openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!fd) return errno;
  const std::unique_ptr<DIR, CloseDir> dir(fdopendir(fd.get()));
  if (dir == nullptr) return errno;
  (void)fd.release();  // the DIR's now
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) return errno;
    std::int64_t number = 0;
    if (!ParseNumber(std::string_view(entry->d_name), number)) continue;
    if (!visit(number, dirfd(dir.get()), entry->d_name)) return 0;
  }
}

// The fields of /proc/PID/stat and /proc/PID/task/TID/stat (proc(5)) that are used here.
struct TaskStat {
  char state = '?';
  std::int64_t parent_pid = 0;
  std::uint64_t flags = 0;
  std::uint64_t user_ticks = 0;
  std::uint64_t system_ticks = 0;
  std::uint64_t start_ticks = 0;  // as shown, with the reader's time-namespace offset in it
  std::uint64_t pending_signals = 0;
};

struct StatReading {
  int error = 0;  // an errno value; EBADMSG when the text is not what proc(5) says
  TaskStat stat = {};
};

StatReading ReadTaskStat(int directory, const char* path);

// A task that has ended: nothing but its exit status is left. Its files, its locks and its memory
// were given back before (do_exit in kernel/exit.c).
bool HasEnded(const TaskStat& stat);

// A task that runs no user code any more. A SIGKILL, or another deadly signal, is at once pending
// for each thread; the thread takes it and sets PF_SIGNALED, dumps core (PF_DUMPCORE) if it shall,
// and sets PF_EXITING later in do_exit: a tracer, a core dump and io_uring can hold it before that,
// and then no pending signal of the thread and no PF_EXITING tells (measured at PTRACE_EVENT_EXIT,
// Linux 6.18).
bool IsEnding(const TaskStat& stat);

// Of the clock that start times and CPU times count in.
std::uint64_t NanosecondsPerTick();

// The words of a list in which a NUL ends each.
std::vector<std::string> SplitArguments(std::string_view text);

// The numbers of the children of a process, by its directory in /proc. An errno value, or 0.
int ChildrenBelow(int directory, std::vector<std::int64_t>& children);

// How many namespaces below that of /proc the process of `directory` is numbered, and each number.
std::vector<std::int64_t> NumbersBelow(int directory);

}  // namespace soleguard::proc

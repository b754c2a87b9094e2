// Processes as this one sees them in /proc: what this process is, which others can be seen from it,
// and whether they live. Private to layers/os/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "os/kept_fd.h"
#include "os/proc_linux.h"
#include "soleguard/fd.h"
#include "soleguard/process.h"

namespace soleguard::proc {

// The calling process.
struct Self {
  os::ProcessMark mark;
  ProcessIdentity identity;
  std::uint64_t clock_offset_ns = 0;  // of its time namespace, modulo 2^64
  bool proc_is_ours = false;          // /proc shows the pid namespace of this process
  const Self* previous = nullptr;     // an older value, which another thread may still be reading
};

// Read once per process. Lock-free, so that a child forked in the middle of it is not stuck. A
// failure is not kept: the next call may find /proc mounted.
absl::StatusOr<const Self*> OwnSelf();

// Where /proc shows it.
std::string PathOf(const Self& self, std::int64_t pid);

// NotFound: "process 12 is gone".
absl::Status Gone(std::int64_t pid, std::string_view how);

// `error` of reading something in the directory of `pid` that every process has and shows.
absl::Status CannotRead(int error, std::int64_t pid, std::string_view what);

// The stat of the process that has the number `pid` now.
absl::StatusOr<TaskStat> StatOfPid(const Self& self, std::int64_t pid);

// The same process as this pid namespace numbers it. One of a namespace below is looked for in the
// whole table. NotFound: it is gone, which of one below only the initial namespace can tell, from
// where every process is seen. FailedPrecondition: it is of a namespace that cannot be seen from
// here (a sibling, or one above).
absl::StatusOr<ProcessIdentity> Here(const Self& self, const ProcessIdentity& identity);

// In what follows an identity is one of this pid namespace: Here gives it.

// The stat of that very process, which may be a zombie.
absl::StatusOr<TaskStat> StatOf(const Self& self, const ProcessIdentity& identity);

ProcessIdentity IdentityFrom(const Self& self, std::int64_t pid, const TaskStat& stat);

int PidfdSendSignal(int pidfd, int signal);

// A descriptor for that very process. The check comes after the opening: whoever had the number at
// the opening has it still, and so is the one that `identity` names.
absl::StatusOr<UniqueFd> OpenPidfd(const Self& self, const ProcessIdentity& identity);

// Of a process of this pid namespace.
Liveness LivenessHere(const Self& self, const ProcessIdentity& identity);

// That very process's directory in /proc.
struct OpenProcess {
  UniqueFd directory;
  // Of another thread, when the main thread has ended and shows nothing any more.
  UniqueFd task = {};
  TaskStat stat = {};  // of `task`, else of the main thread

  int readable() const { return task ? task.get() : directory.get(); }
};

// Finds a thread that has not ended, if there is one. An errno value, or 0: without a thread then,
// all have ended.
int UseAnotherThread(OpenProcess& process);

// The process that has the number `pid` now.
absl::StatusOr<OpenProcess> OpenPid(const Self& self, std::int64_t pid);

// That very process. NotFound when it is gone, a zombie among them.
absl::StatusOr<OpenProcess> OpenIdentity(const Self& self, const ProcessIdentity& identity);

// That very process, whichever namespace `identity` numbers it in, with what it was looked up by.
struct Found {
  const Self* self;
  ProcessIdentity identity;  // of this pid namespace
  OpenProcess process;
};
absl::StatusOr<Found> Find(const ProcessIdentity& identity);

// The effective user, from the line "Uid: real effective saved filesystem". (The owner of /proc/PID
// is root for a process that is not dumpable.)
absl::StatusOr<std::uint32_t> EffectiveUid(int directory, std::int64_t pid);

// How long ago a process with that field 22 was started. The clock has the same offset as the
// field.
absl::Duration Age(std::uint64_t shown_start_ticks);

}  // namespace soleguard::proc

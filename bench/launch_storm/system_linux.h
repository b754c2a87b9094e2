// What the referee asks of the kernel itself: nothing here goes through soleguard.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>
#include <optional>
#include <set>
#include <string>

namespace launch_storm {

// CLOCK_MONOTONIC, in nanoseconds: the same for all processes.
std::int64_t Now();

// A process, told from later owners of its pid. As bytes in shared memory.
struct Stamp {
  std::int64_t pid = 0;
  std::uint64_t start_ticks = 0;  // field 22 of /proc/PID/stat

  friend bool operator==(const Stamp&, const Stamp&) = default;
};
Stamp OwnStamp();
// nullopt: no such process.
std::optional<Stamp> StampOf(std::int64_t pid);

// Whether that very process may still execute its program: it is there, no zombie, and has not
// entered do_exit (PF_EXITING). A stopped one runs, and so does one that SIGKILL has not reached
// yet: it may be in the middle of a write. From do_exit nothing returns to the program; the kernel
// closes the descriptors there and with them frees locks, before the process is a zombie. For
// processes of one thread, as all of launch_storm's are.
bool Runs(const Stamp& process);

// Signals that very process or nobody.
void SignalProcess(const Stamp& process, int signal);

// Blocks while `word` is `value`, at most until `deadline` (as Now); a signal ends it too. Between
// processes, in shared memory (futex(2)).
void WaitWhile(const std::atomic<std::uint32_t>& word, std::uint32_t value, std::int64_t deadline);
void WakeAll(const std::atomic<std::uint32_t>& word);

// SIGKILL for the caller once the thread that started it has ended. False: that was not `parent`,
// or it has ended already.
bool DieWith(std::int64_t parent);

// As many processes and descriptors as this user may have.
void RaiseLimits();

// Lets this process, not its children, run as soon as it has something to do, where that is allowed
// (root): among 500 that want a processor it would kill a winner long after its moment.
void ComeFirst();

// Orphans of this process's descendants become its children.
void AdoptOrphans();

// The children of this process, zombies included.
std::set<std::int64_t> Children();

// Removes the System V semaphores and the segments of shared memory that the processes `pids` made
// since `since` for names of the scope in `directory`. Found by listing them, by their last user
// and by their record, not by the library's rule for keys: objects of other names stay.
void RemoveKernelObjects(const std::string& directory, const std::set<std::int64_t>& pids,
                         std::time_t since);

}  // namespace launch_storm

// A process that acquires a name through the library and does what it is told: the second process
// of a test. Its program is claimant_main.cc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/time/time.h>

#include "support/program.h"

namespace soleguard::testing {

class Claimant {
 public:
  struct Setup {
    std::string scope;  // as Scope::Parse has it
    std::string name = "x";
    std::string policy = {};  // empty: without a policy
    absl::Duration settle = absl::Seconds(1);
    absl::Duration deadline = absl::Seconds(10);
    absl::Duration wait = absl::ZeroDuration();  // as a standby
    std::uint32_t slot_count = 1;
    std::optional<absl::Duration> replace = std::nullopt;
    bool at_barrier = false;  // acquires only after Go
    // A FIFO that somebody has open for writing: acquires when nobody has any more. All that wait
    // there are released at once.
    std::string gate = {};
    // A Shared<Referee>: enters it when it is unique, before it says so, and counts its verdict.
    std::string referee = {};
    std::vector<std::string> launcher = {};  // words before the program: unshare, strace, setpriv
  };
  explicit Claimant(const Setup& setup);
  // Its command line, behind the launcher.
  static std::vector<std::string> CommandOf(const Setup& setup);

  void Go() { program_.WriteLine("go"); }
  // Blocks until it waits at its gate.
  void WaitUntilAtGate();

  // Blocks until it waits as a standby.
  void WaitUntilInLine();

  // Blocks until it has its verdict, then the line that says it:
  //   unique TOKEN | duplicate PID STANDING | undetermined REASON
  const std::string& verdict();
  bool unique() { return verdict().starts_with("unique"); }
  bool duplicate() { return verdict().starts_with("duplicate"); }
  std::uint64_t token();

  // One command, and the line that answers it:
  //   verify       ok | CODE: MESSAGE
  //   layers       what each layer that was asked answered, in order:
  //                "file held, mutex contested PID STANDING" or "file unavailable"
  //   slot         its slot | none
  //   holders      PID STANDING, of each slot: "7 established, 9 established" | none
  //   beat         beats: promises the next in 10 s; or why not
  //   receive      receives: answers each message with "got PAYLOAD"; behind it may stand error,
  //                exception, number (throws one), size, much (too large), forever (does not
  //                answer)
  //   messages     how many it got
  //   await message  got it: blocks until it got one
  //   predecessor  PID | none
  //   release      released
  //   fork         PID of a child that neither acts nor execs
  //   clone        PID of one that a raw clone(2) made, which no atfork handler saw
  //   exec         PID of a child that executes sleep(1)
  //   closefrom    closed: every descriptor but the first three
  //   allocate     touched: a gigabyte
  //   watch PERIOD watched | CODE: MESSAGE
  //   incident     what the watch reports next, once it does:
  //                "LAYER OUTCOME stood|open PID LOST", PID of another who has it, else 0
  //   repair       the incidents, as above, "; " between them
  //   become WHAT [ARGUMENT]  became | cannot: ERROR. It goes on as another process would be:
  //                chroot DIR, chdir DIR, mount DIR (a new filesystem over it), unshare mnt, ipc,
  //                net, pid, user or sysvsem, enter FILE (setns(2)), setuid or seteuid UID,
  //                nogroups, nocaps
  //   share        shares COUNT: descriptors, which it closes again | CODE: MESSAGE
  //   keep         kept: over exec | CODE: MESSAGE
  //   files FILE   wrote: a PID file | CODE: MESSAGE
  //   drop         dropped: destroyed
  //   occupy FILE  occupied: every descriptor but the first three is one of FILE now
  //   descriptors FILE  how many descriptors are of FILE
  //   exhaust      exhausted: it can open no descriptor any more (RLIMIT_NOFILE)
  //   relieve      relieved: as before that
  std::string Ask(const std::string& command);

  pid_t pid() const { return program_.pid(); }
  Program& program() { return program_; }

 private:
  Program program_;
  std::optional<std::string> verdict_;
};

}  // namespace soleguard::testing

// What a start is told besides its name and policy, and what a Guard is told to write.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include <absl/time/time.h>

#include "soleguard/history.h"
#include "soleguard/profile.h"
#include "soleguard/scope.h"
#include "soleguard/subject.h"

namespace soleguard {

inline constexpr std::uint32_t kMaxSlots = 1000;

struct Options {
  Scope scope = Scope::User();
  // How long a dying holder is waited for. After that the verdict is Duplicate if the instance that
  // it recorded lives, else Undetermined. If `wait` is set, that is the deadline of everything
  // instead.
  absl::Duration deadline = absl::Seconds(10);
  // How long a holder that cannot be identified is waited for before it counts as another instance.
  // A candidate is waited for twice as long, and until the deadline while it only lacks a
  // processor.
  absl::Duration settle = absl::Seconds(1);
  // How long to wait, as a standby, for the end of an established holder. Standbys are served first
  // come, first served, and before starts that do not wait. Waiting costs no CPU time. This bounds
  // all of Acquire: within this time, and what one look takes, there is a verdict, whatever was
  // waited for. absl::InfiniteDuration: without end. Zero: not at all.
  //
  // What cannot end while the caller waits is not waited for: a holder whose `guardcheck run` has
  // started the caller, however far above, since it ends what it has started before it gives the
  // name back; and a claim that the caller has inherited (KeepOverExec, ShareWithChild). The
  // verdict is Duplicate at once, and `not_awaited` says why; with several slots, if that is so for
  // each. Another ancestor is waited for: it may have started its successor.
  absl::Duration wait = absl::ZeroDuration();
  // Up to this many instances may run under the name, each with another slot number: 1 to
  // kMaxSlots. All starts should say the same: a start with 3 slots does not see what runs in slot
  // 3 of a start with 5.
  std::uint32_t slot_count = 1;
  // Replaces the holder that it sees when it begins: takes the head of the line, before standbys
  // and newcomers, asks that holder to end (SIGTERM), and kills it (SIGKILL) after this grace.
  // Nobody takes the name between the two. `wait` then bounds all of it. StopRunning (stop.h) says
  // which processes are signalled and which never are. A holder that may not be signalled, that no
  // record names or that took the name later is a Duplicate, and `not_replaced` says why. Cannot be
  // combined with several slots.
  std::optional<absl::Duration> replace = std::nullopt;
  // Called once, when the start begins to wait as a standby or replacer and has its place in line.
  std::function<void()> waiting = {};
  // Told of what is noted in the history of the name (history.h) about this start and its Guard,
  // and also of what could not be noted: after each verdict, when a start begins to wait, when a
  // claim is lost, repaired or released. Called in the thread in which that happens, which may be
  // one of the library's own; it must not use the Guard, and what it throws for want of memory is
  // dropped.
  std::function<void(const HistoryEvent&)> on_event = {};
  // Ends Acquire early, whatever it waits for. The verdict is then Undetermined, with Cancelled.
  std::stop_token stop = {};
  // The claim will be handed on to a child, by ShareWithChild or KeepOverExec. Then the name's
  // directory is locked too, whatever the policy, as the file layer does, because a mutex alone
  // would be free when this process ends. That lock vetoes and must be held, but it does not
  // confirm.
  bool hand_on = false;
  // Whether Receive may be called. If not, the record says so, and senders are told at once;
  // otherwise they wait for a holder that starts slowly.
  bool takes_messages = true;
  // What will run as the instance, when that is not the calling process itself.
  Subject subject = {};
  // What the policy's text names: `etcd(prod)` needs Profiles{{"prod", …}}.
  Profiles profiles = {};
};

// Files for tools that expect them, at absolute paths; empty: none.
struct SideFiles {
  std::string pid_file;   // the instance's pid and a newline
  std::string info_file;  // InfoText of the holder record
};

}  // namespace soleguard

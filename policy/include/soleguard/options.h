// What a start is told beside its name and policy.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>

#include <absl/time/time.h>

#include "soleguard/scope.h"
#include "soleguard/subject.h"

namespace soleguard {

inline constexpr std::uint32_t kMaxSlots = 1000;

struct Options {
  Scope scope = Scope::User();
  // How long a dying holder is waited for; then the verdict is Duplicate if the instance that it
  // recorded lives, else Undetermined. A `wait` that is set is the deadline of everything instead.
  absl::Duration deadline = absl::Seconds(10);
  // How long a holder that cannot be told is waited for before it counts as another instance. A
  // candidate is waited for twice as long, and until the deadline while it only lacks a processor.
  absl::Duration settle = absl::Seconds(1);
  // How long the end of an established holder is waited for, as a standby: first come first served
  // among standbys, and before whoever comes without waiting. It costs no CPU time, and bounds all
  // of Acquire: within this time and what one look takes there is a verdict, whatever was waited
  // for. absl::InfiniteDuration: without end. Zero: not at all.
  absl::Duration wait = absl::ZeroDuration();
  // Up to this many instances may run under the name, each with another slot number: 1 to
  // kMaxSlots. All starts should say the same; one of 3 does not see what runs in slot 3 of
  // another's 5.
  std::uint32_t slots = 1;
  // Replaces the holder that it sees when it begins: takes the head of the line, before standbys
  // and newcomers, asks that holder to end (SIGTERM), and kills it (SIGKILL) after this grace.
  // Nobody takes the name between the two. `wait` then bounds all of it. Whom a signal goes to and
  // never goes to is as for StopRunning (stop.h); a holder that may not be signalled, whom no
  // record names, or who took the name later, is a Duplicate, and `not_replaced` says why. Not
  // with several slots.
  std::optional<absl::Duration> replace = std::nullopt;
  // Called once, when it begins to wait as a standby or replacer, and has its place in line.
  std::function<void()> waiting = {};
  // Ends Acquire early, whatever it waits for: the verdict is Undetermined, with Cancelled.
  std::stop_token stop = {};
  // The claim will be handed on to a child, by ShareWithChild or KeepOverExec. Then the name's
  // directory is locked too, whatever the policy, as the file layer does: a mutex alone would be
  // free when this process ends. That lock vetoes and must be held, but it does not confirm.
  bool hand_on = false;
  // Whether Receive may be called. False: the record says so, and senders are told at once, where
  // they would wait for one that starts slowly.
  bool takes_messages = true;
  // What will run as the instance, when that is not the calling process itself.
  Subject subject = {};
};

}  // namespace soleguard

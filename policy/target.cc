#include "target.h"

#include <algorithm>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "soleguard/text.h"

namespace soleguard {
namespace {

std::string Pids(const std::vector<ProcessIdentity>& processes) {
  return absl::StrJoin(processes, ", ", [](std::string* out, const ProcessIdentity& process) {
    absl::StrAppend(out, process.pid);
  });
}

absl::Status Unnamed(const Holder& holder) {
  return absl::FailedPreconditionError(absl::StrCat(
      "no record names a live process (", holder.evidence, "), so nobody is signalled; ",
      holder.processes.empty()
          ? "no process that this user may look into shows the lock: look as its user, or as root"
          : absl::StrCat("pid ", Pids(holder.processes),
                         " has it: if that is the instance, end it by hand")));
}

}  // namespace

absl::StatusOr<ProcessIdentity> TargetOf(const Holder& holder, const InstanceName& name,
                                         const Coverage& coverage) {
  if (holder.standing == Standing::kUnguarded) {
    return absl::FailedPreconditionError(absl::StrCat("pid ", Pids(holder.processes),
                                                      " runs without a guard (", holder.evidence,
                                                      "), so it is not taken for the holder"));
  }
  if (!holder.record.has_value()) return Unnamed(holder);
  const HolderRecord& record = *holder.record;
  if (record.name != name.text() || record.slot != name.slot()) {
    return absl::FailedPreconditionError(
        absl::StrCat("pid ", record.identity.pid, " holds the name ", EscapeBytes(record.name),
                     " in slot ", record.slot, ", not ", EscapeBytes(name.text()), " in slot ",
                     name.slot(), " (", holder.evidence, ")"));
  }
  const ProcessIdentity* target = &record.identity;
  Liveness liveness = LivenessOf(*target);
  for (const auto* next : {&record.instance, &record.guardian}) {
    if (liveness != Liveness::kGone || !next->has_value()) continue;
    target = &**next;
    liveness = LivenessOf(*target);
  }
  switch (liveness) {
    case Liveness::kGone:
      if (holder.standing == Standing::kUnknown) return Unnamed(holder);
      return absl::NotFoundError(absl::StrCat("pid ", target->pid, " is gone"));
    case Liveness::kUnknown:
      if (!target->machine.empty()) {
        return absl::FailedPreconditionError(absl::StrCat(
            "pid ", target->pid, " is on another machine (host ", EscapeBytes(record.hostname),
            ") and cannot be seen from here: here that number is another process's or nobody's, so "
            "nobody is signalled; do it there"));
      }
      return absl::FailedPreconditionError(absl::StrCat(
          "pid ", target->pid, " is of another pid namespace (host ", EscapeBytes(record.hostname),
          "): here that number is another process's or nobody's, so nobody is signalled; do it "
          "where it runs, in its container, or on the host, from where every container is seen"));
    case Liveness::kAlive:
    case Liveness::kDying:
      break;
  }
  const absl::StatusOr<Coverage::Whose> whose = coverage.Of(*target);
  if (!whose.ok()) return whose.status();
  return *target;
}

// The answer does not get old while a start waits: an ancestor is one until it ends, and no process
// becomes one later. Of a guardian that is not recorded yet the command has inherited the claim.
absl::Status CheckMayBeAwaited(const Holder& holder, const Scope& scope, const InstanceName& name) {
  if (!holder.record.has_value()) return absl::OkStatus();
  const HolderRecord& record = *holder.record;
  const auto in_vain = [](std::int64_t pid, absl::string_view why) {
    return absl::FailedPreconditionError(
        absl::StrCat("pid ", pid, why, ", so the name cannot become free while this start waits"));
  };
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (own.ok() && record.identity == *own) {
    return in_vain(own->pid, ", which has the name, is this very process");
  }
  for (const auto& process : {std::optional(record.identity), record.instance, record.guardian}) {
    if (!process.has_value()) continue;
    const absl::StatusOr<bool> is_ancestor = IsOwnAncestor(*process);
    if (!is_ancestor.ok() || !*is_ancestor) continue;
    if (record.guardian.has_value() || HasInheritedClaim(scope, name.Slot(record.slot))) {
      return in_vain(process->pid, ", which keeps the name, is an ancestor of this start");
    }
  }
  return absl::OkStatus();
}

void EndCrew(const HolderRecord& record, const Coverage& coverage,
             const std::function<void(const ProcessIdentity&)>& kill) {
  if (!record.guardian.has_value() || !coverage.Of(*record.guardian).ok()) return;
  // Who has a SIGKILL forks no more, so that there is an end to it; but not to who comes from a
  // process that may not be signalled.
  constexpr int kMostRounds = 1000;
  std::vector<ProcessIdentity> ended;
  for (int i = 0; i < kMostRounds; ++i) {
    const std::size_t before = ended.size();
    const absl::StatusOr<std::vector<ProcessIdentity>> crew = DescendantsOf(*record.guardian);
    if (!crew.ok()) break;
    for (const ProcessIdentity& process : *crew) {
      if (std::find(ended.begin(), ended.end(), process) != ended.end()) continue;
      const absl::StatusOr<Coverage::Whose> whose = coverage.Of(process);
      // Another name's instance among them stays, and what descends from it.
      if (!whose.ok() || *whose != Coverage::Whose::kOfTheName) continue;
      kill(process);
      ended.push_back(process);
    }
    if (ended.size() == before) break;
  }
  kill(*record.guardian);
}

absl::Status Signalled(const ProcessIdentity& process, Signal signal) {
  absl::Status sent = SendSignal(process, signal);
  if (!absl::IsPermissionDenied(sent)) return sent;
  const absl::StatusOr<ProcessDescription> description = Describe(process);
  return absl::PermissionDeniedError(
      absl::StrCat("this user may not signal pid ", process.pid,
                   description.ok() ? absl::StrCat(" of user ", EscapeBytes(description->user),
                                                   ": do it as that user, or as root (sudo)")
                                    : ": do it as its user, or as root (sudo)"));
}

}  // namespace soleguard

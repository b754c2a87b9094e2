#include "watcher/lookout.h"

#include <algorithm>
#include <string>
#include <string_view>

#include <absl/time/clock.h>

#include "look.h"
#include "show/words.h"
#include <soleguard/options.h>
#include <soleguard/process_identity.h>

namespace guardcheck {
namespace {

using soleguard::Census;
using soleguard::Copy;
using soleguard::ProcessIdentity;
using soleguard::Subject;

// A guardcheck that waits, looks or guards has the name, and perhaps the command, among its
// arguments: a pattern would match it, and it is no instance.
bool IsGuardcheck(const ProcessIdentity& process) {
  const auto description = Live(process);
  if (!description.has_value()) return false;
  std::string_view path = description->executable;
  constexpr std::string_view kDeleted = " (deleted)";  // proc(5), of an upgrade
  if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
  return path.substr(path.rfind('/') + 1) == "guardcheck";
}

// What the process runs, to look for its like after it has ended.
std::optional<Subject> CommandOf(const ProcessIdentity& process) {
  const auto description = Live(process);
  if (!description.has_value() || description->argv.empty() || description->executable.empty()) {
    return std::nullopt;
  }
  Subject subject{.argv = description->argv, .working_directory = description->working_directory};
  subject.argv.front() = description->executable;  // argv[0] is whatever it was called with
  return subject;
}

}  // namespace

bool Lookout::Look() {
  soleguard::Options options = ToLook(call_.common);
  if (!call_.command.empty()) {
    options.subject = {.argv = call_.command, .working_directory = ""};
  }
  const auto take = [&] {
    return soleguard::TakeCensus(call_.operand, call_.common.policy, options);
  };
  absl::StatusOr<Census> census = take();
  const bool nothing_to_look_for =
      census.ok() && census->subject.unknown && !census->blind.ok() && remembered_.has_value();
  if (nothing_to_look_for) {
    options.subject = *remembered_;
    census = take();
  }
  if (census.ok()) {
    census_ = *std::move(census);
    std::erase_if(census_.copies, [](const Copy& copy) { return IsGuardcheck(copy.process); });
    std::erase_if(census_.young, &IsGuardcheck);
    if (census_.subject.process.has_value()) {
      std::optional<Subject> command = CommandOf(*census_.subject.process);
      if (command.has_value()) remembered_ = std::move(command);
    }
  } else {
    census_ = {};
    census_.blind = census.status();
  }
  return wait_(absl::InfinitePast());
}

bool Lookout::LookSettled() {
  if (!Look()) return false;
  const absl::Time begin = absl::Now();
  const soleguard::Options& options = call_.common.options;
  if (!census_.young.empty() && (!wait_(begin + options.settle) || !Look())) return false;
  // Not every change has an event: a start that decides wakes those who stand in line only.
  constexpr absl::Duration kStep = absl::Milliseconds(25);
  while (IsUnsettled() && absl::Now() < begin + options.deadline) {
    if (!wait_(absl::Now() + kStep) || !Look()) return false;
  }
  return true;
}

// Who has the name and is deciding, ending or giving it back: soon the holder, or nobody.
bool Lookout::IsUnsettled() const {
  using soleguard::Standing;
  return std::any_of(
      census_.unknown.begin(), census_.unknown.end(), [](const soleguard::Holder& holder) {
        return holder.standing == Standing::kCandidate || holder.standing == Standing::kReleasing ||
               holder.standing == Standing::kDying;
      });
}

bool Lookout::HolderIsOldest() const {
  const ProcessIdentity& first = census_.copies.front().process;
  // In another pid namespace the clock is the same, and in another boot nobody lives.
  return std::any_of(census_.holders.begin(), census_.holders.end(),
                     [&first](const soleguard::HolderRecord& holder) {
                       return holder.running().start_ticks <= first.start_ticks;
                     });
}

const Copy* Lookout::Kept() const {
  if (census_.copies.empty() || keep_ == Keep::kHolder) return nullptr;
  const bool has_holder = !census_.holders.empty() || !census_.unknown.empty();
  const bool keeps_copy = keep_ == Keep::kOldest ? !HolderIsOldest() : !has_holder;
  return keeps_copy ? &census_.copies.front() : nullptr;
}

std::vector<Copy> Lookout::Condemned() const {
  const Copy* const kept = Kept();
  std::vector<Copy> condemned;
  for (const Copy& copy : census_.copies) {
    if (&copy != kept) condemned.push_back(copy);
  }
  return condemned;
}

}  // namespace guardcheck

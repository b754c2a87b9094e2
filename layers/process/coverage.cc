#include "soleguard/coverage.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "kit/name_directory.h"
#include "kit/ownership.h"
#include "os/notify.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/process_view.h"
#include "os/user.h"
#include "process/records.h"
#include "process/registration.h"
#include "soleguard/registry.h"
#include "soleguard/text.h"

namespace soleguard {

namespace {

absl::Status Refuse(const ProcessIdentity& process, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat("pid ", process.pid, " ", why));
}

// The first record that names the process itself and is not about to end.
const HolderRecord* Naming(const std::vector<HolderRecord>& records,
                           const ProcessIdentity& process) {
  const auto found = std::find_if(records.begin(), records.end(), [&](const HolderRecord& record) {
    return record.state != RecordState::kReleasing && Covers(record, {process});
  });
  return found == records.end() ? nullptr : &*found;
}

// The users of a scope write its records. What one of them may not end himself root must not end
// for him: what root is asked to end there must be theirs. Of anybody else the kernel decides.
absl::Status CheckMayBeNamed(const Scope& scope, const ProcessIdentity& process) {
  if (os::OwnUid() != 0) return absl::OkStatus();
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(scope, os::Create::kNo);
  if (!ownership.ok()) return ownership.status();
  if (ownership->rule == os::Ownership::Rule::kOwner && ownership->uid == 0) {
    return absl::OkStatus();
  }
  const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(process.pid);
  const absl::StatusOr<std::uint32_t> user = view.ok() ? view->EffectiveUser() : view.status();
  if (!user.ok()) return user.status();
  if (os::MayOwn(*user, *ownership)) return absl::OkStatus();
  return Refuse(process, absl::StrCat("is named by a record, and is a process of ", os::Who(*user),
                                      ", who does not share the scope"));
}

// The process and its ancestors. Refused: it is this process or one of its ancestors.
absl::StatusOr<std::vector<ProcessIdentity>> LineOfAnother(const ProcessIdentity& process) {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return own.status();
  if (process == *own) return Refuse(process, "is this very process");
  const absl::StatusOr<bool> is_ancestor = IsOwnAncestor(process);
  if (!is_ancestor.ok()) return is_ancestor.status();
  if (*is_ancestor) return Refuse(process, "is an ancestor of this process");
  absl::StatusOr<os::Kin> kin = os::KinOf(process.pid);
  if (!kin.ok()) return kin.status();
  if (kin->process != process) return absl::NotFoundError("it is gone");
  return Family().LineOf(*kin);
}

}  // namespace

absl::StatusOr<bool> IsOwnAncestor(const ProcessIdentity& process) {
  constexpr int kMostWalks = 100;
  absl::StatusOr<os::Kin> kin = absl::NotFoundError("");
  // The race: an ancestor ends during a walk, and those above it are not seen. Closed by walking
  // again: by then its child has another parent.
  for (int i = 0; i < kMostWalks && absl::IsNotFound(kin.status()); ++i) {
    Family family;
    kin = os::OwnKin();
    if (kin.ok() && kin->process == process) return false;
    while (kin.ok() && kin->process != process && kin->parent > 0) kin = family.ParentOf(*kin);
  }
  if (!kin.ok()) return kin.status();
  return kin->process == process;
}

Coverage::Coverage(Scope scope, InstanceName name)
    : scope_(std::move(scope)), name_(std::move(name)) {}

absl::StatusOr<Coverage::Whose> Coverage::Of(const ProcessIdentity& process) const {
  const absl::StatusOr<std::vector<ProcessIdentity>> line = LineOfAnother(process);
  if (!line.ok()) return line.status();
  Registrations registrations;
  absl::Status opened = registrations.Open(scope_);
  if (!opened.ok()) return opened;
  Records records = RecordsOf(LayerKinds(), scope_, name_);
  records.found.insert(records.found.end(), known_.begin(), known_.end());
  std::erase_if(records.found, [this](const HolderRecord& record) {
    return record.name != name_.text() || record.slot != name_.slot();
  });
  const Records others = RecordsOfOthers(LayerKinds(), scope_, name_);
  for (const ProcessIdentity& each : *line) {
    const std::string by =
        each == process ? "" : absl::StrCat("descends from pid ", each.pid, ", which ");
    if (const HolderRecord* other = Naming(others.found, each)) {
      return Refuse(process, absl::StrCat(by, "holds the name ", EscapeBytes(other->name)));
    }
    if (Naming(records.found, each) != nullptr) {
      absl::Status may_be = CheckMayBeNamed(scope_, each);
      if (!may_be.ok()) return may_be;
      return Whose::kOfTheName;
    }
    const absl::StatusOr<bool> registered = registrations.Has(each);
    if (!registered.ok()) return registered.status();
    if (*registered) {
      return Refuse(process, absl::StrCat(by, "has asked for a name of its own"));
    }
  }
  // A job of another name must not be signalled for want of its record.
  for (const Records* read : {&std::as_const(records), &others}) {
    if (!read->unread.ok()) return read->unread;
  }
  return Whose::kNobodys;
}

bool HasInheritedClaim(const Scope& scope, const InstanceName& name) {
  NameDirectory directory(scope, name);
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok() || !directory.Open(os::Create::kNo).ok()) return false;
  const absl::StatusOr<bool> holds = HoldsLock(*own, directory.fd().file());
  return holds.ok() && *holds;
}

std::vector<UniqueFd> WatchEnd(const Scope& scope, const InstanceName& name) {
  std::vector<UniqueFd> watches;
  NameDirectory directory(scope, name);
  if (!directory.Open(os::Create::kNo).ok()) return watches;
  const absl::StatusOr<std::vector<std::string>> files = os::NamesIn(directory.fd().get());
  for (const std::string& file : files.ok() ? *files : std::vector<std::string>()) {
    if (!file.starts_with("end.") && !file.starts_with("wake.")) continue;
    UniqueFd watch = os::WatchPresence(directory.EntryOf(file), directory.ownership());
    if (watch) watches.push_back(std::move(watch));
  }
  return watches;
}

std::vector<UniqueFd> WatchChange(const Scope& scope, const InstanceName& name) {
  NameDirectory directory(scope, name);
  if (!directory.Open(os::Create::kNo).ok()) return {};
  UniqueFd made = os::WatchNamesIn(directory.fd().get());
  if (!made) return {};
  std::vector<UniqueFd> watches = WatchEnd(scope, name);
  watches.push_back(std::move(made));
  return watches;
}

}  // namespace soleguard

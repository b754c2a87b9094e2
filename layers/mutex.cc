// The mutex layer: a System V semaphore with SEM_UNDO, which the kernel gives back when the process
// is gone.
//
// Lives in    the ipc namespace.
// Released by Release, exit and SIGKILL, after the process's memory is gone and before its files
// are; by
//             unshare(CLONE_SYSVSEM) in the holder, and by its leaving the ipc namespace, if it has
//             no other thread. Not by exec. A forked child never has it.
// Faked by    a process of the same user (in a group's scope: of the group).
// Blinded by  ipcrm by the same user, RemoveIPC at logout, another ipc namespace.
// Covered by  file and port, which live elsewhere, and scan. See docs/layer-mutex.md.
//
// The key is a hash, so two names may share a semaphore. The record beside it, in a shared-memory
// segment of the same hash, says whose it is: the other name then learns Unavailable, never
// Contested.
#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "kinds.h"
#include "kit/claim.h"
#include "kit/holder.h"
#include "kit/key.h"
#include "kit/name_directory.h"
#include "kit/ownership.h"
#include "kit/record_area.h"
#include "kit/wake.h"
#include "os/kept_fd.h"
#include "os/machine.h"
#include "os/named_mutex.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/segment.h"
#include "os/thread.h"
#include "os/user.h"
#include "os/wait.h"
#include "soleguard/event.h"
#include "soleguard/finding.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/scope_view.h"
#include "soleguard/text.h"
#include "soleguard/vantage.h"

namespace soleguard {
namespace {

constexpr char kLayer[] = "mutex";
constexpr char kSegmentPrefix[] = "soleguard-";

struct Target {
  Scope scope;
  InstanceName name;

  std::uint64_t key() const { return KeyOf(scope, name); }
  // At the first of the names that it may have.
  std::string segment() const;
};

// The segment with the record. Called after the semaphore: who meets another name's semaphore finds
// that name's record.
std::string SegmentOf(std::string_view name) {
  return absl::StrCat(kSegmentPrefix, absl::string_view(name.data(), name.size()));
}
std::string SegmentOf(const os::NamedMutex& mutex) { return SegmentOf(mutex.name()); }
std::string Target::segment() const { return SegmentOf(os::NamedMutex::NamesOf(key()).front()); }

bool IsOf(const HolderRecord& record, const Target& target) {
  return record.name == target.name.text() && record.slot == target.name.slot() &&
         IsCalled(target.scope, record.scope);
}

// The record of the name in the segment, whoever has the semaphore.
std::optional<HolderRecord> RecordOfName(const Target& target, const std::string& segment,
                                         const os::Ownership& ownership) {
  os::KeptFd kept;
  if (!os::KeepSegment(segment, ownership, os::Create::kNo, kept).ok()) return std::nullopt;
  absl::StatusOr<DecodedRecord> decoded = ReadRecord(kept);
  if (!decoded.ok() || !IsOf(decoded->record, target)) return std::nullopt;
  return std::move(decoded->record);
}

// The record of whoever has the semaphore, if it is there. The segment may still have the record of
// an earlier holder, which may live: the next one was stopped before it wrote its own. And another
// ipc namespace may share it (unshare(1) --ipc leaves /dev/shm as it is), with a holder of its own.
// So the kernel is asked who took this semaphore: an operation that fails leaves the number of the
// process that succeeded last (sempid in ipc/sem.c).
std::optional<HolderRecord> RecordOfHolder(const os::Ownership& ownership,
                                           const os::NamedMutex& semaphore) {
  os::KeptFd segment;
  if (!os::KeepSegment(SegmentOf(semaphore), ownership, os::Create::kNo, segment).ok()) {
    return std::nullopt;
  }
  absl::StatusOr<DecodedRecord> decoded = ReadRecord(segment);
  if (!decoded.ok()) return std::nullopt;
  const absl::StatusOr<std::int64_t> last = semaphore.LastProcess();
  const ProcessIdentity& writer = decoded->record.identity;
  if (last.ok() && *last != os::PidFromHere(writer).value_or(writer.pid) &&
      LivenessOf(writer) != Liveness::kUnknown) {
    return std::nullopt;
  }
  return std::move(decoded->record);
}

// Whether `record` is of a process that has released the semaphore and could not give it back: see
// MutexClaim::Abandon. Others that are releasing name the layers that they have. Only of one that
// lives, and has taken it last: once it has ended the semaphore is free, or somebody else's.
bool IsAbandoned(const HolderRecord& record, const os::NamedMutex& semaphore) {
  if (record.state != RecordState::kReleasing || !record.layers.empty()) return false;
  if (LivenessOf(record.identity) != Liveness::kAlive) return false;
  const absl::StatusOr<std::int64_t> last = semaphore.LastProcess();
  return last.ok() && *last == os::PidFromHere(record.identity).value_or(record.identity.pid);
}

constexpr char kSharedMemory[] = "/dev/shm";

// Whose a segment of this user's is by its record, and certainly: it is called after a key of that
// name.
std::optional<Target> OwnerOfSegment(const std::string& segment) {
  os::KeptFd kept;
  const os::Ownership own{.rule = os::Ownership::Rule::kOwnerOrRoot, .uid = os::OwnUid()};
  const std::string path = absl::StrCat(kSharedMemory, "/", segment);
  const os::Entry entry{.parent = -1, .name = path, .path = path};
  if (!os::KeepFile(entry, own, os::Create::kNo, kept).ok()) return std::nullopt;
  const absl::StatusOr<DecodedRecord> decoded = ReadRecord(kept);
  if (!decoded.ok()) return std::nullopt;
  const absl::StatusOr<Scope> scope = Scope::Parse(decoded->record.scope);
  const absl::StatusOr<InstanceName> name = InstanceName::Parse(decoded->record.name);
  if (!scope.ok() || !name.ok()) return std::nullopt;
  Target target{.scope = *scope, .name = name->Slot(decoded->record.slot)};
  for (const std::string& each : os::NamedMutex::NamesOf(target.key())) {
    if (SegmentOf(each) == segment) return target;
  }
  return std::nullopt;
}

std::vector<Target> TargetsOfThisUser() {
  std::vector<Target> targets;
  for (const std::string& segment : os::FilesIn(kSharedMemory, "")) {
    if (!absl::StartsWith(segment, kSegmentPrefix)) continue;
    if (std::optional<Target> target = OwnerOfSegment(segment)) {
      targets.push_back(*std::move(target));
    }
  }
  return targets;
}

// Removes what one killed holder has left, if nobody holds it. Taken first, so that it is nobody's
// and a start at this moment waits for it.
bool RemoveLeftover(const Target& target) {
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target.scope, os::Create::kNo);
  if (!ownership.ok()) return false;
  absl::StatusOr<os::NamedMutex> semaphore =
      os::NamedMutex::Open(target.key(), *ownership, os::Create::kNo);
  if (!semaphore.ok() || !semaphore->MayRemove()) return false;
  const absl::StatusOr<bool> taken = semaphore->TryTake();
  if (!taken.ok() || !*taken) return false;
  if (!semaphore->IsAtKey()) {
    (void)semaphore->Give();
    return false;
  }
  const std::string segment = SegmentOf(*semaphore);
  const bool lives_on =
      Survivor(RecordOfName(target, segment, *ownership), os::SegmentPath(segment)).has_value();
  if (!lives_on) os::RemoveSegment(segment);
  if (!lives_on && semaphore->Remove().ok()) return true;
  (void)semaphore->Give();
  return false;
}

// What killed holders of this user have left, in whatever scope. It is in the way when the system
// has no semaphore any more. How many were removed.
int RemoveLeftovers() {
  const std::vector<Target> targets = TargetsOfThisUser();
  return static_cast<int>(std::count_if(targets.begin(), targets.end(), &RemoveLeftover));
}

absl::Status Collision(const HolderRecord& record) {
  return absl::UnavailableError(
      absl::StrCat("the semaphore is in use for another name or slot with the same hash, \"",
                   EscapeBytes(record.name), "\" (slot ", record.slot, ") of scope ",
                   EscapeBytes(record.scope)));
}

class MutexClaim final : public OwnedClaim {
 public:
  // Nothing is taken yet.
  MutexClaim(const Target& target, os::NamedMutex semaphore)
      : target_(target), semaphore_(std::move(semaphore)) {}
  ~MutexClaim() override { Release(); }

  os::NamedMutex& semaphore() { return semaphore_; }
  // Of the semaphore. There is a claim before it is taken: whatever throws then gives it back.
  absl::StatusOr<bool> Take() {
    absl::StatusOr<bool> taken = semaphore_.TryTake();
    taken_ = taken.ok() && *taken;
    return taken;
  }

  // Says who this is, now that the semaphore is taken. `survivor`: who lives and refuses that.
  absl::Status Introduce(const os::Ownership& ownership, HolderRecord candidate,
                         std::optional<Contested>& survivor);

  absl::Status Publish(const HolderRecord& record) override;
  absl::Status Verify() const override;
  absl::Status Watch(Alarm& alarm) override;
  Mended Mend(const HolderRecord& record) override;
  void Release() override;
  absl::Status RemoveObjects(const std::vector<std::string>& files) override;
  std::optional<HolderRecord> Predecessor() const override { return segment_.predecessor(); }
  absl::Status KeepOverExec() override;

 private:
  absl::StatusOr<bool> IsTakenByUs() const;
  void Abandon();
  absl::Status WatchSemaphore(Alarm& alarm);
  std::string SegmentPath() const { return os::SegmentPath(SegmentOf(semaphore_)); }
  os::Entry Segment() const {
    return {.parent = -1, .name = SegmentOf(semaphore_), .path = SegmentPath()};
  }
  bool IsSegmentOurs() const;
  bool IsHandedOn() const;
  void RemoveOrGive();
  absl::Status RenewRecord(const HolderRecord& record);
  absl::Status RenewWake();

  // A semaphore has no descriptor that shows its removal: a thread waits for it, and closes the
  // pipe's other end.
  struct Sentinel {
    std::mutex mutex;  // of all
    os::KeptFd read_end;
    os::KeptFd write_end;
    bool over = false;  // the semaphore was free
  };

  const Target target_;
  const absl::StatusOr<ProcessIdentity> own_ = OwnIdentity();  // a release needs no memory for it
  const Vantage vantage_{Vantage::kFiles | Vantage::kIpc | Vantage::kUser};
  os::NamedMutex semaphore_;
  std::shared_ptr<Sentinel> sentinel_;  // once it is watched
  Wake wake_;
  // Read like a file, not mapped: a segment that is truncated meanwhile cannot raise SIGBUS.
  RecordArea segment_;
};

absl::Status MutexClaim::Introduce(const os::Ownership& ownership, HolderRecord candidate,
                                   std::optional<Contested>& survivor) {
  NameDirectory directory(target_.scope, target_.name);
  if (directory.Open(os::Create::kYes).ok()) wake_.Begin(WakeFilesIn(directory, kLayer));
  absl::Status kept =
      os::KeepSegment(SegmentOf(semaphore_), ownership, os::Create::kYes, segment_.fd());
  if (!kept.ok()) return kept;
  segment_.Inherit(candidate, [this](const HolderRecord& last) { return IsOf(last, target_); });
  survivor = Survivor(segment_.predecessor(), SegmentPath());
  if (survivor.has_value()) return absl::OkStatus();
  return segment_.Write(candidate);
}

absl::Status MutexClaim::Publish(const HolderRecord& record) {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  absl::Status written = segment_.Publish(record, SegmentPath());
  if (!written.ok()) return written;
  if (record.state == RecordState::kEstablished) wake_.Decide();
  return absl::OkStatus();
}

// The semaphore is not this process's, by what this thread sees from another ipc namespace than it
// was taken in.
absl::Status LeftNamespace(const absl::Status& left) {
  // A thread that leaves the namespace loses its share of the process's undo list, and the last one
  // frees the semaphore (exit_sem in ksys_unshare and commit_nsset, Linux 6.18). Another thread,
  // one of the library's say, may be there still, and have it.
  if (os::IsOnlyThread()) {
    return absl::DataLossError(
        "the semaphore was given back by the kernel when this process left its ipc namespace");
  }
  return left;
}

absl::Status MutexClaim::Verify() const {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  absl::StatusOr<bool> ours = IsTakenByUs();
  if (ours.ok() && *ours) return absl::OkStatus();
  absl::Status here = vantage_.Check(Vantage::kIpc);
  if (!here.ok()) return LeftNamespace(here);
  if (!ours.ok()) return ours.status();
  return absl::DataLossError(semaphore_.IsAtKey()
                                 ? "the semaphore was given back (unshare of CLONE_SYSVSEM, semctl)"
                                 : "the semaphore was removed (ipcrm, RemoveIPC at logout)");
}

// An identifier may be another semaphore's in another ipc namespace, so it is compared with the
// key's, and with who took it last.
absl::StatusOr<bool> MutexClaim::IsTakenByUs() const {
  if (!semaphore_.IsAtKey()) return false;
  absl::StatusOr<bool> taken = semaphore_.IsTaken();
  if (!taken.ok() || !*taken) return taken;
  absl::StatusOr<std::int64_t> last = semaphore_.LastProcess();
  if (!last.ok()) return last.status();
  if (!own_.ok()) return own_.status();
  return *last == own_->pid;
}

absl::Status MutexClaim::WatchSemaphore(Alarm& alarm) {
  if (sentinel_ == nullptr) {
    auto sentinel = std::make_shared<Sentinel>();
    absl::Status made = os::KeepPipe(sentinel->read_end, sentinel->write_end);
    if (!made.ok()) return made;
    // Ends by itself: a release makes the semaphore free for a moment at least, in which whoever
    // waits for that is served first (semop(2) wakes within the operation).
    made = RunInThread([sentinel, semaphore = semaphore_] {
      semaphore.WaitUntilFree();
      const std::lock_guard lock(sentinel->mutex);
      sentinel->over = true;
      sentinel->write_end.Close();
    });
    if (!made.ok()) return made;
    sentinel_ = std::move(sentinel);
  }
  const std::lock_guard lock(sentinel_->mutex);
  if (!sentinel_->read_end.StillOurs()) {  // the program has closed all descriptors
    absl::Status made = os::KeepPipe(sentinel_->read_end, sentinel_->write_end);
    if (!made.ok()) return made;
    if (sentinel_->over) sentinel_->write_end.Close();
  }
  alarm.hang_ups.push_back(sentinel_->read_end.get());
  return absl::OkStatus();
}

absl::Status MutexClaim::Watch(Alarm& alarm) {
  absl::Status watched = CheckOwner();
  if (!watched.ok()) return watched;
  wake_.MoveAbove(alarm.slow);
  alarm.files.push_back(SegmentPath());
  const NameDirectory directory(target_.scope, target_.name);
  if (wake_.end()) alarm.files.push_back(WakeFilesIn(directory, kLayer).end.path);
  return WatchSemaphore(alarm);
}

absl::Status MutexClaim::RenewRecord(const HolderRecord& record) {
  absl::Status here = vantage_.Check();
  if (!here.ok()) return here;
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kYes);
  if (!ownership.ok()) return ownership.status();
  absl::Status kept =
      os::KeepSegment(SegmentOf(semaphore_), *ownership, os::Create::kYes, segment_.fd());
  if (!kept.ok()) return kept;
  return segment_.Write(record);
}

absl::Status MutexClaim::RenewWake() {
  NameDirectory directory(target_.scope, target_.name);
  absl::Status opened = vantage_.Check();
  if (opened.ok()) opened = directory.Open(os::Create::kYes);
  return opened.ok() ? wake_.Renew(WakeFilesIn(directory, kLayer)) : opened;
}

Claim::Mended MutexClaim::Mend(const HolderRecord& record) {
  const absl::Status standing = Verify();
  if (!standing.ok()) return NotStanding(standing);
  Mended mended;
  try {
    MendOne(
        segment_.Check(Segment(), vantage_), [&] { return RenewRecord(record); }, mended);
    const NameDirectory directory(target_.scope, target_.name);
    MendOne(
        wake_.Check(WakeFilesIn(directory, kLayer), vantage_), [this] { return RenewWake(); },
        mended);
  } catch (const std::bad_alloc&) {
    if (mended.lost.ok()) throw;  // what was put right is told, the next look finds the rest
  }
  return mended;
}

// Whether the segment is still this claim's, with what it has written last: one in another ipc
// namespace may share /dev/shm, and have its record there.
bool MutexClaim::IsSegmentOurs() const {
  const absl::StatusOr<bool> same = os::PathIs(SegmentPath(), segment_.fd().file());
  if (!segment_.fd().StillOurs() || !same.ok() || !*same) return false;
  const absl::StatusOr<DecodedRecord> record = ReadRecord(segment_.fd());
  return !record.ok() || record->sequence == segment_.sequence();
}

// Whether the record says that somebody has the name after the release: the command.
bool MutexClaim::IsHandedOn() const {
  const absl::StatusOr<DecodedRecord> record = ReadRecord(segment_.fd());
  return segment_.fd().StillOurs() && record.ok() &&
         record->record.state == RecordState::kEstablished;
}

// A free name costs neither a semaphore nor a segment: the system has a limit of both.
//
// The race: a newcomer has opened the semaphore by its key, and takes it once it is free. Closed by
// removing it while it is taken, and not after it was given back: a removed one cannot be taken by
// its id (EIDRM, semop(2)), and who learns that makes the next one at the key. An id comes again
// after 2^15 and more sets at the least (ipc_idr_alloc in ipc/util.c, Linux 6.18): who was stopped
// for so long compares the key (Try). The segment goes first: whoever takes the next semaphore
// makes the next segment. Until the semaphore is gone a look shows a holder without a record.
void MutexClaim::RemoveOrGive() {
  // Not where it is another's by now: it was set free by semctl(2), or is another namespace's.
  const absl::StatusOr<bool> ours = IsTakenByUs();
  if (!ours.ok() || !*ours) return Abandon();
  // In a group's scope another member may have made it: then it stays, and is free. So does all of
  // it where the record tells of a command that lives on.
  if (semaphore_.MayRemove() && !IsHandedOn()) {
    if (IsSegmentOurs()) os::RemoveSegment(SegmentOf(semaphore_));
    if (semaphore_.Remove().ok()) return;
  }
  if (!semaphore_.Give().ok()) Abandon();
}

void MutexClaim::Release() {
  if (!taken_ || !IsOwner()) return;
  taken_ = false;
  try {
    RemoveOrGive();
  } catch (const std::bad_alloc&) {  // what could not be asked is given back
    (void)semaphore_.Give();
  }
  segment_.fd().Close();
  wake_.End();  // last: who is woken finds the layer free
}

// A process that has dropped its privileges, or left the ipc namespace, cannot give the semaphore
// back, and the kernel does that at its end only. So it says that it is done with it, in the
// segment that it still has open, and the next start removes it: see RemoveAbandoned.
void MutexClaim::Abandon() {
  if (!segment_.fd().StillOurs()) return;
  absl::StatusOr<DecodedRecord> there = ReadRecord(segment_.fd());
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!there.ok() || !own.ok() || there->record.identity != *own) return;
  HolderRecord record = std::move(there->record);
  // One that was lost, and is only dropped here, still refuses others by what it says.
  if (record.state != RecordState::kReleasing) return;
  record.layers.clear();
  (void)segment_.Write(record);
}

// The segment first: whoever takes the next semaphore makes the next segment.
absl::Status MutexClaim::RemoveObjects(const std::vector<std::string>& /*files*/) {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  os::RemoveSegment(SegmentOf(semaphore_));
  return semaphore_.Remove();
}

absl::Status MutexClaim::KeepOverExec() {
  absl::Status stands = Verify();  // the kernel keeps what is still there (semop(2))
  return stands.ok() && wake_.end() ? wake_.end().KeepOverExec() : stands;
}

class MutexLayerImpl final : public Layer {
 public:
  explicit MutexLayerImpl(Target target) : target_(std::move(target)) {}

  std::string_view text() const override { return kLayer; }
  Attempt Try(const HolderRecord& candidate) override;
  Sighting Look() const override;
  Sighting Forecast() const override;
  void Disown(const HolderRecord& record) override;
  std::vector<ProcessIdentity> Suspects() const override;
  std::vector<Finding> Diagnose() const override;

 private:
  std::optional<Attempt> TryOnce(const os::Ownership& ownership,
                                 const HolderRecord& candidate) const;
  Sighting LookFor(os::Create create) const;
  absl::Status CheckObjects() const;
  Attempt Refused(const os::Ownership& ownership, const os::NamedMutex& semaphore) const;
  bool RemoveAbandoned(const os::Ownership& ownership, os::NamedMutex& semaphore) const;
  Sighting Freed(const os::Ownership& ownership, const std::string& segment,
                 std::optional<HolderRecord> last) const;
  std::optional<Sighting> LookOnce(os::Create create) const;

  const Target target_;
};

Attempt MutexLayerImpl::Refused(const os::Ownership& ownership,
                                const os::NamedMutex& semaphore) const {
  // The watch is opened before the record is read: a decision in between is then in the record, a
  // later one hangs the watch up.
  Watch watch;
  NameDirectory directory(target_.scope, target_.name);
  if (directory.Open(os::Create::kNo).ok()) watch = WatchOf(WakeFilesIn(directory, kLayer));
  std::optional<HolderRecord> record = RecordOfHolder(ownership, semaphore);
  if (record.has_value() && !IsOf(*record, target_)) {
    if (LivenessOf(record->identity) == Liveness::kAlive) return Unavailable{Collision(*record)};
    record.reset();  // left by the other name's last holder
  }
  Contested contested;
  contested.holder = JudgeHolder(std::move(record), absl::StrCat(semaphore.Where(), " is taken"));
  contested.wake = WakeUps(contested.holder, std::move(watch));
  return contested;
}

// Whether the semaphore was abandoned, and is gone now. It is not given back in the other process's
// stead: its undo list would take it from the next holder when that process ends.
//
// The race: two starts see the same abandoned semaphore, and one has taken the next one when the
// other removes it. Closed by the identifier, which no later semaphore has (its sequence number,
// ipc/util.c): the second removal fails. Left open: the other process ends, and somebody takes the
// semaphore that is free then, between the last question and the removal; Verify finds that.
bool MutexLayerImpl::RemoveAbandoned(const os::Ownership& ownership,
                                     os::NamedMutex& semaphore) const {
  const std::optional<HolderRecord> record = RecordOfHolder(ownership, semaphore);
  return record.has_value() && IsOf(*record, target_) && IsAbandoned(*record, semaphore) &&
         semaphore.RemoveOne().ok();
}

Attempt MutexLayerImpl::Try(const HolderRecord& candidate) {
  absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kYes);
  if (!ownership.ok()) return Unavailable{ownership.status()};
  constexpr int kMaxRemovals = 100;
  for (int i = 0; i < kMaxRemovals; ++i) {
    if (std::optional<Attempt> attempt = TryOnce(*ownership, candidate)) return *std::move(attempt);
  }
  return Unavailable{absl::AbortedError(
      absl::StrCat("the semaphore was removed ", kMaxRemovals, " times while it was being taken"))};
}

// nullopt: it was removed meanwhile, or what was in the way is gone, and it is worth another try.
std::optional<Attempt> MutexLayerImpl::TryOnce(const os::Ownership& ownership,
                                               const HolderRecord& candidate) const {
  const auto unless_room_was_made = [](const absl::Status& status) -> std::optional<Attempt> {
    if (absl::IsResourceExhausted(status) && RemoveLeftovers() > 0) return std::nullopt;
    return Unavailable{status};
  };
  absl::StatusOr<os::NamedMutex> semaphore =
      os::NamedMutex::Open(target_.key(), ownership, os::Create::kYes);
  if (!semaphore.ok()) return unless_room_was_made(semaphore.status());
  auto claim = std::make_unique<MutexClaim>(target_, *std::move(semaphore));
  absl::StatusOr<bool> taken = claim->Take();
  if (absl::IsAborted(taken.status())) return std::nullopt;
  if (!taken.ok()) return Unavailable{taken.status()};
  if (!*taken) {
    if (RemoveAbandoned(ownership, claim->semaphore())) return std::nullopt;
    return Refused(ownership, claim->semaphore());
  }
  // The race: removed and made anew between opening and taking. A removed one cannot be taken
  // (EIDRM), so only a removal after this line is left, and Verify finds that. (What is not at the
  // key is given back, and not removed: it is another name's.)
  if (!claim->semaphore().IsAtKey()) {
    (void)claim->semaphore().Give();
    return std::nullopt;
  }
  std::optional<Contested> survivor;
  absl::Status introduced = claim->Introduce(ownership, candidate, survivor);
  if (!introduced.ok()) {
    claim.reset();
    return unless_room_was_made(introduced);
  }
  if (survivor.has_value()) return *std::move(survivor);
  return Held{std::move(claim)};
}

// Nobody has the semaphore.
Sighting MutexLayerImpl::Freed(const os::Ownership& ownership, const std::string& segment,
                               std::optional<HolderRecord> last) const {
  std::optional<Contested> survivor =
      Survivor(RecordOfName(target_, segment, ownership), os::SegmentPath(segment));
  if (survivor.has_value()) return Taken{std::move(survivor->holder)};
  return Free{std::move(last)};
}

Sighting MutexLayerImpl::Look() const { return LookFor(os::Create::kNo); }

Sighting MutexLayerImpl::LookFor(os::Create create) const {
  // The race: it is removed, with its holder's release, between being opened and being looked at.
  constexpr int kMaxRemovals = 100;
  for (int i = 0; i < kMaxRemovals; ++i) {
    if (std::optional<Sighting> sighting = LookOnce(create)) return *std::move(sighting);
  }
  return Unavailable{absl::AbortedError(
      absl::StrCat("the semaphore was removed ", kMaxRemovals, " times while it was looked at"))};
}

// The semaphore first, as Try has it: whose it is decides who is believed. nullopt: it was removed
// meanwhile.
std::optional<Sighting> MutexLayerImpl::LookOnce(os::Create create) const {
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, create);
  if (!ownership.ok()) return Unavailable{ownership.status()};
  absl::StatusOr<os::NamedMutex> semaphore =
      os::NamedMutex::Open(target_.key(), *ownership, os::Create::kNo);
  if (absl::IsNotFound(semaphore.status())) {
    return Freed(*ownership, target_.segment(), std::nullopt);
  }
  if (!semaphore.ok()) return Unavailable{semaphore.status()};
  absl::StatusOr<bool> taken = semaphore->IsTaken();
  if (absl::IsAborted(taken.status())) return std::nullopt;
  if (!taken.ok()) return Unavailable{taken.status()};

  std::optional<HolderRecord> record = RecordOfHolder(*ownership, *semaphore);
  if (record.has_value() && !IsOf(*record, target_)) {
    if (*taken && LivenessOf(record->identity) == Liveness::kAlive) {
      return Unavailable{Collision(*record)};
    }
    record.reset();  // left by the other name's last holder
  }
  if (!*taken || (record.has_value() && IsAbandoned(*record, *semaphore))) {
    return Freed(*ownership, SegmentOf(*semaphore), std::move(record));
  }
  return Taken{JudgeHolder(std::move(record), absl::StrCat(semaphore->Where(), " is taken"))};
}

Sighting MutexLayerImpl::Forecast() const {
  Sighting sighting = LookFor(os::Create::kAsIf);
  if (!std::holds_alternative<Free>(sighting)) return sighting;
  const absl::Status could_be = CheckObjects();
  if (!could_be.ok()) return Unavailable{could_be};
  return sighting;
}

// Whether a start could have what it needs.
absl::Status MutexLayerImpl::CheckObjects() const {
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kAsIf);
  if (!ownership.ok()) return ownership.status();
  const absl::StatusOr<os::NamedMutex> semaphore =
      os::NamedMutex::Open(target_.key(), *ownership, os::Create::kNo);
  if (!semaphore.ok() && !absl::IsNotFound(semaphore.status())) return semaphore.status();
  const absl::StatusOr<os::SemaphoreSets> sets = os::CountSemaphoreSets();
  if (!semaphore.ok() && sets.ok() && sets->used >= sets->limit) {
    return absl::ResourceExhaustedError("the limit of kernel.sem is reached (ipcs -ls, sysctl)");
  }
  return os::CheckSegment(semaphore.ok() ? SegmentOf(*semaphore) : target_.segment(), *ownership,
                          kRecordSize);
}

void MutexLayerImpl::Disown(const HolderRecord& record) {
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kNo);
  if (!ownership.ok()) return;
  for (const std::string& each : os::NamedMutex::NamesOf(target_.key())) {
    DisownRecord(record, [&](os::Create create, os::KeptFd& segment) {
      return os::KeepSegment(SegmentOf(each), *ownership, create, segment);
    });
  }
}

std::vector<ProcessIdentity> MutexLayerImpl::Suspects() const {
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kNo);
  if (!ownership.ok()) return {};
  absl::StatusOr<os::NamedMutex> semaphore =
      os::NamedMutex::Open(target_.key(), *ownership, os::Create::kNo);
  if (!semaphore.ok()) return {};
  const absl::StatusOr<bool> taken = semaphore->IsTaken();
  if (!taken.ok() || !*taken) return {};
  absl::StatusOr<std::int64_t> pid = semaphore->LastProcess();
  if (!pid.ok() || *pid == 0) return {};
  absl::StatusOr<ProcessIdentity> process = IdentityOf(*pid);
  return process.ok() ? std::vector{*std::move(process)} : std::vector<ProcessIdentity>{};
}

// The last RemoveIPC= in the configuration of systemd-logind (logind.conf(5)); yes without one.
bool RemovesIpc() {
  std::vector<std::string> files = {"/etc/systemd/logind.conf"};
  for (const char* directory : {"/usr/lib/systemd/logind.conf.d", "/run/systemd/logind.conf.d",
                                "/etc/systemd/logind.conf.d"}) {
    for (const std::string& file : os::FilesIn(directory, ".conf")) {
      files.push_back(absl::StrCat(directory, "/", file));
    }
  }
  bool removes = true;
  for (const std::string& file : files) {
    const absl::StatusOr<std::string> text = os::ReadSetting(file);
    for (const auto line : absl::StrSplit(text.ok() ? *text : std::string(), '\n')) {
      if (!absl::StartsWith(line, "RemoveIPC=")) continue;
      const auto value = line.substr(line.find('=') + 1);
      removes = value == "yes" || value == "true" || value == "on" || value == "1";
    }
  }
  return removes;
}

std::optional<Finding> DiagnoseLogout() {
  constexpr std::uint32_t kFirstPerson = 1000;  // logind spares system users and root
  if (os::OwnUid() < kFirstPerson || !os::Exists("/run/systemd/seats") || !RemovesIpc()) {
    return std::nullopt;
  }
  return Finding{.severity = Severity::kNote,
                 .layer = kLayer,
                 .what =
                     "systemd-logind removes this user's semaphores and shared memory when "
                     "the last session ends (RemoveIPC=)",
                 .consequence = "",
                 .fix =
                     "RemoveIPC=no in /etc/systemd/logind.conf, loginctl enable-linger, or a "
                     "service of the system",
                 .event = Event::kRemoveIpc,
                 .threat = true};
}

std::vector<Finding> MutexLayerImpl::Diagnose() const {
  std::vector<Finding> findings;
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kNo);
  if (!ownership.ok()) return findings;  // the scope's findings say why
  const absl::StatusOr<os::NamedMutex> semaphore =
      os::NamedMutex::Open(target_.key(), *ownership, os::Create::kNo);
  os::KeptFd segment;
  const std::string name = semaphore.ok() ? SegmentOf(*semaphore) : target_.segment();
  const absl::Status record = os::KeepSegment(name, *ownership, os::Create::kNo, segment);
  for (const absl::Status& status : {semaphore.status(), record}) {
    if (!absl::IsFailedPrecondition(status) && !absl::IsPermissionDenied(status)) continue;
    findings.push_back({.severity = Severity::kProblem,
                        .layer = kLayer,
                        .what = std::string(status.message()),
                        .consequence = "",
                        .fix = "ipcs -s and ls -l /dev/shm show whose it is; its owner or root "
                               "removes it with ipcrm and rm",
                        .event = Event::kSemaphoreSquatted});
  }
  const absl::StatusOr<os::SemaphoreSets> sets = os::CountSemaphoreSets();
  if (sets.ok() && sets->used >= sets->limit && !semaphore.ok()) {
    findings.push_back({.severity = Severity::kProblem,
                        .layer = kLayer,
                        .what = absl::StrCat("all ", sets->limit,
                                             " semaphore sets of the system are in use "
                                             "(kernel.sem)"),
                        .consequence = "",
                        .fix =
                            "guardcheck gc removes what killed holders of this user left; ipcs -s "
                            "shows whose the others are; sysctl kernel.sem='32000 1024000000 "
                            "500 32000' allows more",
                        .event = Event::kSemaphoresExhausted});
  } else if (sets.ok()) {
    findings.push_back(
        {.severity = Severity::kOk,
         .layer = kLayer,
         .what = absl::StrCat(sets->used, " of ", sets->limit, " semaphore sets are in use"),
         .consequence = "",
         .fix = ""});
  }
  if (semaphore.ok()) {
    const absl::StatusOr<bool> taken = semaphore->IsTaken();
    if (taken.ok() && !*taken) {
      findings.push_back(
          {.severity = Severity::kNote,
           .layer = kLayer,
           .what = absl::StrCat(semaphore->Where(), " is left of an earlier holder, and free"),
           .consequence =
               "nothing for a start, which takes it and removes it at its end; until then "
               "it is one of the semaphore sets of the system",
           .fix = "guardcheck gc removes it"});
    }
  }
  std::optional<Finding> logout = DiagnoseLogout();
  if (logout.has_value()) findings.push_back(*std::move(logout));
  return findings;
}

absl::Status CheckParameters(const LayerParameters& parameters) {
  if (parameters.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("mutex takes no parameters");
}

std::unique_ptr<Layer> MakeMutexLayer(const LayerContext& context) {
  return std::make_unique<MutexLayerImpl>(Target{.scope = context.scope, .name = context.name});
}

Effect EffectOf(Event event, const LayerParameters&) {
  switch (event) {
    case Event::kIpcNamespace:
    case Event::kIpcAndNetworkNamespaces:
    case Event::kTwoPaths:
    case Event::kContainer:
    case Event::kAnotherHost:
    case Event::kIpcRemoved:
    case Event::kRemoveIpc:
    case Event::kSemaphoreUndoUnshared:
      return Effect::kBlinds;
    case Event::kHiddenUser:
    case Event::kSemaphoreSquatted:
    case Event::kSemaphoresExhausted:
    case Event::kDescriptorsExhausted:  // the record's segment is opened as a file
      return Effect::kUnavailable;
    default:
      return Effect::kNone;
  }
}

std::vector<std::string> FilesOf(const LayerParameters&) { return WakeFileNames(kLayer); }

std::vector<InstanceName> NamesIn(const Scope& scope) {
  std::vector<InstanceName> names;
  for (const Target& target : TargetsOfThisUser()) {
    // The same identity, however it is written.
    if (KeyOf(target.scope, target.name) == KeyOf(scope, target.name)) {
      names.push_back(target.name);
    }
  }
  return names;
}

}  // namespace

LayerKind MutexLayer() {
  return {.name = kLayer,
          .check = &CheckParameters,
          .make = &MakeMutexLayer,
          .effect = &EffectOf,
          .files = &FilesOf,
          .names = &NamesIn};
}

}  // namespace soleguard

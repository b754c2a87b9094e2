// The file layer: LOCK_EX by flock(2) on the name's directory, then on the file `lock` in it, and
// on local filesystems an OFD write lock on that file too.
//
// Lives in:     the mount namespace and filesystem of the scope directory.
//
// Released by:  the close of the last descriptor of both open file descriptions: at Release, exit,
//               SIGKILL and exec.
//
// Faked by:     whoever may open the directory: nobody but its owner (or the scope's group).
//
// Blinded by:   destruction of the whole directory; two mounts that show two directories at one
//               path.
//
// Covered by:   mutex and port, which live elsewhere, and scan. See docs/layer-file.md.
//
// Why the directory: a lock file that is deleted or replaced under its holder lets a newcomer lock
// the new inode (4,074 of 5,112 deletions let one in, repair included; with the directory locked
// too, none of 5,112). Its name cannot be removed while it has content, and tmp cleaners leave the
// content of a flocked directory alone (systemd-tmpfiles 252). Why OFD: lookers ask F_OFD_GETLK,
// which takes no lock and works from other pid namespaces and on a read-only descriptor; and
// lockers of the fcntl family are refused too.
//
// `file(path=…)` locks one file for programs that lock it too, by flock(2) or by fcntl(2), as
// lockf(3) and Boost.Interprocess's file_lock do.
#include "os/file.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/strip.h>

#include "diagnosis/cleaner.h"
#include "diagnosis/filesystem.h"
#include "kinds.h"
#include "kit/claim.h"
#include "kit/holder.h"
#include "kit/name_directory.h"
#include "kit/record_area.h"
#include "kit/wake.h"
#include "os/answer.h"
#include "os/kept_fd.h"
#include "os/lock.h"
#include "os/machine.h"
#include "os/mount.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/user.h"
#include "soleguard/event.h"
#include "soleguard/finding.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/text.h"
#include "soleguard/vantage.h"

namespace soleguard {
namespace {

// Pid and blanks: of fixed length, so that a shorter pid leaves nothing of a longer one behind.
constexpr std::size_t kPidTextSize = 12;
std::string PidText(std::int64_t pid) {
  std::string text = absl::StrCat(pid);
  text.resize(std::max(text.size(), kPidTextSize - 1), ' ');
  return text + '\n';
}

bool IsPidText(const std::string& text) {
  return text.size() <= kPidTextSize && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || c == ' ' || c == '\n';
         });
}

// Which instance, and which form of the layer.
struct Target {
  Scope scope;
  InstanceName name;
  std::string path;  // of `file(path=…)`; empty for the directory form

  bool plain() const { return !path.empty(); }
};

// Where the layer's objects are: in the name's directory, or, in the plain form, at a path that
// other programs lock too, with the record and the FIFOs beside it.
class Place {
 public:
  explicit Place(const Target& target)
      : plain_path_(target.path), directory_(target.scope, target.name) {}

  absl::Status Open(os::Create create) {
    if (!plain()) return directory_.Open(create);
    // Who is not known to himself could not tell the file that he makes from others'.
    const absl::Status known = os::OwnershipOfCaller().status();
    if (!known.ok()) return known;
    const std::size_t name = std::max<std::size_t>(plain_path_.rfind('/'), 1);
    return os::AwaitAnswer(plain_path_.substr(0, name), os::Create::kNo);
  }
  void Close() { directory_.Close(); }

  bool plain() const { return !plain_path_.empty(); }
  NameDirectory& directory() { return directory_; }
  const NameDirectory& directory() const { return directory_; }
  // What is locked first.
  const std::string& path() const { return plain() ? plain_path_ : directory_.path(); }

  os::Entry DirectoryEntry() const {
    return {.parent = -1, .name = directory_.path(), .path = directory_.path()};
  }
  os::Entry Lock() const { return plain() ? Beside("") : directory_.EntryOf("lock"); }
  os::Entry Record() const { return plain() ? Beside(".record") : directory_.EntryOf("record"); }
  WakeFiles Wakes() const {
    if (!plain()) return WakeFilesIn(directory_, "file");
    return {.decision = Beside(".wake"), .end = Beside(".end"), .ownership = ownership()};
  }

  os::Ownership ownership() const {
    return plain() ? os::Ownership{.rule = os::Ownership::Rule::kOwnerOrRoot, .uid = os::OwnUid()}
                   : directory_.ownership();
  }

 private:
  os::Entry Beside(std::string_view suffix) const {
    std::string path = plain_path_ + std::string(suffix);
    return {.parent = -1, .name = path, .path = path};  // an absolute path needs no parent
  }

  const std::string plain_path_;
  NameDirectory directory_;
};

std::optional<HolderRecord> RecordIn(const Place& place) {
  os::KeptFd file;
  if (!os::KeepFile(place.Record(), place.ownership(), os::Create::kNo, file).ok()) {
    return std::nullopt;
  }
  absl::StatusOr<DecodedRecord> decoded = ReadRecord(file);
  if (!decoded.ok()) return std::nullopt;
  return std::move(decoded->record);
}

// One attempt to take the objects, and the claim once they are taken.
class FileClaim final : public CarriedClaim {
 public:
  explicit FileClaim(const Target& target) : target_(target), place_(target) {}
  ~FileClaim() override { Release(); }

  enum class Taking { kTaken, kContested };
  // Leaves everything open on kContested and on an error: Free gives it back.
  absl::StatusOr<Taking> Take(const HolderRecord& candidate);
  void Free();
  // What refused, and the process that has a POSIX lock if it was that: set by Take when contested.
  const std::string& evidence() const { return evidence_; }
  // Who refused, if it was not the kernel.
  std::optional<Contested> TakeSurvivor() { return std::exchange(survivor_, std::nullopt); }
  std::int64_t locker() const { return locker_; }

  absl::Status Publish(const HolderRecord& record) override;
  absl::Status Verify() const override;
  absl::Status Watch(Alarm& alarm) override;
  Mended Mend(const HolderRecord& record) override;
  void Release() override;
  absl::Status RemoveObjects(const std::vector<std::string>& files) override;
  std::optional<HolderRecord> Predecessor() const override { return record_.predecessor(); }

 private:
  // The plain form has no directory, and the FIFO need not be there.
  std::vector<const os::KeptFd*> Carriers() const override {
    return {&place_.directory().fd(), &lock_, &wake_.end()};
  }
  absl::StatusOr<Taking> TakeDirectory();
  absl::StatusOr<Taking> TakeLock();
  absl::StatusOr<Taking> TakeLockOnce(bool& replaced);
  absl::StatusOr<Taking> LockOpened(const std::string& path);
  absl::Status VerifyLock() const;
  absl::Status CheckPidText() const;
  absl::Status WritePidText() const;
  absl::Status RetakeLock();
  absl::Status RenewRecord(const HolderRecord& record);
  absl::StatusOr<Taking> Introduce(HolderRecord candidate);
  absl::Status CheckStanding(const os::KeptFd& kept, const os::Entry& entry) const;
  absl::Status CheckDirectory() const {
    return CheckStanding(place_.directory().fd(), place_.DirectoryEntry());
  }

  const Target target_;
  const Vantage vantage_{Vantage::kFiles | Vantage::kUser};
  Place place_;
  os::KeptFd lock_;
  RecordArea record_;
  Wake wake_;
  bool ofd_ = false;
  bool wrote_pid_ = false;
  std::string evidence_;
  std::int64_t locker_ = 0;
  std::optional<Contested> survivor_;
};

// How often an object may be replaced between being opened and being locked before the layer gives
// up.
constexpr int kMaxReplacements = 1000;
constexpr int kMaxRemovals = 10;

absl::Status Replaced(const std::string& path) {
  return absl::AbortedError(absl::StrCat(EscapeBytes(path), " was replaced ", kMaxReplacements,
                                         " times while it was being locked; find what does it"));
}

absl::StatusOr<FileClaim::Taking> FileClaim::TakeDirectory() {
  NameDirectory& directory = place_.directory();
  absl::Status opened;
  for (int i = 0; i < kMaxReplacements; ++i) {
    opened = place_.Open(os::Create::kYes);
    // Removed between the creation and the opening: gc, or an administrator. Or there is no place
    // for the scope directory, and never will be.
    if (absl::IsNotFound(opened) && i < kMaxRemovals) continue;
    if (!opened.ok()) return opened;
    // Keeps tmp cleaners out of the whole scope. A cleaner that is at work right now has it
    // exclusively for a moment; the name's own directory is locked below all the same.
    (void)os::TryFlock(directory.scope_fd().get(), /*exclusive=*/false);

    absl::StatusOr<bool> locked = os::TryFlock(directory.fd().get(), /*exclusive=*/true);
    if (!locked.ok()) return locked.status();
    if (!*locked) {
      evidence_ = absl::StrCat("directory ", EscapeBytes(directory.path()), " is locked");
      return Taking::kContested;
    }
    // The race: opened, then removed and made anew by another, then locked: both would hold "the"
    // directory. Closed by comparing after the lock: from here on it cannot be removed, only
    // renamed.
    absl::StatusOr<bool> same = os::PathIs(directory.path(), directory.fd().file());
    if (!same.ok()) return same.status();
    if (*same) return Taking::kTaken;
  }
  return opened.ok() ? Replaced(directory.path()) : opened;
}

// The lock file is open: by flock, and by the fcntl family where that is another lock.
absl::StatusOr<FileClaim::Taking> FileClaim::LockOpened(const std::string& path) {
  absl::StatusOr<bool> locked = os::TryFlock(lock_.get(), /*exclusive=*/true);
  if (!locked.ok()) return locked.status();
  if (!*locked) {
    evidence_ = absl::StrCat("lock file ", EscapeBytes(path), " is locked by flock(2)");
    return Taking::kContested;
  }
  absl::StatusOr<bool> independent = os::LockFamiliesAreIndependent(lock_.get());
  if (!independent.ok()) return independent.status();
  if (!*independent) return Taking::kTaken;
  locked = os::TryOfdLock(lock_.get());
  if (!locked.ok()) return locked.status();
  if (!*locked) {
    const absl::StatusOr<std::optional<std::int64_t>> owner = os::PosixLockOwner(lock_.get());
    if (owner.ok()) locker_ = owner->value_or(0);
    evidence_ = absl::StrCat("lock file ", EscapeBytes(path), " is locked by fcntl(2)",
                             locker_ > 0 ? absl::StrCat(", pid ", locker_) : "");
    return Taking::kContested;
  }
  ofd_ = true;
  return Taking::kTaken;
}

absl::StatusOr<FileClaim::Taking> FileClaim::TakeLockOnce(bool& replaced) {
  const os::Entry entry = place_.Lock();
  absl::Status opened = os::KeepFile(entry, place_.ownership(), os::Create::kYes, lock_);
  if (!opened.ok()) return opened;
  absl::StatusOr<Taking> taking = LockOpened(entry.path);
  if (!taking.ok() || *taking == Taking::kContested) return taking;
  // The race: another process unlinks or replaces the file between open and lock, so that the lock
  // is on an inode that nobody else will find. Closed by comparing the path's inode after locking.
  absl::StatusOr<bool> same = os::PathIs(entry.path, lock_.file());
  if (!same.ok()) return same.status();
  replaced = !*same;
  return Taking::kTaken;
}

absl::StatusOr<FileClaim::Taking> FileClaim::TakeLock() {
  for (int i = 0; i < kMaxReplacements; ++i) {
    bool replaced = false;
    absl::StatusOr<Taking> taking = TakeLockOnce(replaced);
    if (!replaced) return taking;
    lock_.Close();
    ofd_ = false;
  }
  return Replaced(place_.Lock().path);
}

// Says who this is, now that the objects are taken. Contested: the record's holder lives.
absl::StatusOr<FileClaim::Taking> FileClaim::Introduce(HolderRecord candidate) {
  const os::Entry entry = place_.Record();
  absl::Status opened = os::KeepFile(entry, place_.ownership(), os::Create::kYes, record_.fd());
  if (!opened.ok()) return opened;
  record_.Inherit(candidate);
  const std::optional<HolderRecord>& last = record_.predecessor();
  if (last.has_value() && !place_.plain() && last->name != target_.name.text()) {
    return absl::FailedPreconditionError(absl::StrCat(
        EscapeBytes(place_.directory().path()), " is the directory of another name, \"",
        EscapeBytes(last->name),
        "\": the filesystem takes the two names for one. Use another scope directory"));
  }
  survivor_ = Survivor(last, EscapeBytes(entry.path));
  if (survivor_.has_value()) return Taking::kContested;
  absl::StatusOr<std::string> text = os::ReadAt(lock_.get(), kPidTextSize + 1);
  if (!text.ok()) return text.status();
  // In the plain form the path may name a file with a content of its own, by mistake.
  wrote_pid_ = IsPidText(*text);
  if (wrote_pid_) {
    absl::Status written = os::WriteAt(lock_.get(), PidText(candidate.identity.pid));
    if (!written.ok()) return written;
  }
  absl::Status written = record_.Write(candidate);
  if (!written.ok()) return written;
  return Taking::kTaken;
}

absl::StatusOr<FileClaim::Taking> FileClaim::Take(const HolderRecord& candidate) {
  if (place_.plain()) {
    absl::Status answered = place_.Open(os::Create::kNo);
    if (!answered.ok()) return answered;
  } else {
    absl::StatusOr<Taking> directory = TakeDirectory();
    if (!directory.ok() || *directory == Taking::kContested) return directory;
  }
  absl::StatusOr<Taking> lock = TakeLock();
  if (!lock.ok() || *lock == Taking::kContested) return lock;

  wake_.Begin(place_.Wakes());
  absl::StatusOr<Taking> introduced = Introduce(candidate);
  if (!introduced.ok() || *introduced == Taking::kContested) return introduced;
  taken_ = true;
  return Taking::kTaken;
}

void FileClaim::Free() {
  if (!is_shared()) {
    // Unlocked, not only closed: a child that a raw clone(2) made may have kept the descriptors.
    if (lock_.StillOurs()) {
      if (ofd_) os::UnlockOfd(lock_.get());
      os::UnlockFlock(lock_.get());
    }
    os::KeptFd& directory = place_.directory().fd();
    if (directory.StillOurs()) os::UnlockFlock(directory.get());
  }
  lock_.Close();
  record_.fd().Close();
  place_.Close();
  ofd_ = false;
  wake_.End();  // last: who is woken finds the layer free
}

void FileClaim::Release() {
  if (!taken_ || !IsOwner()) return;
  taken_ = false;
  Free();
}

// With the directory go the records and FIFOs that other layers have in it. Whoever has opened it
// meanwhile finds, once it has the lock, that the path leads elsewhere, and begins anew.
absl::Status FileClaim::RemoveObjects(const std::vector<std::string>& files) {
  absl::Status owner = CheckOwner();
  if (!owner.ok() || place_.plain()) return owner;  // a plain file is the user's
  return place_.directory().Remove(files);
}

absl::Status FileClaim::Publish(const HolderRecord& record) {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  absl::Status written = record_.Publish(record, place_.Record().path);
  if (!written.ok()) return written;
  if (record.state == RecordState::kEstablished) wake_.Decide();
  return absl::OkStatus();
}

// That one object is still open here, still locked by us, and still what others find at its path.
absl::Status FileClaim::CheckStanding(const os::KeptFd& kept, const os::Entry& entry) const {
  absl::Status ours = kept.CheckStillOurs(entry.path);
  if (!ours.ok()) return ours;
  // Taking a lock that the description already has changes nothing (flock(2)); if it was lost, this
  // takes it back or learns that another has it.
  absl::StatusOr<bool> locked = os::TryFlock(kept.get(), /*exclusive=*/true);
  if (!locked.ok()) return locked.status();
  if (!*locked) {
    return absl::DataLossError(absl::StrCat(EscapeBytes(entry.path), " is locked by another"));
  }
  return CheckPlace(kept, entry, vantage_);
}

absl::Status FileClaim::Verify() const {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  if (!place_.plain()) {
    absl::Status directory = CheckDirectory();
    if (!directory.ok()) return directory;
  }
  return VerifyLock();
}

absl::Status FileClaim::VerifyLock() const {
  const os::Entry entry = place_.Lock();
  absl::Status lock = CheckStanding(lock_, entry);
  if (!lock.ok() || !ofd_) return lock;
  absl::StatusOr<bool> locked = os::TryOfdLock(lock_.get());
  if (!locked.ok()) return locked.status();
  if (!*locked)
    return absl::DataLossError(absl::StrCat(EscapeBytes(entry.path), " is locked by another"));
  return absl::OkStatus();
}

absl::Status FileClaim::Watch(Alarm& alarm) {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  // One that cannot be moved only makes a successor wait a little.
  wake_.MoveAbove(alarm.slow);
  (void)lock_.MoveAbove(alarm.slow);
  (void)place_.directory().fd().MoveAbove(alarm.slow);
  if (!place_.plain()) alarm.directories.push_back(place_.directory().path());
  alarm.files.push_back(place_.Lock().path);
  alarm.files.push_back(place_.Record().path);
  if (wake_.end()) alarm.files.push_back(place_.Wakes().end.path);
  return absl::OkStatus();
}

// The pid in the lock file, for people and tools. Not in the plain form: who else uses that file
// may have written there.
absl::Status FileClaim::CheckPidText() const {
  if (place_.plain() || !wrote_pid_) return absl::OkStatus();
  const absl::StatusOr<std::string> text = os::ReadAt(lock_.get(), kPidTextSize + 1);
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!text.ok()) return text.status();
  if (!own.ok()) return own.status();
  if (*text == PidText(own->pid)) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(EscapeBytes(place_.Lock().path), " was truncated or overwritten"));
}

// Under the directory's lock: no start gets as far as the file.
absl::Status FileClaim::RetakeLock() {
  ofd_ = false;
  const absl::StatusOr<Taking> taking = TakeLock();
  if (!taking.ok()) return taking.status();
  if (*taking == Taking::kContested) return absl::FailedPreconditionError(evidence_);
  return wrote_pid_ ? WritePidText() : absl::OkStatus();
}

absl::Status FileClaim::WritePidText() const {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  return own.ok() ? os::WriteAt(lock_.get(), PidText(own->pid)) : own.status();
}

absl::Status FileClaim::RenewRecord(const HolderRecord& record) {
  absl::Status opened =
      os::KeepFile(place_.Record(), place_.ownership(), os::Create::kYes, record_.fd());
  if (!opened.ok()) return opened;
  return record_.Write(record);
}

Claim::Mended FileClaim::Mend(const HolderRecord& record) {
  // What keeps others out: with the directory's lock a file that is gone lets nobody in.
  absl::Status standing = CheckOwner();
  if (standing.ok()) standing = place_.plain() ? VerifyLock() : CheckDirectory();
  if (absl::IsDataLoss(standing) || absl::IsFailedPrecondition(standing)) {
    const os::KeptFd& first = place_.plain() ? lock_ : std::as_const(place_.directory()).fd();
    // Moved, or hidden by a mount: whoever looks from elsewhere may still find it.
    const bool may_exclude = taken_ && IsOwner() && first.StillOurs() && !first.IsDeleted();
    return {.lost = standing, .excludes = false, .may_exclude = may_exclude, .left = standing};
  }
  if (!standing.ok()) return {.lost = standing, .left = standing};
  Mended mended;
  const auto mend = [&](const absl::Status& lost, const std::function<absl::Status()>& renew) {
    // Nothing is made from elsewhere or as another user: others would refuse it, or not find it.
    const auto renew_here = [&] {
      absl::Status here = vantage_.Check();
      return here.ok() ? renew() : here;
    };
    MendOne(lost, renew_here, mended);
  };
  try {
    if (!place_.plain()) {
      const absl::Status lock = VerifyLock();
      mend(lock, [this] { return RetakeLock(); });
      if (lock.ok()) mend(CheckPidText(), [this] { return WritePidText(); });
    }
    mend(record_.Check(place_.Record(), vantage_), [&] { return RenewRecord(record); });
    mend(wake_.Check(place_.Wakes(), vantage_), [this] { return wake_.Renew(place_.Wakes()); });
  } catch (const std::bad_alloc&) {
    if (mended.lost.ok()) throw;  // what was put right is told, the next look finds the rest
  }
  return mended;
}

class FileLayerImpl final : public Layer {
 public:
  explicit FileLayerImpl(Target target)
      : target_(std::move(target)),
        text_(target_.plain() ? absl::StrCat("file(path=", QuotePolicyValue(target_.path), ")")
                              : "file") {}

  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord& candidate) override;
  Sighting Look() const override;
  Sighting Forecast() const override;
  void Disown(const HolderRecord& record) override;
  std::vector<ProcessIdentity> Suspects() const override;
  std::vector<Finding> Diagnose() const override;

 private:
  Contested Refused(const std::string& evidence, std::int64_t locker) const;
  void DiagnoseLocks(std::vector<Finding>& findings) const;
  Sighting LookForLockers(const Place& place, const absl::Status& no_lock,
                          std::optional<HolderRecord> last) const;

  const Target target_;
  const std::string text_;
};

// Whether the process of `record` has no lock on the layer's object any more, though it lives.
// Whoever has it now did not say so: another locker, or a candidate that was stopped before it
// wrote a record.
bool HasLetGo(const Place& place, const HolderRecord& record) {
  os::KeptFd lock;
  if (place.plain()) {
    (void)os::KeepFile(place.Lock(), place.ownership(), os::Create::kNo, lock);
  }
  const absl::StatusOr<bool> holds =
      HoldsLock(record.identity, place.plain() ? lock.file() : place.directory().fd().file());
  return holds.ok() && !*holds;
}

// A POSIX lock says whose it is. A record that another process left is not the holder's, whether
// that process lives or not. (In another pid namespace the holder has another number.)
void CiteLocker(std::int64_t locker, Holder& holder) {
  if (locker <= 0) return;
  const absl::StatusOr<ProcessIdentity> identity = IdentityOf(locker);
  if (!identity.ok()) return;
  if (holder.record.has_value() &&
      (holder.record->identity == *identity ||
       holder.record->identity.pid_namespace != identity->pid_namespace)) {
    return;
  }
  holder.standing = Standing::kUnknown;
  holder.record.reset();
  holder.processes = {*identity};
}

Contested FileLayerImpl::Refused(const std::string& evidence, std::int64_t locker) const {
  Place place(target_);
  Watch watch;
  std::optional<HolderRecord> record;
  if (place.Open(os::Create::kNo).ok()) {
    // The watch is opened before the record is read: a decision in between is then in the record, a
    // later one hangs the watch up.
    watch = WatchOf(place.Wakes());
    record = RecordIn(place);
  }
  Contested contested;
  contested.holder = JudgeHolder(std::move(record), evidence);
  CiteLocker(locker, contested.holder);
  // Who has the name's directory is no foreign program.
  contested.holder.may_be_candidate = !place.plain() && !contested.holder.record.has_value();
  if (contested.holder.standing == Standing::kReleasing &&
      HasLetGo(place, *contested.holder.record)) {
    contested.holder.standing = Standing::kUnknown;
  }
  contested.wake = WakeUps(contested.holder, std::move(watch));
  return contested;
}

Attempt FileLayerImpl::Try(const HolderRecord& candidate) {
  auto claim = std::make_unique<FileClaim>(target_);
  absl::StatusOr<FileClaim::Taking> taking = claim->Take(candidate);
  if (taking.ok() && *taking == FileClaim::Taking::kTaken) return Held{std::move(claim)};
  claim->Free();
  if (!taking.ok()) return Unavailable{taking.status()};
  if (std::optional<Contested> survivor = claim->TakeSurvivor()) return *std::move(survivor);
  return Refused(claim->evidence(), claim->locker());
}

Taken TakenBy(std::vector<ProcessIdentity> processes, const std::string& path) {
  return {{.standing = Standing::kUnknown,
           .record = std::nullopt,
           .processes = std::move(processes),
           .evidence =
               absl::StrCat("a process that no record names has a lock on ", EscapeBytes(path))}};
}

// By the lock of the fcntl family on the lock file, which a look can ask the kernel for. nullopt:
// there is none.
absl::StatusOr<std::optional<Taken>> ByLock(const os::Entry& entry, const os::KeptFd& lock,
                                            const std::optional<HolderRecord>& record) {
  if (!lock) return std::nullopt;
  absl::StatusOr<std::optional<std::int64_t>> locker = os::PosixLockOwner(lock.get());
  if (!locker.ok()) return locker.status();
  if (!locker->has_value()) return std::nullopt;
  Taken taken{
      JudgeHolder(record, absl::StrCat("lock file ", EscapeBytes(entry.path), " is write-locked"))};
  CiteLocker(**locker, taken.holder);
  return taken;
}

// By the descriptors of one process that the record names. nullopt: it has no lock there.
absl::StatusOr<std::optional<Taken>> ByDescriptors(const ProcessIdentity& process,
                                                   const Place& place, const os::KeptFd& lock,
                                                   const HolderRecord& record) {
  const Liveness liveness = LivenessOf(process);
  if (liveness == Liveness::kGone) return std::nullopt;
  if (liveness == Liveness::kUnknown) {
    // The lock file of a holder that ended as it was killed still says whose it was; one that
    // stands in the place of a deleted one does not.
    absl::StatusOr<std::string> text = lock ? os::ReadAt(lock.get(), kPidTextSize) : "";
    if (text.ok() && *text == PidText(record.identity.pid)) return std::nullopt;
    return absl::FailedPreconditionError(absl::StrCat(
        EscapeBytes(place.Lock().path), " is missing or was replaced, and the last holder, pid ",
        process.pid, " of another pid namespace, cannot be seen from here"));
  }
  const FileIdentity object = place.plain() ? lock.file() : place.directory().fd().file();
  absl::StatusOr<bool> holds = HoldsLock(process, object);
  if (absl::IsNotFound(holds.status())) return std::nullopt;  // it ended meanwhile
  if (!holds.ok()) return holds.status();
  if (!*holds) return std::nullopt;
  return Taken{JudgeHolder(
      record, absl::StrCat("pid ", process.pid, " has a lock on ", EscapeBytes(place.path())))};
}

// No lock of the fcntl family: free, or the lock file was deleted or replaced under its holder, or
// the filesystem gives none. The descriptors of those that the record names tell.
absl::StatusOr<std::optional<Taken>> ByRecord(const Place& place, const os::KeptFd& lock,
                                              const HolderRecord& record) {
  absl::StatusOr<std::optional<Taken>> taken = ByDescriptors(record.identity, place, lock, record);
  const bool is_told = !taken.ok() || taken->has_value();
  if (is_told || !record.instance.has_value()) return taken;
  return ByDescriptors(*record.instance, place, lock, record);
}

Sighting FileLayerImpl::Look() const {
  Place place(target_);
  absl::Status opened = place.Open(os::Create::kNo);
  if (absl::IsNotFound(opened)) return Free{};
  if (!opened.ok()) return Unavailable{opened};

  const os::Entry entry = place.Lock();
  os::KeptFd lock;
  opened = os::KeepFile(entry, place.ownership(), os::Create::kNo, lock);
  // A lock file that is not the scope's says nothing. The name's directory is locked before it.
  const absl::Status no_lock = absl::IsNotFound(opened) ? absl::OkStatus() : opened;
  if (!no_lock.ok() && place.plain()) return Unavailable{no_lock};
  std::optional<HolderRecord> record = RecordIn(place);

  absl::StatusOr<std::optional<Taken>> taken = ByLock(entry, lock, record);
  if (taken.ok() && !taken->has_value() && record.has_value()) {
    taken = ByRecord(place, lock, *record);
  }
  if (!taken.ok()) return Unavailable{taken.status()};
  if (taken->has_value()) return **std::move(taken);
  return LookForLockers(place, no_lock, std::move(record));
}

// Nobody who is known. Without a record nobody had the name yet, or its objects were deleted under
// the holder, and another program that locks the file by flock(2) shows in /proc alone: only the
// kernel can tell then.
Sighting FileLayerImpl::LookForLockers(const Place& place, const absl::Status& no_lock,
                                       std::optional<HolderRecord> last) const {
  if (!last.has_value() || place.plain()) {
    std::vector<ProcessIdentity> lockers = Suspects();
    if (!lockers.empty()) return TakenBy(std::move(lockers), place.path());
  }
  if (!no_lock.ok()) return Unavailable{no_lock};
  std::optional<Contested> survivor = Survivor(last, EscapeBytes(place.Record().path));
  if (survivor.has_value()) return Taken{std::move(survivor->holder)};
  return Free{std::move(last)};
}

Sighting FileLayerImpl::Forecast() const {
  Place place(target_);
  const absl::Status opened = place.Open(os::Create::kAsIf);
  const auto check = [&place](const os::Entry& entry, std::size_t size) {
    return os::CheckFile(entry, place.ownership(), size);
  };
  absl::Status could_be = absl::IsNotFound(opened) ? absl::OkStatus() : opened;
  // Nothing else is locked: a start opens it before it finds out who has it.
  if (could_be.ok() && place.plain()) could_be = check(place.Lock(), 0);
  if (!could_be.ok()) return Unavailable{could_be};
  Sighting sighting = Look();
  if (!std::holds_alternative<Free>(sighting) || !opened.ok()) return sighting;
  could_be = check(place.Lock(), 0);
  if (could_be.ok()) could_be = check(place.Record(), kRecordSize);
  if (!could_be.ok()) return Unavailable{could_be};
  return sighting;
}

void FileLayerImpl::Disown(const HolderRecord& record) {
  Place place(target_);
  if (!place.Open(os::Create::kNo).ok()) return;
  DisownRecord(record, [&place](os::Create create, os::KeptFd& file) {
    return os::KeepFile(place.Record(), place.ownership(), create, file);
  });
}

std::vector<ProcessIdentity> FileLayerImpl::Suspects() const {
  Place place(target_);
  if (!place.Open(os::Create::kNo).ok()) return {};
  os::KeptFd lock;
  (void)os::KeepFile(place.Lock(), place.ownership(), os::Create::kNo, lock);

  std::vector<ProcessIdentity> suspects;
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  for (const os::KeptFd* kept : {&std::as_const(place.directory().fd()), &std::as_const(lock)}) {
    if (!*kept) continue;
    for (ProcessIdentity& process : ProcessesWithOpen(kept->file())) {
      if (own.ok() && process == *own) continue;
      const absl::StatusOr<bool> holds = HoldsLock(process, kept->file());
      if (holds.ok() ? !*holds : absl::IsNotFound(holds.status())) continue;  // or it has ended
      if (std::find(suspects.begin(), suspects.end(), process) == suspects.end()) {
        suspects.push_back(std::move(process));
      }
    }
  }
  return suspects;
}

// Programs that have a lock on `file` and are not those of `record`: "flock by rsync (pid 812)".
std::vector<std::string> ForeignLocks(const FileIdentity& file,
                                      const std::optional<HolderRecord>& record) {
  std::vector<std::int64_t> ours;
  if (record.has_value()) {
    ours = {os::PidFromHere(record->identity).value_or(0),
            os::PidFromHere(record->running()).value_or(0)};
    if (ours.front() == 0)
      return {};  // one of the lockers is the holder, and which one is not said
  }
  std::vector<std::string> foreign;
  for (const os::ListedLock& lock : os::LocksOn(file)) {
    // An OFD lock says no process (-1); one of an ended process or another namespace says 0.
    if (lock.pid <= 0 || std::find(ours.begin(), ours.end(), lock.pid) != ours.end()) continue;
    const absl::StatusOr<ProcessIdentity> identity = IdentityOf(lock.pid);
    if (absl::IsNotFound(identity.status())) continue;  // ended meanwhile
    const absl::StatusOr<ProcessDescription> process =
        identity.ok() ? soleguard::Describe(*identity) : identity.status();
    foreign.push_back(absl::StrCat(lock.family == "FLOCK" ? "flock" : "fcntl", " by ",
                                   process.ok() ? EscapeBytes(process->executable) : "a process",
                                   " (pid ", lock.pid, ")"));
  }
  return foreign;
}

void FileLayerImpl::DiagnoseLocks(std::vector<Finding>& findings) const {
  const Sighting sighting = Look();
  std::optional<HolderRecord> record;
  if (const auto* taken = std::get_if<Taken>(&sighting)) record = taken->holder.record;
  if (const auto* free = std::get_if<Free>(&sighting)) {
    if (free->last.has_value() && free->last->state != RecordState::kReleasing &&
        LivenessOf(free->last->identity) == Liveness::kGone) {
      findings.push_back({.severity = Severity::kNote,
                          .layer = text_,
                          .what = absl::StrCat("the last holder, pid ", free->last->identity.pid,
                                               ", ended without releasing (killed, or a crash)"),
                          .consequence = "nothing: the kernel has freed what it held",
                          .fix = ""});
    }
  }
  Place place(target_);
  if (!place.Open(os::Create::kNo).ok()) return;  // nobody has had the name yet
  os::KeptFd lock;
  (void)os::KeepFile(place.Lock(), place.ownership(), os::Create::kNo, lock);
  for (const os::KeptFd* kept : {&std::as_const(place.directory().fd()), &std::as_const(lock)}) {
    if (!*kept) continue;
    for (const std::string& foreign : ForeignLocks(kept->file(), record)) {
      findings.push_back(
          {.severity = Severity::kProblem,
           .layer = text_,
           .what = absl::StrCat(EscapeBytes(kept == &lock ? place.Lock().path : place.path()),
                                " is locked without soleguard: ", foreign),
           .consequence = "a start is refused while it has that lock",
           .fix = "end that program, or let it use guardcheck run"});
    }
  }
}

std::vector<Finding> FileLayerImpl::Diagnose() const {
  std::vector<Finding> findings;
  if (target_.plain()) {  // of the directory form the scope's findings tell
    const absl::StatusOr<os::Filesystem> filesystem = os::FilesystemAt(target_.path);
    if (filesystem.ok()) findings = DiagnoseFilesystem(text_, target_.path, *filesystem);
    for (Finding& finding : DiagnoseCleaners(text_, target_.path, /*locked=*/false)) {
      findings.push_back(std::move(finding));
    }
  }
  DiagnoseLocks(findings);
  return findings;
}

absl::Status CheckParameters(const LayerParameters& parameters) {
  for (const auto& [key, value] : parameters) {
    if (key != "path") {
      return absl::InvalidArgumentError(absl::StrCat(
          "file has no parameter ", key.empty() ? "without a key" : absl::StrCat("\"", key, "\""),
          "; it takes path=ABSOLUTE_PATH"));
    }
    absl::StatusOr<Scope> normal = Scope::Directory(value);  // the rules for paths are the same
    if (!normal.ok() || normal->directory() != value || value == "/") {
      return absl::InvalidArgumentError(
          "path must be absolute, name a file, and have no \".\", \"..\" or doubled slash in it: "
          "one file must have one spelling, in every working directory");
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> FilesOf(const LayerParameters& parameters) {
  if (parameters.contains("path")) return {};
  std::vector<std::string> files = WakeFileNames("file");
  files.insert(files.end(), {"lock", "record"});
  return files;
}

std::unique_ptr<Layer> MakeFileLayer(const LayerContext& context) {
  const auto path = context.parameters.find("path");
  return std::make_unique<FileLayerImpl>(
      Target{.scope = context.scope,
             .name = context.name,
             .path = path == context.parameters.end() ? "" : path->second});
}

// Of the form in the name's directory.
Effect EffectOnDirectory(Event event) {
  switch (event) {
    case Event::kScopeDirectoryRemoved:
    case Event::kPrivateTmp:
    case Event::kMountNamespace:
    case Event::kContainer:
    case Event::kAnotherHost:
    case Event::kDescriptorsClosed:
      return Effect::kBlinds;
    case Event::kHiddenPlace:
    case Event::kHiddenUser:
    case Event::kScopeDirectorySquatted:
    case Event::kReadOnlyFilesystem:
    case Event::kDiskFull:
    case Event::kDescriptorsExhausted:
      return Effect::kUnavailable;
    default:
      return Effect::kNone;
  }
}

Effect EffectOf(Event event, const LayerParameters& parameters) {
  const auto path = parameters.find("path");
  if (path == parameters.end()) return EffectOnDirectory(event);
  switch (event) {
    case Event::kLockFileDeleted:
      return Effect::kBlinds;
    case Event::kHiddenPlace:
    case Event::kScopeDirectoryRemoved:
    case Event::kScopeDirectorySquatted:
    case Event::kDiskFull:  // of the scope; nothing of this layer is there
      return Effect::kNone;
    case Event::kPrivateTmp:
      return path->second.starts_with("/tmp/") || path->second.starts_with("/var/tmp/")
                 ? Effect::kBlinds
                 : Effect::kNone;
    default:
      return EffectOnDirectory(event);
  }
}

std::string CautionOf(const LayerParameters& parameters) {
  if (!parameters.contains("path")) return "";
  return "no directory is locked: whoever deletes or replaces the file lets a second instance in";
}

}  // namespace

LayerKind FileLayer() {
  return {.name = "file",
          .check = &CheckParameters,
          .make = &MakeFileLayer,
          .carries = true,
          .effect = &EffectOf,
          .caution = &CautionOf,
          .is_one_object = [](const LayerParameters& parameters) { return !parameters.empty(); },
          .files = &FilesOf};
}

}  // namespace soleguard

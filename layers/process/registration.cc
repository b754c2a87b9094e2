#include "process/registration.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "base/hash.h"
#include "os/file.h"
#include "os/lock.h"
#include "os/notify.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/layer.h"
#include "soleguard/process.h"
#include "soleguard/registration.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr char kFile[] = "candidates";

// The file is sparse and at most 1 MiB long. All of this is part of the protocol.
constexpr std::size_t kSlotSize = 256;  // the text has at most 150 bytes
constexpr std::size_t kSlots = 4096;
// A process is in one of the slots that follow its own, so that a reader has few to look at, and a
// writer that meets others has room. With 3,600 of 4,096 taken, one in a million finds none.
constexpr std::size_t kWindow = 128;

os::Range RangeOf(std::size_t slot) { return {.offset = slot * kSlotSize, .size = kSlotSize}; }

// A slot's text, filled up with zeros:
//   soleguard-candidate 1 CHECKSUM BOOT_ID PID_NAMESPACE PID START_TICKS\n
constexpr std::string_view kMagic = "soleguard-candidate 1 ";

std::string TextOf(const ProcessIdentity& process) {
  return absl::StrCat(process.boot_id, " ", process.pid_namespace, " ", process.pid, " ",
                      process.start_ticks);
}

std::string Encode(const ProcessIdentity& process) {
  const std::string text = TextOf(process);
  std::string slot(kMagic);
  absl::StrAppend(&slot, absl::Hex(HashOf(text), absl::kZeroPad16), " ", text, "\n");
  slot.resize(kSlotSize);
  return slot;
}

// nullopt: never written, torn, of another version, or nonsense.
std::optional<ProcessIdentity> Decode(std::string_view slot) {
  if (!slot.starts_with(kMagic)) return std::nullopt;
  slot.remove_prefix(kMagic.size());
  const std::size_t end = slot.find('\n');
  constexpr std::size_t kChecksumSize = 17;
  if (end == std::string_view::npos || end < kChecksumSize) return std::nullopt;
  const std::string_view text = slot.substr(kChecksumSize, end - kChecksumSize);
  if (slot.substr(0, kChecksumSize) !=
      absl::StrCat(absl::Hex(HashOf(text), absl::kZeroPad16), " ")) {
    return std::nullopt;
  }
  const std::vector<std::string> fields =
      absl::StrSplit(absl::string_view(text.data(), text.size()), ' ');
  ProcessIdentity process;
  constexpr std::size_t kFields = 4;
  if (fields.size() != kFields || !absl::SimpleAtoi(fields[1], &process.pid_namespace) ||
      !absl::SimpleAtoi(fields[2], &process.pid) ||
      !absl::SimpleAtoi(fields[3], &process.start_ticks)) {
    return std::nullopt;
  }
  process.boot_id = fields[0];
  return process;
}

// The first slot of a process. Its pid alone would not spread them: in containers that share a
// scope the same few pids occur again and again.
std::size_t FirstSlot(const ProcessIdentity& process) { return HashOf(TextOf(process)) % kSlots; }

absl::Status CheckFilesystem(const os::KeptFd& file, const std::string& path) {
  absl::StatusOr<bool> independent = os::LockFamiliesAreIndependent(file.get());
  if (!independent.ok()) return independent.status();
  if (*independent) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(
      EscapeBytes(path),
      " is on a network filesystem, where a lock does not end with its process for certain; "
      "registering candidates needs a scope directory on a local one"));
}

absl::Status TooMany() {
  return absl::ResourceExhaustedError(absl::StrCat("too many candidates at once: the ", kWindow,
                                                   " slots for this process are taken"));
}

std::string PathIn(const Scope& scope) { return absl::StrCat(scope.directory(), "/", kFile); }

// The registration of this process in one scope.
class OwnSlot {
 public:
  absl::Status Take(const Scope& scope, const ProcessIdentity& own) {
    absl::Status taken;
    if (!file_) {
      taken = Open(scope);
      if (taken.ok()) taken = LockSlot(own);
    }
    if (taken.ok()) taken = Write(own);
    if (!taken.ok()) Close();
    return taken;
  }

  // Whether it is what others find in the scope now.
  bool StandsIn(const Scope& scope) const {
    if (!file_.StillOurs()) return false;
    const absl::StatusOr<bool> same = os::PathIs(PathIn(scope), file_.file());
    return same.ok() && *same;
  }
  // A program has closed all descriptors, or somebody has deleted the file: nobody finds it.
  bool IsLost() const { return !file_.StillOurs() || file_.IsDeleted(); }

  absl::Status KeepOverExec() const {
    if (file_.StillOurs()) return file_.KeepOverExec();
    return absl::FailedPreconditionError("this process is not registered in the scope");
  }

 private:
  absl::Status Open(const Scope& scope) {
    absl::StatusOr<os::Ownership> ownership =
        os::KeepScopeDirectory(scope, os::Create::kYes, directory_);
    if (!ownership.ok()) {
      Close();
      return ownership.status();
    }
    // Keeps tmp cleaners out (tmpfiles.d(5)). One that is at work has it exclusively for a moment.
    (void)os::TryFlock(directory_.get(), /*exclusive=*/false);
    const std::string path = PathIn(scope);
    absl::Status opened = os::KeepFile({.parent = directory_.get(), .name = kFile, .path = path},
                                       *ownership, os::Create::kYes, file_);
    return opened.ok() ? CheckFilesystem(file_, path) : opened;
  }

  void Close() {
    file_.Close();
    directory_.Close();
  }

  // Unless it stands there already: a write wakes those who wait for one.
  absl::Status Write(const ProcessIdentity& own) const {
    const absl::StatusOr<std::string> text = os::ReadRange(file_.get(), RangeOf(slot_));
    if (text.ok() && Decode(*text) == own) return absl::OkStatus();
    return os::WriteAt(file_.get(), Encode(own), RangeOf(slot_).offset);
  }

  absl::Status LockSlot(const ProcessIdentity& own) {
    const std::size_t first = FirstSlot(own);
    for (std::size_t i = 0; i < kWindow; ++i) {
      const std::size_t slot = (first + i) % kSlots;
      absl::StatusOr<bool> locked = os::TryOfdLock(file_.get(), RangeOf(slot));
      if (!locked.ok()) return locked.status();
      slot_ = slot;
      if (*locked) return absl::OkStatus();
    }
    return TooMany();
  }

  os::KeptFd directory_;
  os::KeptFd file_;
  std::size_t slot_ = 0;
};

// The registrations of this process.
class OwnRegistrations {
 public:
  // Never destroyed: a registration lasts as long as the process. A forked child gets a new one:
  // what it inherited is its parent's, its mutex perhaps locked for ever.
  static OwnRegistrations& OfThisProcess() {
    static std::atomic<OwnRegistrations*> current{nullptr};
    OwnRegistrations* found = current.load();
    while (found == nullptr || !found->process_.IsCurrent()) {
      auto fresh = std::make_unique<OwnRegistrations>();
      if (current.compare_exchange_strong(found, fresh.get())) return *fresh.release();
    }
    return *found;
  }

  absl::Status Add(const Scope& scope, const ProcessIdentity& own) {
    const std::lock_guard lock(mutex_);
    std::list<OwnSlot>& slots = scopes_[scope.directory()];
    slots.remove_if([](const OwnSlot& slot) { return slot.IsLost(); });
    const auto standing = std::find_if(
        slots.begin(), slots.end(), [&scope](const OwnSlot& slot) { return slot.StandsIn(scope); });
    if (standing != slots.end()) return standing->Take(scope, own);
    absl::Status taken = slots.emplace_back().Take(scope, own);
    if (!taken.ok()) slots.pop_back();
    return taken;
  }

  absl::Status KeepOverExec(const Scope& scope) {
    const std::lock_guard lock(mutex_);
    absl::Status kept =
        absl::FailedPreconditionError("this process is not registered in the scope");
    for (const OwnSlot& slot : scopes_[scope.directory()]) {
      if (kept = slot.KeepOverExec(); !kept.ok()) break;
    }
    return kept;
  }

 private:
  const os::ProcessMark process_;
  std::mutex mutex_;
  // By directory. More than one where the process looks from elsewhere by now (chroot(2)), or the
  // directory was moved: others still find the earlier one.
  std::map<std::string, std::list<OwnSlot>> scopes_;
};

}  // namespace

absl::Status Register(const Scope& scope) {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return own.status();
  return OwnRegistrations::OfThisProcess().Add(scope, *own);
}

absl::Status KeepRegistrationOverExec(const Scope& scope) {
  return OwnRegistrations::OfThisProcess().KeepOverExec(scope);
}

absl::Status CheckMayRegister(const Scope& scope) {
  os::KeptFd directory;
  const absl::StatusOr<os::Ownership> ownership =
      os::KeepScopeDirectory(scope, os::Create::kAsIf, directory);
  if (absl::IsNotFound(ownership.status())) return absl::OkStatus();
  if (!ownership.ok()) return ownership.status();
  const std::string path = PathIn(scope);
  const os::Entry entry{.parent = directory.get(), .name = kFile, .path = path};
  absl::Status checked = os::CheckFile(entry, *ownership, kSlotSize);
  if (!checked.ok()) return checked;
  os::KeptFd file;
  const absl::Status opened = os::KeepFile(entry, *ownership, os::Create::kNo, file);
  if (absl::IsNotFound(opened)) return absl::OkStatus();
  if (!opened.ok()) return opened;
  checked = CheckFilesystem(file, path);
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!checked.ok() || !own.ok()) return checked.ok() ? own.status() : checked;
  const std::size_t first = FirstSlot(*own);
  for (std::size_t i = 0; i < kWindow; ++i) {
    const absl::StatusOr<bool> taken = os::SeesOfdLock(file.get(), RangeOf((first + i) % kSlots));
    if (!taken.ok()) return taken.status();
    if (!*taken) return absl::OkStatus();
  }
  return TooMany();
}

absl::Status Registrations::Open(const Scope& scope) {
  file_.Close();
  os::KeptFd directory;
  const absl::StatusOr<os::Ownership> ownership =
      os::KeepScopeDirectory(scope, os::Create::kNo, directory);
  absl::Status opened = ownership.status();
  const std::string path = PathIn(scope);
  if (opened.ok()) {
    opened = os::KeepFile({.parent = directory.get(), .name = kFile, .path = path}, *ownership,
                          os::Create::kNo, file_);
  }
  if (opened.ok()) return CheckFilesystem(file_, path);
  return absl::IsNotFound(opened) ? absl::OkStatus() : opened;
}

namespace {

// The slots from `first` on, as far as the file goes. `visit` returns false to end.
template <typename Visit>
absl::Status ForEachEntry(const os::KeptFd& file, std::size_t first, std::size_t count,
                          Visit visit) {
  const absl::StatusOr<std::string> bytes =
      os::ReadRange(file.get(), {.offset = first * kSlotSize, .size = count * kSlotSize});
  if (!bytes.ok()) return bytes.status();
  const std::string_view view(*bytes);
  for (std::size_t i = 0; i < view.size() / kSlotSize; ++i) {
    const std::string_view slot = view.substr(i * kSlotSize, kSlotSize);
    if (slot.starts_with(kMagic) && !visit(first + i, slot)) break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> Registrations::Has(const ProcessIdentity& process) const {
  if (!file_) return false;
  // What is torn is being written this very moment: the registration has not happened yet, and
  // whoever waits for it is woken by the same write.
  bool found = false;
  absl::Status status;
  const auto visit = [&](std::size_t slot, std::string_view text) {
    if (Decode(text) != process) return true;
    const absl::StatusOr<bool> locked = os::SeesOfdLock(file_.get(), RangeOf(slot));
    status = locked.status();
    found = locked.ok() && *locked;
    return status.ok() && !found;
  };
  const std::size_t first = FirstSlot(process);
  const std::size_t until_end = std::min(kWindow, kSlots - first);
  absl::Status read = ForEachEntry(file_, first, until_end, visit);
  if (read.ok() && status.ok() && !found && until_end < kWindow) {
    read = ForEachEntry(file_, 0, kWindow - until_end, visit);
  }
  if (!read.ok()) return read;
  if (!status.ok()) return status;
  return found;
}

absl::StatusOr<std::vector<ProcessIdentity>> Registrations::All() const {
  std::vector<ProcessIdentity> all;
  if (!file_) return all;
  absl::Status status;
  const absl::Status read =
      ForEachEntry(file_, 0, kSlots, [&](std::size_t slot, std::string_view text) {
        const absl::StatusOr<bool> locked = os::SeesOfdLock(file_.get(), RangeOf(slot));
        status = locked.status();
        if (!locked.ok() || !*locked) return locked.ok();
        if (std::optional<ProcessIdentity> process = Decode(text)) {
          all.push_back(*std::move(process));
        }
        return true;
      });
  if (!read.ok()) return read;
  if (!status.ok()) return status;
  return all;
}

absl::StatusOr<UniqueFd> Registrations::Watch() const {
  if (!file_) return absl::NotFoundError("nobody has registered yet");
  return os::WatchWrites(file_.get());
}

}  // namespace soleguard

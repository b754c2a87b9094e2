// The queue of replacers and standbys, in the name's directory.
//
// The file `queue` is empty; a place in line is an OFD write lock (fcntl(2), Linux 3.15) on one of
// its bytes, which the kernel drops when the process ends in any way. Replacers have the low bytes,
// and stand so before all standbys. Whoever joins takes the byte behind the last of its line that
// is locked, so that places are in the order of joining, and start anew when the line was empty.
// Nothing is written that could be damaged or left behind.
//
// That a place becomes free has no event, so its owner has the FIFO queue.PLACE open for writing
// (as in wake.h), and who stands behind waits until it hangs up: one other process is woken, and
// nobody polls.
#include "soleguard/queue.h"

#include <cstdint>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "kit/name_directory.h"
#include "os/file.h"
#include "os/kept_fd.h"
#include "os/lock.h"
#include "os/path.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

using Place = std::uint64_t;

class QueueOfName final : public Queue {
 public:
  QueueOfName(const Scope& scope, const InstanceName& name) : directory_(scope, name) {}
  ~QueueOfName() override { Leave(); }

  absl::Status Join(Line line) override;
  void Leave() override;
  absl::StatusOr<std::optional<Ahead>> WhoIsAhead() override;
  std::vector<ProcessIdentity> Suspects() const override;
  absl::StatusOr<std::vector<Waiter>> Waiters();

 private:
  absl::Status Open(os::Create create);
  // The place that the kernel shows first of those taken from `begin` on and below `end`.
  absl::StatusOr<std::optional<Place>> AnyIn(Place begin, Place end) const;
  absl::StatusOr<std::set<Place>> AllTaken() const;
  // The last place that is taken there.
  absl::StatusOr<std::optional<Place>> LastIn(Place begin, Place end) const;
  absl::StatusOr<std::optional<Place>> Head() const;
  os::Entry FifoOf(Place place) const { return directory_.EntryOf(absl::StrCat("queue.", place)); }

  const os::ProcessMark owner_;
  NameDirectory directory_;
  os::KeptFd file_;
  os::KeptFd fifo_;
  std::optional<Place> place_;
  std::optional<Place> ahead_;  // whom WhoIsAhead found last
};

constexpr Place kFirstStandby = 1'000'000;
constexpr Place kEnd = Place{1} << 62;  // an off_t is signed

Queue::Line LineOf(Place place) {
  return place < kFirstStandby ? Queue::Line::kReplacers : Queue::Line::kStandbys;
}

std::vector<ProcessIdentity> At(Place place, const std::vector<os::OfdLockOwner>& owners) {
  std::vector<ProcessIdentity> processes;
  for (const os::OfdLockOwner& owner : owners) {
    if (owner.offset == place) processes.push_back(owner.process);
  }
  return processes;
}

absl::Status QueueOfName::Open(os::Create create) {
  if (file_) return absl::OkStatus();
  // Nobody has ever waited for this name: one system call instead of fifteen, for each start.
  if (create == os::Create::kNo && directory_.Lacks("queue")) {
    return absl::NotFoundError("there is no line");
  }
  absl::Status opened = directory_.Open(create);
  if (!opened.ok()) return opened;
  const os::Entry entry = directory_.EntryOf("queue");
  opened = os::KeepFile(entry, directory_.ownership(), create, file_);
  if (!opened.ok()) return opened;
  absl::StatusOr<bool> local = os::LockFamiliesAreIndependent(file_.get());
  absl::Status usable = local.status();
  if (local.ok() && !*local) {
    usable = absl::UnavailableError(absl::StrCat(
        EscapeBytes(entry.path),
        " is on a network filesystem, where a lock does not end with its process for certain; "
        "waiting in line needs a scope directory on a local one"));
  }
  if (!usable.ok()) file_.Close();
  return usable;
}

absl::StatusOr<std::optional<Place>> QueueOfName::AnyIn(Place begin, Place end) const {
  absl::StatusOr<std::optional<os::Range>> found =
      os::FindOfdLock(file_.get(), {.offset = begin, .size = end - begin});
  if (!found.ok()) return found.status();
  if (!found->has_value()) return std::optional<Place>();
  if ((*found)->size != 1) {
    return absl::UnavailableError(
        absl::StrCat("another program has a lock on ", EscapeBytes(directory_.path()), "/queue"));
  }
  return std::optional((*found)->offset);
}

absl::StatusOr<std::optional<Place>> QueueOfName::LastIn(Place begin, Place end) const {
  std::optional<Place> last;
  while (begin < end) {
    absl::StatusOr<std::optional<Place>> found = AnyIn(begin, end);
    if (!found.ok()) return found.status();
    if (!found->has_value()) break;
    last = **found;
    begin = *last + 1;
  }
  return last;
}

absl::StatusOr<std::set<Place>> QueueOfName::AllTaken() const {
  std::set<Place> taken;
  std::vector<std::pair<Place, Place>> unseen = {{0, kEnd}};
  while (!unseen.empty()) {
    const auto [begin, end] = unseen.back();
    unseen.pop_back();
    absl::StatusOr<std::optional<Place>> found =
        begin < end ? AnyIn(begin, end) : std::optional<Place>();
    if (!found.ok()) return found.status();
    if (!found->has_value()) continue;
    taken.insert(**found);
    unseen.emplace_back(begin, **found);
    unseen.emplace_back(**found + 1, end);
  }
  return taken;
}

absl::StatusOr<std::optional<Place>> QueueOfName::Head() const {
  std::optional<Place> head;
  while (true) {
    // Whichever the kernel shows first: go on below it.
    absl::StatusOr<std::optional<os::Range>> found =
        os::FindOfdLock(file_.get(), {.offset = 0, .size = head.value_or(kEnd)});
    if (!found.ok()) return found.status();
    if (!found->has_value()) return head;
    head = (*found)->offset;
    if (head == 0U) return head;
  }
}

absl::Status QueueOfName::Join(Line line) {
  if (place_.has_value()) return absl::OkStatus();
  absl::Status opened = Open(os::Create::kYes);
  if (!opened.ok()) return opened;
  const Place first = line == Line::kReplacers ? 0 : kFirstStandby;
  absl::StatusOr<std::optional<Place>> last =
      LastIn(first, line == Line::kReplacers ? kFirstStandby : kEnd);
  if (!last.ok()) return last.status();
  // The race: others join at the same time. The kernel gives a byte to one of them, and the others
  // take the next.
  for (Place place = last->has_value() ? **last + 1 : first;; ++place) {
    absl::StatusOr<bool> taken = os::TryOfdLock(file_.get(), {.offset = place, .size = 1});
    if (!taken.ok()) return taken.status();
    if (!*taken) continue;
    place_ = place;
    (void)os::KeepPresence(FifoOf(place), directory_.ownership(), fifo_);
    return absl::OkStatus();
  }
}

void QueueOfName::Leave() {
  if (!place_.has_value() || !owner_.IsCurrent()) return;
  // First the FIFO's name: as long as the place is taken nobody else can need it.
  try {
    if (directory_.fd().StillOurs()) os::RemoveEntry(FifoOf(*place_));
  } catch (const std::bad_alloc&) {  // it stays, as that of one that was killed
  }
  // Not only closed: a child that a raw clone(2) made may have kept the descriptor.
  if (file_.StillOurs()) os::UnlockOfd(file_.get());
  file_.Close();
  directory_.Close();
  place_.reset();
  ahead_.reset();
  fifo_.Close();  // last: who is woken finds the place free
}

absl::StatusOr<std::optional<Queue::Ahead>> QueueOfName::WhoIsAhead() {
  absl::Status opened = Open(os::Create::kNo);
  if (absl::IsNotFound(opened)) return std::optional<Ahead>();
  if (!opened.ok()) return opened;
  absl::StatusOr<std::optional<Place>> found = place_.has_value() ? LastIn(0, *place_) : Head();
  if (!found.ok()) return found.status();
  // One that was killed has left its FIFO. Nobody takes a place ahead of ours in our line any more.
  const bool same_line =
      place_.has_value() && ahead_.has_value() && LineOf(*place_) == LineOf(*ahead_);
  if (same_line && ahead_ != *found) {
    os::RemoveEntry(FifoOf(*ahead_));
  }
  ahead_ = *found;
  if (!ahead_.has_value()) return std::optional<Ahead>();
  Ahead ahead;
  UniqueFd left = os::WatchPresence(FifoOf(*ahead_), directory_.ownership());
  if (left) ahead.wake.push_back(std::move(left));
  return std::optional(std::move(ahead));
}

std::vector<ProcessIdentity> QueueOfName::Suspects() const {
  if (!ahead_.has_value()) return {};
  return At(*ahead_, os::OfdLockOwners(file_.file()));
}

absl::StatusOr<std::vector<Waiter>> QueueOfName::Waiters() {
  absl::Status opened = Open(os::Create::kNo);
  if (absl::IsNotFound(opened)) return std::vector<Waiter>();
  if (!opened.ok()) return opened;
  const absl::StatusOr<std::set<Place>> taken = AllTaken();
  if (!taken.ok()) return taken.status();
  if (taken->empty()) return std::vector<Waiter>();
  const std::vector<os::OfdLockOwner> owners = os::OfdLockOwners(file_.file());
  std::vector<Waiter> waiters;
  for (const Place place : *taken) {
    waiters.push_back({.line = LineOf(place), .processes = At(place, owners)});
  }
  return waiters;
}

}  // namespace

std::unique_ptr<Queue> MakeQueue(const Scope& scope, const InstanceName& name) {
  return std::make_unique<QueueOfName>(scope, name);
}

absl::StatusOr<std::vector<Waiter>> WaitersOf(const Scope& scope, const InstanceName& name) {
  return QueueOfName(scope, name.Slot(0)).Waiters();
}

}  // namespace soleguard

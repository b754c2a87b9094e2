// What a Guard holds. The map:
//
//   Verify, Share, Follow, …   one call each, under mutex_, and nothing in it waits for anybody
//   Release, ReleaseClaims     ends inbox and watch first, then publishes "releasing" and frees the
//                              layers in reverse order, and waits for what a server must confirm
//   Looking                    one look at everything: Mend in place, Retake what is gone, Conclude
//   Watch, KeepWatch           the thread that looks whenever the kernel says that something has
//                              changed
//
// look_ is taken before mutex_, and for one look at a time. What is called back (reports, answers)
// is called without either.
#include "guard_core.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <ranges>
#include <span>
#include <utility>

#include <absl/strings/str_cat.h>

#include "conflict_of.h"
#include "soleguard/beat.h"
#include "soleguard/layer.h"
#include "soleguard/options.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

using Clock = std::chrono::steady_clock;

// Whether the holder who left this record ended without releasing. One that was still a candidate
// never ran; one that said releasing ended in order; one that became another program could not say.
// One that lives has lost its claim, or holds another object that its record shares a place with.
bool Died(const HolderRecord& last) {
  return last.state == RecordState::kEstablished && last.instance != last.identity &&
         LivenessOf(last.identity) != Liveness::kAlive;
}

absl::Status NotTheOwner() {
  return absl::FailedPreconditionError(
      "not the owner: the claim belongs to the process that this one was forked from");
}

absl::Status Released() { return absl::FailedPreconditionError("the Guard was released"); }

}  // namespace

std::string_view ToString(Incident::Outcome outcome) {
  switch (outcome) {
    case Incident::Outcome::kRepaired:
      return "repaired";
    case Incident::Outcome::kDegraded:
      return "degraded";
    case Incident::Outcome::kCompromised:
      return "compromised";
  }
  return "compromised";
}

Guard::Core::Core(Setup setup, Arbiter& arbiter)
    : setup_(std::move(setup)),
      own_(arbiter.record().identity),
      reports_(arbiter.reports()),
      token_(arbiter.token().value_or(Token{})),
      record_(arbiter.record()) {
  held_.reserve(reports_.size());  // from here on no claim is lost for want of memory
  for (Arbiter::HeldLayer& held : arbiter.TakeClaims()) {
    held_.push_back({.member = held.member, .claim = std::move(held.claim)});
  }
  try {
    for (const Slot& slot : held_) {
      std::optional<HolderRecord> last = slot.claim->Predecessor();
      if (!last.has_value() || !Died(*last)) continue;
      predecessor_ = std::move(last);
      break;
    }
  } catch (const std::bad_alloc&) {
    (void)ReleaseClaims();  // what the records say refuses others too
    throw;
  }
}

// In the owner, with the mutex held.
absl::Status Guard::Core::CheckHeld() const { return released_ ? Released() : absl::OkStatus(); }

// The mutex, for a call that is the owner's to make while it holds.
absl::StatusOr<std::unique_lock<std::mutex>> Guard::Core::Enter() const {
  if (!IsOwner()) return NotTheOwner();
  std::unique_lock lock(mutex_);
  absl::Status held = CheckHeld();
  if (!held.ok()) return held;
  return lock;
}

absl::Status Guard::Core::Verify() const {
  const auto entered = Enter();
  if (!entered.ok()) return entered.status();
  absl::Status worst;  // a loss before what cannot be told
  for (const Slot& slot : held_) {
    const absl::Status status = slot.claim != nullptr ? slot.claim->Verify() : slot.lost;
    if (worst.ok() || (absl::IsDataLoss(status) && !absl::IsDataLoss(worst))) worst = status;
  }
  return worst;
}

std::optional<BootTime> Guard::Core::valid_until() const {
  if (const auto entered = Enter(); !entered.ok()) return BootTime();
  std::optional<BootTime> earliest;
  for (const Slot& slot : held_) {
    if (!slot.member.index.has_value()) continue;  // a carrier, which the kernel frees
    if (!setup_.policy.layers()[*slot.member.index].kind->leased) continue;
    const BootTime end =
        slot.claim != nullptr ? slot.claim->valid_until().value_or(BootTime()) : BootTime();
    earliest = std::min(earliest.value_or(end), end);
  }
  return earliest;
}

absl::Status Guard::Core::Receive(Answerer answerer) {
  std::shared_ptr<Inbox> inbox;
  {
    const auto entered = Enter();
    if (!entered.ok()) return entered.status();
    if (!record_.takes_messages) {
      return absl::FailedPreconditionError(
          "the record says that no messages are taken: Options::takes_messages");
    }
    // Where this process looks now no sender would find the socket, or take it for the holder's.
    absl::Status here = vantage_.Check(Vantage::kFiles | Vantage::kUser);
    if (!here.ok()) return here;
    inbox = inbox_;
  }
  // Before the new one: it removes its socket. It stays where Release finds it: its answerer may be
  // who calls.
  if (inbox != nullptr) inbox->End();
  absl::StatusOr<std::unique_ptr<Inbox>> opened =
      Inbox::Open(setup_.scope, setup_.name.Slot(record_.slot), std::move(answerer));
  if (!opened.ok()) return opened.status();
  inbox = *std::move(opened);
  const auto entered = Enter();  // another thread may have released it meanwhile
  if (entered.ok()) inbox_.swap(inbox);
  return entered.status();
}

absl::Status Guard::Core::Beat(std::optional<absl::Duration> every) {
  HolderRecord own;
  {
    const auto entered = Enter();
    if (!entered.ok()) return entered.status();
    absl::Status here = vantage_.Check(Vantage::kFiles | Vantage::kUser);
    if (!here.ok()) return here;
    own = record_;
  }
  return WriteBeat(setup_.scope, setup_.name.Slot(own.slot), own, every);
}

ConflictReport Guard::Core::ReportConflict(std::string_view complaint) const {
  OwnClaim own;
  const bool has_claim = [&] {
    const auto entered = Enter();
    if (!entered.ok()) return false;
    own.record = record_;
    for (const Slot& slot : held_) {
      own.layers[std::string(slot.member.layer->text())] =
          slot.claim != nullptr ? slot.claim->Verify() : slot.lost;
    }
    return true;
  }();
  const Options options{
      .scope = setup_.scope, .subject = {.unknown = true}, .profiles = setup_.profiles};
  return ConflictOf(setup_.name.Slot(record_.slot), complaint, setup_.policy, options,
                    has_claim ? &own : nullptr);
}

absl::Status Guard::Core::Release() {
  if (!IsOwner()) return NotTheOwner();
  std::shared_ptr<Inbox> inbox;
  std::shared_ptr<Watching> watching;
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = !std::exchange(released_, true);
    inbox = inbox_;
    watching = watching_;
  }
  const bool in_report = watching != nullptr && watching->IsCaller();
  const bool in_answer = inbox != nullptr && inbox->IsAnswering();
  // At once, and not only by the first one: nothing more is reported after a report's own release.
  if (watching != nullptr) watching->Stop();
  if (in_answer) inbox->End();  // waits for nobody then
  // The race: a report and an answer release it at one time, and each waits for the end of the
  // other. Closed by the second one's not waiting: the first one does, with all that is to be done.
  if (!first && (in_report || in_answer)) return Released();
  // What follows is for the second one too: it may be the destructor, and the first one a report or
  // an answer that goes on with what is destroyed.
  // Without the lock, as the answerer may use the Guard; with the claims, as its socket is removed.
  if (inbox != nullptr) inbox->End();
  const std::vector<Slot> released = first ? ReleaseClaims() : std::vector<Slot>();
  {
    // A look that is going on may have a layer in hand, which it gives back.
    const std::lock_guard lock(look_);
  }
  if (watching != nullptr && !in_report) {
    watching->over.wait(false);
    const std::lock_guard lock(mutex_);
    watching_.reset();
  }
  absl::Status finished = Finish(released);  // before this process may ask for it again
  if (first) setup_.released();
  if (first) NoteRelease();
  // Closing the watch takes milliseconds (fsnotify waits for readers), so it comes last.
  return finished;
}

// A destructor's, too: nothing of it needs memory but what others are told.
std::vector<Guard::Core::Slot> Guard::Core::ReleaseClaims() {
  const std::lock_guard lock(mutex_);
  const bool followed = record_.instance.has_value() && record_.instance != record_.identity;
  bool is_anothers = followed;
  try {
    is_anothers = followed && LivenessOf(*record_.instance) == Liveness::kAlive;
  } catch (const std::bad_alloc&) {
  }
  for (auto* file : {&pid_file_, &info_file_}) {
    if (*file != nullptr && is_anothers) (*file)->Leave();  // they name who has it now
    file->reset();
  }
  std::optional<HolderRecord> copy;
  try {
    copy = record_;
  } catch (const std::bad_alloc&) {
  }
  HolderRecord& record = copy.has_value() ? *copy : record_;
  if (is_anothers) {
    record.identity = *std::exchange(record.instance, std::nullopt);
  } else {
    record.state = RecordState::kReleasing;
  }
  for (const Slot& slot : held_) {
    // Before the kernel's object is free: what the record says refuses others too.
    bool told = false;
    try {
      told = slot.claim != nullptr && slot.claim->Publish(record).ok();
      for (const std::unique_ptr<Claim>& former : slot.former) (void)former->Publish(record);
    } catch (const std::bad_alloc&) {
    }
    try {
      if (!told) slot.member.layer->Disown(record);
    } catch (const std::bad_alloc&) {  // nothing more can be done
    }
  }
  for (auto slot = held_.rbegin(); slot != held_.rend(); ++slot) {
    if (slot->claim != nullptr) slot->claim->Release();
    slot->former.clear();
  }
  return std::exchange(held_, {});
}

// Without the lock, as a server may take its time: all together no more than one may. A
// destructor's, too.
absl::Status Guard::Core::Finish(const std::vector<Slot>& released) {
  const Patience patience(Patience::kMost);
  absl::Status unfinished;
  for (const Slot& slot : released) {
    if (slot.claim == nullptr) continue;
    try {
      const absl::Status finished = slot.claim->Finish();
      if (finished.ok() || !unfinished.ok()) continue;
      unfinished = absl::Status(
          finished.code(),
          absl::StrCat(EscapeBytes(slot.member.layer->text()), ": ", finished.message()));
    } catch (const std::bad_alloc&) {  // it is not known, and there is no memory to say of which
      unfinished.Update(absl::DeadlineExceededError(""));
    }
  }
  return unfinished;
}

absl::StatusOr<std::vector<UniqueFd>> Guard::Core::ShareWithChild(Renewed renewed) {
  const auto entered = Enter();
  if (!entered.ok()) return entered.status();
  std::vector<UniqueFd> shared;
  for (const Slot& slot : held_) {
    if (slot.claim == nullptr) continue;
    absl::StatusOr<std::vector<UniqueFd>> copies = slot.claim->Share();
    if (!copies.ok()) return copies.status();
    for (UniqueFd& copy : *copies) shared.push_back(std::move(copy));
  }
  if (shared.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "no layer of policy ", EscapeBytes(record_.policy), " can be handed on; set hand_on"));
  }
  renewed_ = std::move(renewed);
  return shared;
}

// With the mutex held.
absl::Status Guard::Core::PublishAll() {
  for (const Slot& slot : held_) {
    if (slot.claim == nullptr) continue;
    absl::Status status = slot.claim->Publish(record_);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Guard::Core::Follow(const ProcessIdentity& child,
                                 const std::optional<ProcessIdentity>& guardian) {
  const auto entered = Enter();
  if (!entered.ok()) return entered.status();
  record_.instance = child;
  record_.guardian = guardian;
  absl::Status published = PublishAll();
  return published.ok() ? UpdateSideFiles() : published;
}

absl::Status Guard::Core::WriteSideFiles(const SideFiles& files) {
  const auto entered = Enter();
  if (!entered.ok()) return entered.status();
  const auto open = [](const std::string& path, std::unique_ptr<SideFile>& file) {
    if (path.empty()) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<SideFile>> made = SideFile::At(path);
    if (!made.ok()) return made.status();
    file = *std::move(made);
    return absl::OkStatus();
  };
  absl::Status opened = open(files.pid_file, pid_file_);
  if (opened.ok()) opened = open(files.info_file, info_file_);
  return opened.ok() ? UpdateSideFiles() : opened;
}

// With the mutex held.
absl::Status Guard::Core::UpdateSideFiles() {
  absl::Status written;
  if (pid_file_ != nullptr) {
    const ProcessIdentity instance = record_.running();
    written = pid_file_->Write(absl::StrCat(instance.pid, "\n"));
  }
  if (written.ok() && info_file_ != nullptr) written = info_file_->Write(InfoText(record_));
  return written;
}

absl::Status Guard::Core::KeepOverExec() {
  const auto entered = Enter();
  if (!entered.ok()) return entered.status();
  // From the last one on: those of a server, which are refused, come behind those whose descriptors
  // would be left to the next program all the same.
  for (const Slot& slot : std::views::reverse(held_)) {
    absl::Status status = slot.claim != nullptr ? slot.claim->KeepOverExec() : slot.lost;
    if (!status.ok()) return status;
  }
  // The next program cannot say that it ends: that must not look like a crash.
  record_.instance = record_.identity;
  absl::Status published = PublishAll();
  return published.ok() ? UpdateSideFiles() : published;
}

// One look at every layer: finds, mends, and claims anew what was lost wholly.
class Guard::Core::Looking {
 public:
  Looking(Core& core, Watching* watching)
      : core_(core), watching_(watching), stood_(core.untold_.stood) {}
  // One that throws may have mended what it did not tell: the next one does.
  ~Looking() {
    Untold& untold = core_.untold_;
    for (std::size_t i = 0; i < std::min(found_.size(), untold.lost.size()); ++i) {
      untold.lost[i] = is_over_ ? absl::OkStatus() : found_[i].lost;
    }
    untold.stood = is_over_ || stood_;
  }
  Looking(const Looking&) = delete;
  Looking& operator=(const Looking&) = delete;

  std::vector<Incident> Run() {
    if (!Mend()) return {};
    for (std::size_t i = 0; i < found_.size(); ++i) {
      if (found_[i].gone && !IsToldFirst(i) && !Retake(i)) return {};
    }
    return Conclude();
  }

 private:
  // What was found of the slot with the same number.
  struct Found {
    absl::Status lost;  // OK: nothing, or nothing new
    absl::Status left;
    bool gone = false;    // there is no claim to be mended
    bool is_own = false;  // what refuses a new one is what is left of the old one
    std::optional<Holder> holder = std::nullopt;
  };

  bool IsReleased() const { return core_.released_ || (watching_ != nullptr && watching_->stop); }

  bool IsReleasedNow() const {
    const std::lock_guard lock(core_.mutex_);
    return IsReleased();
  }

  // Everything that can be put right in place, before anything is tried anew: a newcomer may be on
  // its way through the layers, and shall meet as many as possible. False: released.
  bool Mend() {
    const std::lock_guard lock(core_.mutex_);
    if (IsReleased()) return false;
    core_.untold_.lost.resize(core_.held_.size());
    found_.resize(core_.held_.size());
    for (std::size_t i = 0; i < found_.size(); ++i) {
      const Slot& slot = core_.held_[i];
      found_[i].lost = core_.untold_.lost[i];
      if (slot.claim != nullptr) continue;
      found_[i].lost = slot.lost;
      if (slot.told.has_value()) found_[i].left = slot.told->left;
      found_[i].gone = true;
    }
    // The race: one layer is lost after it was looked at, and another before it is: they would not
    // have stood at one time. Closed by looking again until nothing more is found.
    constexpr int kMost = 10;
    for (int i = 0; i < kMost && MendOnce(); ++i) {
    }
    stood_ = stood_ && Excludes();
    return true;
  }

  // Whether anything was found that was not known.
  bool MendOnce() {
    bool any = false;
    for (std::size_t i = 0; i < found_.size(); ++i) {
      Slot& slot = core_.held_[i];
      Found& found = found_[i];
      if (slot.claim == nullptr) continue;
      const Claim::Mended mended = slot.claim->Mend(core_.record_);
      if (mended.lost.ok()) continue;
      any = any || found.lost.ok() || mended.left.ok() || !mended.excludes;
      if (found.lost.ok() || !mended.excludes) found.lost = mended.lost;
      found.left = mended.left;
      if (mended.excludes) continue;
      found.gone = true;
      slot.lost = mended.lost;
      if (mended.may_exclude) {
        KeepAside(slot);
      } else {
        // It excludes nobody. Given up before it is tried anew: what is left of it (a companion
        // socket) would be in the way.
        slot.claim.reset();
      }
    }
    return any;
  }

  // A name that is moved again and again must not use up all descriptors: the oldest goes first,
  // which nobody has found at its place for longest.
  static void KeepAside(Slot& slot) {
    constexpr std::size_t kMost = 8;
    slot.former.reserve(kMost);  // before the claim leaves its place
    if (slot.former.size() >= kMost) slot.former.erase(slot.former.begin());
    slot.former.push_back(std::move(slot.claim));
  }

  // Whether every other start under the policy needs a claim that stands here. An observer's stands
  // for nothing: others may have it too. With the mutex held.
  bool Excludes() const {
    const Policy& policy = core_.setup_.policy;
    std::vector<bool> open(policy.layers().size(), true);
    for (const Slot& slot : core_.held_) {
      if (slot.claim == nullptr || !slot.member.index.has_value()) continue;
      const std::size_t index = *slot.member.index;
      open[index] = policy.layers()[index].kind->observer;
    }
    return !policy.MetBy(open);
  }

  // Whether the watch tells of a loss before it is made good: a server may take its time to answer,
  // and others may have the layer by then. The next look, which follows at once, asks it.
  bool IsToldFirst(std::size_t i) {
    const std::lock_guard lock(core_.mutex_);
    const Slot& slot = core_.held_[i];
    if (watching_ == nullptr || slot.told.has_value() || !slot.member.index.has_value()) {
      return false;
    }
    if (!core_.setup_.policy.layers()[*slot.member.index].kind->remote) return false;
    found_[i].left = absl::UnavailableError("its server is asked for it again");
    return true;
  }

  // The one layer, as a policy. A carrier's text has no parameters.
  Policy PolicyOf(std::size_t i) const {
    const Arbiter::Member& member = core_.held_[i].member;
    if (!member.index.has_value()) return *Policy::Parse(member.layer->text());
    return *Policy::Parse(core_.setup_.policy.layers()[*member.index].ToString());
  }

  // Claims a layer anew, as a start would: whoever has it is waited for as there, before it counts.
  // False: released meanwhile.
  bool Retake(std::size_t i) {
    // The race: a program that closes its descriptors has none any more, and the kernel still has
    // them for the milliseconds that it takes to close the watch (task_work(9) runs the last one
    // first). What refuses then is this process's own lock: it is no other instance's.
    const Clock::time_point begin = Clock::now();
    // What would be claimed from another root directory, namespace or user is not what others meet,
    // or is refused by them: to have it would pass for being alone.
    if (absl::Status here = core_.vantage_.Check(); !here.ok()) {
      found_[i].left = std::move(here);
      return true;
    }
    for (int round = 0;; ++round) {
      std::optional<Arbiter> arbiter = MakeArbiter(i);
      if (!arbiter.has_value() || !Drive(*arbiter, i)) return false;
      if (!found_[i].is_own) return true;
      if (absl::FromChrono(Clock::now() - begin) >= core_.setup_.times.settle) return true;
      Wait({}, absl::Milliseconds(1) * (1 << std::min(round, 4)));
    }
  }

  // nullopt: released meanwhile.
  std::optional<Arbiter> MakeArbiter(std::size_t i) const {
    const std::lock_guard lock(core_.mutex_);
    if (IsReleased()) return std::nullopt;
    HolderRecord candidate = core_.record_;
    candidate.state = RecordState::kCandidate;
    candidate.layers.clear();
    return std::optional<Arbiter>(
        std::in_place, PolicyOf(i),
        std::vector{Arbiter::Member{.layer = core_.held_[i].member.layer, .index = 0}},
        std::move(candidate), core_.setup_.times);
  }

  // False: released meanwhile. Steps without the mutex, because a served filesystem may take its
  // time. The race: it is released between the step that claims and what follows. Closed by asking
  // again with the mutex: then the arbiter gives back what it holds, and Release waits for that.
  bool Drive(Arbiter& arbiter, std::size_t i) {
    const Clock::time_point begin = Clock::now();
    while (!IsReleasedNow()) {
      const Arbiter::Next next = arbiter.Step(absl::FromChrono(Clock::now() - begin));
      if (next.action == Arbiter::Next::Action::kWait) Wait(next.wake, next.at_most);
      if (next.action != Arbiter::Next::Action::kDecided) continue;
      const std::lock_guard lock(core_.mutex_);
      if (IsReleased()) return false;
      Take(i, arbiter);
      return true;
    }
    return false;
  }

  void Wait(std::span<const UniqueFd> wake, absl::Duration at_most) const {
    if (watching_ != nullptr) {
      watching_->objects.WaitFor(wake, at_most);
      return;
    }
    // A Release has no event here. It does not wait for whom this waits for.
    constexpr absl::Duration kSlice = absl::Milliseconds(100);
    for (absl::Duration left = at_most; left > absl::ZeroDuration(); left -= kSlice) {
      if (WaitForAny(wake, std::min(left, kSlice)) || IsReleasedNow()) return;
    }
  }

  // The race: this process is killed between the claim and this. Its record, which is written
  // before, names the instance, and refuses for as long as that lives.
  void HandOn(Claim& claim) const {
    if (!core_.renewed_) return;
    const absl::StatusOr<std::vector<UniqueFd>> shared = claim.Share();
    if (shared.ok() && !shared->empty()) core_.renewed_(*shared);
  }

  // With the mutex held.
  void Take(std::size_t i, Arbiter& arbiter) {
    Found& found = found_[i];
    found.is_own = false;
    switch (arbiter.decision()) {
      case Arbiter::Decision::kUnique: {
        std::unique_ptr<Claim> claim = std::move(arbiter.TakeClaims().front().claim);
        found.left = claim->Publish(core_.record_);
        if (!found.left.ok()) break;
        HandOn(*claim);
        core_.held_[i].claim = std::move(claim);
        break;
      }
      case Arbiter::Decision::kDuplicate: {
        const std::optional<HolderRecord>& record = arbiter.holder().record;
        found.is_own = record.has_value() && record->identity == core_.own_;
        if (found.is_own) {
          found.left = absl::UnavailableError(
              "what this process has lost is still open in a child of it that clone(2) made");
          break;
        }
        found.holder = arbiter.holder();
        found.left = absl::AlreadyExistsError("another instance has it");
        break;
      }
      case Arbiter::Decision::kUndetermined:
        found.left = arbiter.status();
        break;
    }
  }

  std::vector<Incident> Conclude() {
    const std::lock_guard lock(core_.mutex_);
    if (IsReleased()) return {};
    const bool excludes = Excludes();
    std::vector<Incident> incidents;
    std::vector<std::optional<Incident>> all_told;  // noted once nothing can fail any more
    for (std::size_t i = 0; i < found_.size(); ++i) {
      Found& found = found_[i];
      std::optional<Incident>& told = all_told.emplace_back(core_.held_[i].told);
      if (found.lost.ok()) {
        if (!told.has_value()) continue;
        found.lost = told->lost;  // somebody else has put it right
      }
      Incident incident{.layer = std::string(core_.held_[i].member.layer->text()),
                        .lost = found.lost,
                        .outcome = Incident::Outcome::kDegraded,
                        .exclusion_stood = stood_ && (!told.has_value() || told->exclusion_stood),
                        .left = found.left,
                        .holder = found.holder};
      if (incident.left.ok()) {
        incident.outcome = Incident::Outcome::kRepaired;
      } else if (incident.holder.has_value() || (found.gone && !excludes)) {
        incident.outcome = Incident::Outcome::kCompromised;
      }
      const bool names_another =
          incident.holder.has_value() && !(told.has_value() && told->holder.has_value());
      const bool is_known = told.has_value() && told->outcome == incident.outcome &&
                            told->exclusion_stood == incident.exclusion_stood && !names_another;
      if (incident.outcome == Incident::Outcome::kRepaired) {
        told.reset();
      } else {
        told = incident;
      }
      if (!is_known) incidents.push_back(std::move(incident));
    }
    for (std::size_t i = 0; i < all_told.size(); ++i) {
      core_.held_[i].told = std::move(all_told[i]);
    }
    is_over_ = true;
    return incidents;
  }

  Core& core_;
  Watching* const watching_;
  std::vector<Found> found_;
  bool stood_;  // no newcomer could start meanwhile
  bool is_over_ = false;
};

std::vector<Incident> Guard::Core::LookAround(Watching* watching) {
  const std::lock_guard lock(look_);
  return Looking(*this, watching).Run();
}

std::vector<Incident> Guard::Core::Repair() {
  if (!IsOwner()) return {};
  std::vector<Incident> incidents = LookAround(nullptr);
  Note(incidents);
  return incidents;
}

absl::Status Guard::Core::Watch(std::function<void(const Incident&)> report,
                                absl::Duration period) {
  auto watching = std::make_shared<Watching>();
  watching->report = std::move(report);
  watching->period = period;
  {
    const auto entered = Enter();
    if (!entered.ok()) return entered.status();
    if (watching_ != nullptr) return absl::AlreadyExistsError("the Guard is watched already");
    watching_ = watching;
  }
  const auto give_up = [&] {
    watching->End();  // for a Release that waits for it already
    const std::lock_guard lock(mutex_);
    watching_.reset();
  };
  try {
    absl::Status armed = Arm(*watching);
    if (!armed.ok()) {
      armed =
          absl::UnavailableError(absl::StrCat("watched without all events, every ",
                                              absl::FormatDuration(period), ": ", armed.message()));
    }
    absl::Status started = RunInThread([this, watching] {
      watching->thread = std::this_thread::get_id();
      KeepWatch(*watching);
      watching->End();
    });
    if (started.ok()) return armed;
    give_up();
    return started;
  } catch (const std::bad_alloc&) {
    give_up();
    throw;
  }
}

absl::Status Guard::Core::Arm(Watching& watching) {
  Alarm alarm{.slow = watching.objects.slow()};
  absl::Status watched;
  {
    const std::lock_guard lock(mutex_);
    for (const Slot& slot : held_) {
      if (slot.claim != nullptr) watched.Update(slot.claim->Watch(alarm));
    }
  }
  watched.Update(watching.objects.Arm(alarm));
  return watched;
}

bool Guard::Core::IsAnyLost() const {
  const std::lock_guard lock(mutex_);
  return std::any_of(held_.begin(), held_.end(),
                     [](const Slot& slot) { return slot.told.has_value(); });
}

// A process that has left its root directory or its user behind would note it where nobody looks.
bool Guard::Core::MayNote() const { return vantage_.Check(Vantage::kFiles | Vantage::kUser).ok(); }

void Guard::Core::Note(const std::vector<Incident>& incidents) const noexcept {
  if (incidents.empty()) return;
  try {
    if (!MayNote()) return;
    std::unique_lock lock(mutex_);
    const HolderRecord record = record_;
    lock.unlock();
    for (const Incident& incident : incidents) setup_.historian->Noted(record, incident);
  } catch (const std::bad_alloc&) {  // the history has a gap
  }
}

// The claims are given back, and nothing changes the record any more.
void Guard::Core::NoteRelease() const noexcept {
  try {
    if (MayNote()) setup_.historian->Released(record_);
  } catch (const std::bad_alloc&) {  // the history has a gap
  }
}

// False: released, perhaps by one of the reports, and there may be no Guard any more.
bool Guard::Core::Report(const std::vector<Incident>& incidents, const Watching& watching) {
  for (const Incident& incident : incidents) {
    if (watching.stop) return false;
    watching.report(incident);
  }
  return !watching.stop;
}

// The watch's thread.
void Guard::Core::KeepWatch(Watching& watching) {
  // Something that is lost and has no event is looked at more often.
  const absl::Duration while_lost = std::min(watching.period, absl::Seconds(5));
  // Alarms for nothing, such as the Guard's own writes, come one by one. What floods is looked at
  // after 1, 2, 4 … 32 ms: it costs no more than that, and 100 ms are kept.
  constexpr int kMostIdle = 6;
  int idle = 0;
  while (!watching.stop) {
    std::vector<Incident> incidents;
    try {
      (void)Arm(watching);  // what has no event is looked at after the period
      incidents = LookAround(&watching);
    } catch (const std::bad_alloc&) {  // what was found is told by the next look
      watching.objects.WaitFor({}, absl::Milliseconds(100));
      continue;
    }
    Note(incidents);
    if (!Report(incidents, watching)) return;
    // What was mended or claimed anew is watched before it is looked at once more.
    if (!incidents.empty()) continue;
    const Clock::time_point asleep = Clock::now();
    if (!watching.objects.Wait(IsAnyLost() ? while_lost : watching.period)) continue;
    if (Clock::now() - asleep > std::chrono::seconds(1)) idle = 0;
    if (idle > 0) watching.objects.WaitFor({}, absl::Milliseconds(1) * (1 << (idle - 1)));
    idle = std::min(idle + 1, kMostIdle);
  }
}

}  // namespace soleguard

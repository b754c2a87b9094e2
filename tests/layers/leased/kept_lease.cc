#include "layers/leased/kept_lease.h"

#include <new>

#include <absl/strings/str_cat.h>

#include "os/wait.h"
#include "soleguard/watch.h"

namespace soleguard {

absl::Status KeptLease::Keep(const std::shared_ptr<KeptLease>& kept, BootTime sent,
                             absl::Duration time) {
  absl::Status made = os::KeepPipe(kept->loss_, kept->stands_);
  if (!made.ok()) return made;
  kept->time_ = time;
  kept->asked_ = sent;
  kept->lease_.Renew(sent, time);
  return RunInThread([kept] { kept->Run(); });
}

void KeptLease::Stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  stop_.notify_all();
}

void KeptLease::Run() {
  while (!IsStoppedBeforeTheNext() && lease_.Check().ok()) {
    asked_ = BootTime::Now();
    try {
      Renew();
    } catch (const std::bad_alloc&) {  // the next one may have it
    }
  }
  stands_.Close();
}

bool KeptLease::IsStoppedBeforeTheNext() {
  const absl::Duration left = (asked_ + time_ / 3).Left();
  std::unique_lock lock(mutex_);
  return stop_.wait_for(lock, absl::ToChronoNanoseconds(left), [this] { return stopped_; });
}

void KeptLease::Renew() {
  Exchange exchange;
  if (!exchange.Begin(server_, request_).ok()) return;
  const absl::StatusOr<LeaseAnswer> answer = exchange.Await(time_ / 3);
  if (!answer.ok()) return;
  if (answer->word == "ok") lease_.Renew(asked_, time_);
  if (answer->word == "gone") {
    lease_.Lose(absl::NotFoundError(absl::StrCat(server_.called, " has ended its lease")));
  }
}

}  // namespace soleguard

#include "layers/leased/kept_lease.h"

#include <new>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/wait.h"
#include "soleguard/watch.h"

namespace soleguard {

absl::Status KeptLease::Keep(const std::shared_ptr<KeptLease>& kept,
                             std::shared_ptr<Exchange> exchange, BootTime sent,
                             absl::Duration time) {
  absl::Status made = os::KeepPipe(kept->loss_, kept->stands_);
  if (!made.ok()) return made;
  kept->exchange_ = std::move(exchange);
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
      if (Renew()) continue;
    } catch (const std::bad_alloc&) {  // the next one may have it
    }
    // What is answered later must not be taken for the answer to the next request.
    exchange_->Close();
  }
  stands_.Close();
}

bool KeptLease::IsStoppedBeforeTheNext() {
  const absl::Duration left = (asked_ + time_ / 3).Left();
  std::unique_lock lock(mutex_);
  return stop_.wait_for(lock, absl::ToChronoNanoseconds(left), [this] { return stopped_; });
}

bool KeptLease::Renew() {
  if (!exchange_->Begin(server_, request_).ok()) return false;
  const absl::StatusOr<LeaseAnswer> answer = exchange_->Await(time_ / 3);
  if (!answer.ok()) return false;
  if (answer->word == "ok") lease_.Renew(asked_, time_);
  if (answer->word == "gone") {
    lease_.Lose(absl::NotFoundError(absl::StrCat(server_.called, " has ended its lease")));
  }
  return true;
}

}  // namespace soleguard

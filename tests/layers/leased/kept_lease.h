// A lease, kept alive from its grant on.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "kit/lease.h"
#include "layers/leased/exchange.h"
#include "os/kept_fd.h"
#include "soleguard/boot_time.h"

namespace soleguard {

// By a thread, which asks for it anew after each third of its time, until Stop or until it is lost.
// Two of these requests may be lost before the lease is. The thread may be there for a moment
// longer than the claim, and so both have a share of this. In a forked child there is no thread,
// and nothing but the destructor may be called.
class KeptLease {
 public:
  KeptLease(LeaseServer server, std::string id)
      : server_(std::move(server)), id_(std::move(id)), request_(RenewRequest(id_)) {}

  // Begins. It was granted for `time`, as answer to the last request of `exchange`, which was sent
  // at `sent`.
  static absl::Status Keep(const std::shared_ptr<KeptLease>& kept,
                           std::shared_ptr<Exchange> exchange, BootTime sent, absl::Duration time);
  // Does not wait for the thread.
  void Stop();

  const LeaseServer& server() const { return server_; }
  const std::string& id() const { return id_; }
  const Lease& lease() const { return lease_; }
  // When the server frees it at the latest.
  BootTime end() const { return lease_.valid_until() + time_ / Lease::kMargin; }
  // Hangs up when the thread ends, which it does when the lease is lost.
  const os::KeptFd& loss() const { return loss_; }

 private:
  void Run();
  bool IsStoppedBeforeTheNext();
  bool Renew();  // false: no answer

  const LeaseServer server_;
  const std::string id_;
  const std::string request_;
  // One connection for all renewals: each new one would be at the number of a standard descriptor
  // for a moment, in a program that has closed these (AboveStandard).
  std::shared_ptr<Exchange> exchange_;
  absl::Duration time_;
  BootTime asked_;  // the last time; the thread's
  Lease lease_;
  os::KeptFd loss_;
  os::KeptFd stands_;  // its other end
  std::mutex mutex_;   // of what follows
  std::condition_variable stop_;
  bool stopped_ = false;
};

}  // namespace soleguard

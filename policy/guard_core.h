// What a Guard holds, and what watches over it. Private to policy/.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "historian.h"
#include "soleguard/arbiter.h"
#include "soleguard/boot_time.h"
#include "soleguard/fd.h"
#include "soleguard/guard.h"
#include "soleguard/incident.h"
#include "soleguard/layer.h"
#include "soleguard/message.h"
#include "soleguard/name.h"
#include "soleguard/policy.h"
#include "soleguard/process_identity.h"
#include "soleguard/profile.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"
#include "soleguard/side_file.h"
#include "soleguard/vantage.h"
#include "soleguard/watch.h"

namespace soleguard {

// Thread-safe. A forked child's copy does nothing and takes no lock: another thread of the parent
// may have had it when it forked.
class Guard::Core {
 public:
  struct Setup {
    InstanceName name;
    Scope scope;
    Policy policy;
    ArbiterTimes times;
    Profiles profiles;
    std::shared_ptr<const void> layers;  // keeps what the arbiter's members point to
    std::shared_ptr<const Historian> historian;
    std::function<void()> released;  // called by Release, in the process that acquired
  };
  Core(Setup setup, Arbiter& arbiter);
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;
  ~Core() { (void)Release(); }

  const std::string& name() const { return setup_.name.text(); }
  const Scope& scope() const { return setup_.scope; }
  const HolderRecord& record() const { return record_; }
  const std::vector<LayerReport>& reports() const { return reports_; }
  const Token& token() const { return token_; }
  const std::optional<HolderRecord>& predecessor() const { return predecessor_; }

  absl::Status Verify() const;
  ConflictReport ReportConflict(std::string_view complaint) const;
  std::vector<Incident> Repair();
  absl::Status Watch(std::function<void(const Incident&)> report, absl::Duration period);
  absl::Status Receive(Answerer answerer);
  absl::Status Beat(std::optional<absl::Duration> every);
  std::optional<BootTime> valid_until() const;
  // OK: others can have the name.
  absl::Status Release();
  absl::StatusOr<std::vector<UniqueFd>> ShareWithChild(Renewed renewed);
  absl::Status Follow(const ProcessIdentity& child, const std::optional<ProcessIdentity>& guardian);
  absl::Status WriteSideFiles(const SideFiles& files);
  absl::Status KeepOverExec();

 private:
  // A layer that was held, and what is known of a loss that is not made good.
  struct Slot {
    Arbiter::Member member;
    std::unique_ptr<Claim> claim;
    absl::Status lost = {};  // without a claim: how it was lost
    // Of earlier ones, which somebody may meet whom the claim does not keep out.
    std::vector<std::unique_ptr<Claim>> former = {};
    std::optional<Incident> told = {};  // last, while something is missing
  };
  // One watch, and its thread's part of it: it may end after the Guard does.
  struct Watching {
    std::function<void(const Incident&)> report;
    absl::Duration period;
    ObjectWatch objects;
    std::atomic<bool> stop = false;
    std::atomic<bool> over = false;
    std::atomic<std::thread::id> thread = {};

    void Stop() {
      stop = true;
      objects.Interrupt();
    }
    void End() {
      over = true;
      over.notify_all();
    }
    // Whether it is the thread that calls. Another one can have its id once it is over.
    bool IsCaller() const { return thread.load() == std::this_thread::get_id() && !over; }
  };
  class Looking;  // one look at everything
  // What a look that threw, for want of memory, has found and mended and not told.
  struct Untold {
    std::vector<absl::Status> lost;  // of each slot
    bool stood = true;
  };

  bool IsOwner() const { return vantage_.IsOfCaller(); }
  absl::Status CheckHeld() const;
  absl::StatusOr<std::unique_lock<std::mutex>> Enter() const;
  std::vector<Slot> ReleaseClaims();
  static absl::Status Finish(const std::vector<Slot>& released);
  absl::Status PublishAll();
  bool MayNote() const;
  void Note(const std::vector<Incident>& incidents) const noexcept;
  void NoteRelease() const noexcept;
  absl::Status UpdateSideFiles();
  absl::Status Arm(Watching& watching);
  std::vector<Incident> LookAround(Watching* watching);
  void KeepWatch(Watching& watching);
  static bool Report(const std::vector<Incident>& incidents, const Watching& watching);
  bool IsAnyLost() const;

  const Setup setup_;
  const ProcessIdentity own_;
  const Vantage vantage_{Vantage::kAll};
  const std::vector<LayerReport> reports_;
  const Token token_;
  std::optional<HolderRecord> predecessor_;

  std::mutex look_;           // of one look at a time; taken before mutex_
  Untold untold_;             // under look_
  mutable std::mutex mutex_;  // of what follows; never held over a wait
  HolderRecord record_;
  bool released_ = false;  // or about to be
  std::vector<Slot> held_;
  Renewed renewed_;                     // or none
  std::shared_ptr<Watching> watching_;  // or none
  std::shared_ptr<Inbox> inbox_;        // or none
  std::unique_ptr<SideFile> pid_file_;  // or none
  std::unique_ptr<SideFile> info_file_;
};

}  // namespace soleguard

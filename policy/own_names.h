// The names that this process holds or is arbitrating. Private to policy/.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "soleguard/process_identity.h"
#include "soleguard/record.h"

namespace soleguard {

// Some mechanisms (a System V semaphore) belong to the process and would give it the same name
// twice.
class OwnNames {
 public:
  // One per process, never destroyed: a Guard with static storage duration may outlive it
  // otherwise. A forked child gets a new one: what it inherited is its parent's, its mutex perhaps
  // locked for ever.
  static OwnNames& Of(const ProcessIdentity& process) {
    static std::atomic<OwnNames*> current{nullptr};
    OwnNames* found = current.load();
    while (found == nullptr || found->process_ != process) {
      auto fresh = std::make_unique<OwnNames>(process, found);
      if (current.compare_exchange_strong(found, fresh.get())) return *fresh.release();
    }
    return *found;
  }

  OwnNames(ProcessIdentity process, const OwnNames* inherited)
      : process_(std::move(process)), inherited_(inherited) {}

  using Key = std::pair<std::string, std::string>;  // scope directory, name

  // Reserves `key`; waits until `end` or `stop` while another thread arbitrates it. Gives the
  // record of the Guard that has it, if one has.
  std::optional<HolderRecord> Reserve(const Key& key, std::chrono::steady_clock::time_point end,
                                      const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, stop, end, [&] {
      const auto found = names_.find(key);
      return found == names_.end() || found->second.state != RecordState::kCandidate;
    });
    const auto [found, reserved] = names_.try_emplace(key, HolderRecord{});
    return reserved ? std::nullopt : std::optional(found->second);
  }

  void Set(const Key& key, const HolderRecord& record) {
    const std::lock_guard lock(mutex_);
    names_[key] = record;
    changed_.notify_all();
  }

  void Forget(const Key& key) {
    const std::lock_guard lock(mutex_);
    names_.erase(key);
    changed_.notify_all();
  }

 private:
  const ProcessIdentity process_;
  [[maybe_unused]] const OwnNames* const inherited_;  // a leak checker in a child would miss it
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<Key, HolderRecord> names_;
};

// Gives the reservation back unless the Guard takes it over. There before the name is reserved, so
// that it is given back whatever throws then.
class Reservation {
 public:
  Reservation(OwnNames& names, OwnNames::Key key) : names_(names), key_(std::move(key)) {}
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation() {
    if (made_) names_.Forget(key_);
  }
  // As OwnNames::Reserve.
  std::optional<HolderRecord> Make(std::chrono::steady_clock::time_point end,
                                   const std::stop_token& stop) {
    std::optional<HolderRecord> record = names_.Reserve(key_, end, stop);
    made_ = !record.has_value();
    return record;
  }
  void Keep(const HolderRecord& record) {
    names_.Set(key_, record);
    made_ = false;
  }

 private:
  OwnNames& names_;
  const OwnNames::Key key_;
  bool made_ = false;
};

}  // namespace soleguard

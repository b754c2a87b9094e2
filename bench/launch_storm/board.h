// The board: shared memory between the referee and all processes of one round.
//
// Everything in it is an atomic or is written before the barrier opens. A process may be killed
// between any two of its stores, so no lock is in it, and each slot has one writer at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "options.h"
#include "system_linux.h"

namespace launch_storm {

inline constexpr char kInstanceName[] = "storm";

// A word that processes wait for and that changes once, from closed to open.
class Gate {
 public:
  void Open();
  bool IsOpen() const { return open_.load() != 0; }
  // False: it was not opened until `deadline`.
  bool Await(std::int64_t deadline) const;

 private:
  std::atomic<std::uint32_t> open_{0};
};

// Counts what may interest the referee, who sleeps on it.
class Bell {
 public:
  void Ring();  // async-signal-safe
  std::uint32_t count() const { return count_.load(); }
  // Until it has rung since `count` was read, or `deadline`.
  void Wait(std::uint32_t count, std::int64_t deadline) const {
    WaitWhile(count_, count, deadline);
  }

 private:
  std::atomic<std::uint32_t> count_{0};
};

enum class Stage : std::uint32_t {
  kStarted,
  kAsked,         // behind the barrier
  kRefused,       // Duplicate; `cited` says of whom
  kUndetermined,  // `note` says why
  kRunning,       // believes that it is the only instance
  kEnded,         // has run, and is about to give its claim back
};

// Of one launch. Times are as of Now, 0: has not happened.
struct alignas(64) Slot {
  std::atomic<Stage> stage{Stage::kStarted};
  std::atomic<std::int64_t> asked{0};
  std::atomic<std::int64_t> verdict{0};
  std::atomic<std::int64_t> begin{0};        // of running
  std::atomic<std::int64_t> end{0};          // of running
  std::atomic<std::int64_t> released{0};     // the claim was given back before this moment
  std::atomic<std::int64_t> cited{0};        // pid; 0: nobody
  std::atomic<std::uint32_t> overlapped{0};  // 1 + the slot that was still running at `begin`

  // Written before `stage` becomes kRunning.
  Stamp instance;  // the process that runs
  Stamp parent;    // of it: under guardcheck the guardian
  // Written before `stage` becomes kRefused or kUndetermined, or before the process ends.
  char note[256] = {};
};

struct Head {
  Mode mode = Mode::kLibrary;
  std::uint32_t launches = 0;
  std::uint32_t first_wave = 0;  // launches that the first gate lets go; the second one the rest
  std::int64_t referee = 0;      // pid
  std::int64_t deadline = 0;     // nobody waits longer, even if the referee is gone
  std::int64_t hold = 0;         // ns; negative: until `winners_end` opens
  bool linger = false;
  bool standby = false;
  bool verify = false;  // winners call Guard::Verify before they release

  Gate waves[2];
  Gate winners_end;
  Gate everybody_ends;
  Bell bell;
  std::atomic<std::uint32_t> arrived{0};   // at the barrier
  std::atomic<std::uint32_t> verdicts{0};  // that their own processes have noted
  std::atomic<std::uint32_t> winners{0};

  char directory[512] = {};  // of the round
  char guardcheck[512] = {};
  char policy[4097] = {};
};

template <std::size_t kSize>
void SetText(char (&field)[kSize], const std::string& text) {
  field[text.copy(field, kSize - 1)] = '\0';
}

class Board {
 public:
  // Creates it under this name, and removes the name at the end. Throws.
  static Board Create(const std::string& name, std::uint32_t launches);
  static Board Open(const std::string& name);
  Board(Board&&) noexcept;
  Board& operator=(Board&&) = delete;
  ~Board();

  const std::string& name() const { return name_; }
  Head& head() { return *head_; }
  std::span<Slot> slots() { return slots_; }
  // Each launch has a wave.
  std::uint32_t WaveOf(std::uint32_t slot) const { return slot < head_->first_wave ? 0 : 1; }
  // A process has noted its verdict in its slot.
  void CountVerdict();

 private:
  class Memory;
  Board(std::string name, std::unique_ptr<Memory> memory, bool owner);

  std::string name_;
  std::unique_ptr<Memory> memory_;
  bool owner_;
  Head* head_ = nullptr;
  std::span<Slot> slots_;
};

}  // namespace launch_storm

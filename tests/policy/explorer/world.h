// A world of a few processes and simulated layers, small enough to be copied, compared and hashed.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "policy/explorer/behaviour.h"
#include "policy/explorer/program.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"

namespace soleguard::explorer {

// What the arbiter is told wrongly, or what a process does wrongly, to see that it is noticed.
enum class Mutation {
  kNone,
  kNoVeto,                  // an established holder's layer is skipped, as if it could not tell
  kOtherOrder,              // the last process tries the layers in reverse
  kCandidateIsEstablished,  // no settling, case by case
  kReleasingIsEstablished,
  kDyingIsEstablished,
  kUnknownIsEstablished,
  kExpiredIsSkipped,  // an expired wait, as if the layer could not tell
  kNoRollback,        // the first layer is not freed when a start gives back
  kSilentRelease,     // releasing is not published before layers are freed
  kFreedIsFree,       // a freed claim counts although its process is not gone
  kNoRegistration,
  // Of the queue.
  kNewcomerDoesNotAsk,   // before it decides
  kNoGateWhileWaiting,   // nor when it waits for a layer
  kLeavesBeforeItsTurn,  // a standby's place ends before its arbitration, not with its start
  kJoinsAnew,            // each time it asks
  kKilledKeepsPlace,
  kNoReservation,          // a replacer signals without a place in line
  kStandbyDoesNotGiveWay,  // to a replacer
  // Of leased layers.
  kFreedBeforeLapse,      // the server gives the layer away, and its holder does not know yet
  kLapsingIsEstablished,  // a holder that is gone is not waited for
  kLateIsUnavailable,     // a server that takes its time, as if it could not be reached
  kCancelIsForgotten,     // what a cancelled try is granted is not given back
};
std::string_view ToString(Mutation mutation);

// What is broken, when it is.
enum class Invariant {
  kOneRuns,       // two run, not predicted: a layer is one object to both, or one of them may not
  kEachFound,     // two cannot be kept apart by their layers, and still never run at once
  kJustRefusal,   // Duplicate cites somebody who does not have the name
  kNoLostStart,   // nobody ever ran, though somebody could and no wait expired
  kDetermined,    // Undetermined, though the policy can be met and no wait expired
  kAllHeld,       // decided without holding all layers that are available
  kNothingLeft,   // ended, and has a layer still
  kProgress,      // somebody waits for ever
  kFirstCome,     // a standby is established before one that has joined earlier and could be
  kLineFirst,     // a newcomer is, before one that stood in line when it took its last layer
  kReplacerNext,  // somebody else gets the name of a holder that a replacer has ended
};
inline constexpr int kInvariants = 11;
std::string_view ToString(Invariant invariant);

// A configuration: who shares what, and what may happen. Layers are numbered in canonical order.
struct Configuration {
  // The policy over the layers file(path=/a), file(path=/b), …, the last one perhaps scan.
  std::string policy;
  int layers = 0;
  bool observer = false;  // the last layer is scan-like
  int processes = 2;
  // The object that each layer is to each process. Equal numbers: the same kernel object. Those of
  // layer i are 3 * i and the two behind it.
  static constexpr int kUnavailable = -1;
  std::array<std::array<std::int8_t, kMaxLayers>, kMaxProcesses> object{};

  bool starts = false;    // each process runs Start, not only the Arbiter
  Set standbys = 0;       // of them
  Set replacers = 0;      // of the others
  int cancels = 0;        // starts that are cancelled
  bool bypasser = false;  // one process more, which never asks
  bool releases = false;  // each holder may release
  bool exits = false;     // each process whose start has ended may exit
  bool restarts = false;  // whoever is gone may come back, as another process
  int kills = 0;          // SIGKILLs, at any step
  int expiries = 0;       // waits that expire
  // Of the exclusive layers, those that a server decides: it answers later, and frees a layer by
  // time and not because its holder is gone. A holder may lose its lease while it holds, which it
  // knows before the server frees the layer. (Of worlds that do not hurry. A lease outlasts what a
  // killed process may still do: where it does not, only a fencing token helps.)
  Set leased = 0;
  int lapses = 0;  // leases that run out while their holder holds
  // A layer that is unavailable to a process is so because of a stranger, who may be one of ours
  // for all that can be seen at first. (Of worlds that do not hurry.)
  bool strangers = false;
  // A try of a taken layer fails at one moment and reads the holder's record at a later one.
  bool split_reads = true;
  // Whether a killed process can still act when its first layers are already free (a robust mutex
  // is freed so). Then a layer counts as free only once whoever its record names is gone. Otherwise
  // the kernel frees layers when all of the process has stopped, as flock(2) and SEM_UNDO do.
  bool acts_while_freed = true;
  // Steps that nobody else can see are taken at once: see World::Hurry.
  bool hurry = true;
  Mutation mutation = Mutation::kNone;

  int exclusive() const { return observer ? layers - 1 : layers; }
  bool IsExclusive(int layer) const { return layer < exclusive(); }
  bool IsLeased(int layer) const { return Has(leased, layer); }
  // As many processes as sets, and of `layers` those that work for each; each is one object to all.
  void SetAvailable(const std::vector<Set>& available);
  bool IsAvailable(int process, int layer) const;
  Set AvailableTo(int process) const;
  // Whether some exclusive layer is one object to both.
  bool Share(int a, int b) const;
  // Whether the object is one to this process alone.
  bool IsPrivate(int process, int layer) const;
  // Whether an observing process can read what `other` publishes in the layer: the object is the
  // same to it, or it can read what it cannot claim. Another directory or namespace it cannot.
  bool CanRead(int process, int other, int layer) const;
  std::string ToString() const;
};

// A policy that is met by a set of layers when its bit in `table` is set; monotone and no constant.
// Every layer is named, whether the function depends on it or not.
std::string PolicyText(std::uint16_t table, int layers, bool observer);
// All monotone functions of so many layers but the constants, as such tables.
std::vector<std::uint16_t> MonotoneFunctions(int layers);

// One pair of processes: a bit in a set of pairs.
constexpr int PairIndex(int a, int b) { return a < b ? b * (b - 1) / 2 + a : a * (a - 1) / 2 + b; }

struct ProcessState {
  enum class Phase : std::uint8_t {
    kAbsent,
    kArrived,  // in the process table, not registered, young
    kOverdue,  // the same, older than the settle time
    kStarted,  // the program runs
    kDying,    // killed
    kGone,
  };
  Behaviour::NodeId node = 0;
  Behaviour::EdgeId edge = 0;  // what is being carried out, of which
  std::uint8_t done = 0;       // so many effects have been
  Phase phase = Phase::kAbsent;
  enum Flag : std::uint8_t {
    kRegistered = 1,
    kProbed = 2,     // has found the layer taken, and not read the record yet
    kActs = 4,       // dying: it ran, and may still
    kExpired = 8,    // was decided by a wait that expired, or refused for a late registration
    kBypassed = 16,  // was refused because of a bypasser
    kKilled = 32,
    kCancelled = 64,
  };
  std::uint8_t flags = 0;
  std::uint8_t place = 0;   // in line, from 1; 0: none
  std::uint8_t joined = 0;  // when it joined first, from 1; 0: has not, or its start has ended
  std::uint8_t saw = 0;     // Set: who stood in line when it took its last layer, and still does
  // Set: who could have the name of the holder that it has ended. Until its own start has ended.
  std::uint16_t replaces = 0;
  // Of leased layers, each a Set:
  std::uint8_t asked = 0;      // whose server was asked, and answers or has
  std::uint8_t answered = 0;   // of these, whose server has decided
  std::uint8_t cancelled = 0;  // asked, not wanted any more, and not decided yet
  std::uint8_t unwanted = 0;   // granted all the same
  std::uint8_t lost = 0;       // held, and the lease has run out
  std::uint8_t unused = 0;     // no padding
};

// All that matters of a moment. Plain bytes, no padding.
struct State {
  static constexpr int kMaxObjects = 12;
  std::array<ProcessState, kMaxProcesses> process{};
  // By object. Owner: process + 1, or 0, or kLeft: leased, and whoever had it is gone. Record:
  // kNoRecord, kStale (of a process that is gone), or of a process.
  static constexpr std::uint8_t kNoRecord = 0;
  static constexpr std::uint8_t kStale = 255;
  static constexpr std::uint8_t kLeft = 255;
  std::array<std::uint8_t, kMaxObjects> owner{};
  std::array<std::uint8_t, kMaxObjects> record{};
  std::uint8_t kills = 0;
  std::uint8_t expiries = 0;
  std::uint8_t ran = 0;  // somebody has been the only instance
  std::uint8_t cancels = 0;
  std::uint8_t lapses = 0;
  std::uint8_t unused = 0;  // no padding

  friend bool operator==(const State& a, const State& b) {
    return std::memcmp(&a, &b, sizeof(State)) == 0;
  }
};
static_assert(std::has_unique_object_representations_v<State>);

// Something that can happen next.
struct Move {
  enum class Kind : std::uint8_t {
    kArrive,     // a process appears in the process table
    kRegister,   // and says that it is about to ask
    kAge,        // or does not in time
    kStep,       // the program's next step, or its next effect
    kExpire,     // the wait of the program is over
    kCancel,     // its start is
    kLosePlace,  // a dying process is out of the line
    kRelease,
    kKill,
    kFree,        // a dying process loses `object`
    kAnswer,      // the server of `object`, a layer, has decided what it was asked
    kGiveBack,    // what was granted in vain
    kLapse,       // the lease of `object`, a layer, has run out, and its holder knows
    kTake,        // the server takes back the layer `object` of that holder
    kExpireLeft,  // `object` is freed, whose holder is gone
    kUnregister,  // a dying process loses its registration
    kGo,          // and is gone
    kExit,
    kRestart,
  };
  Kind kind = Kind::kStep;
  std::uint8_t process = 0;
  std::uint8_t object = 0;
  // It may never happen: nobody may rely on it.
  bool optional = false;
  // It changes nothing: a wait that goes on.
  bool idle = false;
};
std::string ToString(const Move& move);

class World {
 public:
  // What is told to a program, for who wants to follow.
  struct Told {
    int process;
    Behaviour::NodeId from;
    Answer answer;
    Behaviour::EdgeId edge;
  };
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnTold(const Told& told) = 0;
    virtual void OnNewProcess(int process) = 0;
  };

  // `behaviours`: one per process. Both outlive the world.
  World(const Configuration& configuration, const Policy& policy,
        std::vector<Behaviour*> behaviours);

  State Start();
  // Appends to `moves` what can happen.
  void Moves(const State& state, std::vector<Move>& moves) const;
  // Makes it happen. What it breaks is added to broken().
  void Apply(State& state, const Move& move);
  // To be called of a state in which only optional or idle moves are left.
  void CheckEnd(const State& state);

  bool Runs(const State& state, int process) const;
  // Processes that run, counting a dying one that may still act.
  Set Running(const State& state) const;
  // The start has ended: refused, undetermined or released, and everything is given back.
  bool Ended(const State& state, int process) const;
  // Checks who runs at once, and notes that somebody did.
  void CheckRunning(State& state);
  // The policy can be met with the layers that are available to it.
  bool CanRun(int process) const { return Has(able_, process); }

  // Bits of Invariant.
  unsigned broken() const { return broken_; }
  // Pairs that were seen to run at once.
  unsigned doubles() const { return doubles_; }
  // Pairs that the analysis says can run at once.
  unsigned PredictedDoubles() const;
  // Ends in which nobody ran because of an expired wait, or of a bypasser.
  std::size_t lost_by_expiry() const { return lost_by_expiry_; }
  std::size_t lost_by_bypasser() const { return lost_by_bypasser_; }
  std::size_t lost_by_cancel() const { return lost_by_cancel_; }
  // Ends in which a newcomer waits for the head of the line, which waits for a holder that the
  // newcomer does not see: until its time is over.
  std::size_t behind_a_waiting_head() const { return behind_a_waiting_head_; }

  void set_listener(Listener* listener) { listener_ = listener; }
  std::string Describe(const State& state) const;

 private:
  using Phase = ProcessState::Phase;

  Behaviour& behaviour(int process) const {
    return *behaviours_[static_cast<std::size_t>(process)];
  }
  const Question& QuestionOf(const ProcessState& process, int p) const {
    return behaviour(p).node(process.node).question;
  }
  int Bypasser() const { return configuration_.bypasser ? configuration_.processes : -1; }
  int InTable() const { return configuration_.processes + (configuration_.bypasser ? 1 : 0); }

  // What a try shows. `probed`: it has failed already, and only reads.
  Answer Honest(const State& state, int p, int layer, bool probed) const;
  Answer HonestTo(const State& state, int p, const Question& question, bool probed) const;
  Answer ByRecord(const State& state, std::uint8_t record) const;
  Answer Scan(const State& state, int p) const;
  Answer Mutate(Answer answer) const;
  // Whether the next try of p fails at once, and reads later.
  bool Fails(const State& state, int p, int layer) const;
  std::uint8_t& Owner(State& state, int p, int layer) const {
    return state.owner[static_cast<std::size_t>(
        configuration_.object[static_cast<std::size_t>(p)][static_cast<std::size_t>(layer)])];
  }
  std::uint8_t Owner(const State& state, int p, int layer) const {
    return state.owner[static_cast<std::size_t>(
        configuration_.object[static_cast<std::size_t>(p)][static_cast<std::size_t>(layer)])];
  }
  void LeaseMoves(const State& state, int p, std::vector<Move>& moves) const;
  void ApplyToLease(State& state, const Move& move);
  void TryLeased(State& state, int p, const Question& question);
  void Grant(State& state, int p, int layer);
  bool HasLeftover(const State& state, int p) const;
  void Tell(State& state, int p, const Answer& answer);
  void CarryOut(State& state, int p);
  void Hurry(State& state, int p);
  bool HasTheName(const State& state, int p) const;
  void CheckDecision(const State& state, int p, const Answer& answer);
  // Of a Start.
  bool IsStandby(int p) const { return Has(configuration_.standbys, p); }
  bool IsReplacer(int p) const { return Has(configuration_.replacers, p); }
  bool HasPlace(int p) const { return IsStandby(p) || IsReplacer(p); }
  void Kill(State& state, int p);
  Answer Reply(const State& state, int p, Question::Kind kind, int layer, bool probed) const;
  bool IsIdle(const State& state, int p, const Question& question) const;
  void StartMoves(const State& state, int p, std::vector<Move>& moves) const;
  Answer MutateGate(const Answer& answer, int p, Gate gate) const;
  void Join(State& state, int p) const;
  void Leave(State& state, int p) const;
  void EndStart(State& state, int p);
  void CheckStart(State& state, int p);
  void MakeStale(State& state, int p) const;
  void Break(Invariant invariant) { broken_ |= 1U << static_cast<unsigned>(invariant); }

  const Configuration configuration_;
  const std::vector<Behaviour*> behaviours_;
  Set able_ = 0;
  std::array<Set, kMaxProcesses> available_{};
  unsigned sharing_ = 0;                     // pairs
  std::array<Set, kMaxProcesses> unseen_{};  // layers: what it does there, no other process sees
  unsigned broken_ = 0;
  unsigned doubles_ = 0;
  std::size_t lost_by_expiry_ = 0;
  std::size_t lost_by_bypasser_ = 0;
  std::size_t lost_by_cancel_ = 0;
  std::size_t behind_a_waiting_head_ = 0;
  Listener* listener_ = nullptr;
};

}  // namespace soleguard::explorer

// One process's side of the protocol, as the explorer sees it: a machine that asks one question at
// a time and, when it is told the answer, has effects on the world.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "soleguard/arbiter.h"
#include "soleguard/event.h"
#include "soleguard/layer.h"
#include "soleguard/record.h"

namespace soleguard::explorer {

inline constexpr int kMaxLayers = 4;
inline constexpr int kMaxProcesses = 6;

// A set of processes, or of layers: one bit each.
using Set = std::uint8_t;
constexpr Set Bit(int i) { return static_cast<Set>(1U << static_cast<unsigned>(i)); }
constexpr bool Has(unsigned set, int i) { return (set >> static_cast<unsigned>(i) & 1U) != 0; }

// What the world says to a program.
struct Answer {
  enum class Kind : std::uint8_t {
    kGoOn,         // nothing to say: decide now, or release
    kHeld,         // the layer is claimed
    kUnavailable,  // the layer cannot tell
    kContested,    // somebody has it
    kExpired,      // still so, and the time to wait for it is over
    kAhead,        // somebody goes first
    kNobodyAhead,
    kCancelled,  // the start ends now
    kUnsettled,  // perhaps nobody has the layer: a stranger is there
    kSettled,    // still so, and one of ours would have said what it is
    kPending,    // the layer's server was asked
    kNoAnswer,   // and has not answered in time
  };
  static constexpr int kNobody = -1;

  Kind kind = Kind::kGoOn;
  Standing standing = Standing::kUnknown;
  int process = kNobody;  // who is cited

  static constexpr int kStandings = 7;
  static constexpr int kCodes = 12 * kStandings * 8;
  // Different for different answers, below kCodes.
  int code() const {
    return (static_cast<int>(kind) * kStandings + static_cast<int>(standing)) * 8 + process + 1;
  }
  friend bool operator==(const Answer&, const Answer&) = default;
};
std::string ToString(const Answer& answer);

// When a Start asks whom it has to let go first.
enum class Gate { kTurn, kBeforeDecision, kWhileWaiting };

enum class QuestionKind : std::uint8_t {
  kTry,     // can I have `layer`?
  kDecide,  // nothing: all layers have answered
  kHold,    // it is the only instance, until it is told to go on and release
  kEnd,     // nothing more
  kJoin,    // a place in line
  kAhead,   // who goes first? `layer`: which Gate
  kLook,    // has an established holder `layer`?
  kSignal,  // nothing: process `layer` is told to end
};

// A question that had its answer.
struct Asked {
  QuestionKind question;
  int layer;
  Answer answer;
  friend bool operator==(const Asked&, const Asked&) = default;
};

// What a program asks before it goes on.
struct Question {
  using Kind = QuestionKind;
  Kind kind = Kind::kTry;
  int layer = 0;
  std::optional<Answer> waits = std::nullopt;  // kTry: the answer that it waits to change
  bool finally = false;                        // kTry: the layer's final word is asked
  std::optional<Arbiter::Decision> decision = std::nullopt;  // kHold, kEnd
  // Of a Start:
  bool boundary = false;        // the first of a step: here time may pass, and it may be cancelled
  bool in_turn = false;         // a newcomer that has to hold nothing
  int cites = Answer::kNobody;  // kEnd: who refused it
  std::vector<Asked> waits_on = {};  // it waits until one of these has another answer
  friend bool operator==(const Question&, const Question&) = default;
};

// What a program does to the world. None depends on what the world is like at that moment, so the
// effects of one step can be carried out later, one by one, between the steps of others.
struct Effect {
  // kCancel: what was asked of the layer's server is not wanted any more.
  enum class Kind : std::uint8_t { kPublish, kFree, kLeave, kCancel };
  Kind kind = Kind::kPublish;
  int layer = 0;
  RecordState state = RecordState::kCandidate;  // kPublish
  friend bool operator==(const Effect&, const Effect&) = default;
};

// A start, from its first question to its end. Deterministic: what it does depends on what it was
// told and on nothing else.
class Program {
 public:
  virtual ~Program() = default;

  virtual Question question() const = 0;
  virtual std::vector<Effect> Tell(const Answer& answer) = 0;
  // The same, one after another: the effects of the last.
  virtual std::vector<Effect> TellAll(const std::vector<Answer>& answers) {
    std::vector<Effect> effects;
    for (const Answer& answer : answers) effects = Tell(answer);
    return effects;
  }
  // The layers that it believes to hold.
  virtual Set held() const = 0;
  // All that its future depends on.
  virtual std::string State() const = 0;
};
using MakeProgram = std::function<std::unique_ptr<Program>()>;

// The real arbiter, and the release of the Guard that would be made of it. `order`: which layer of
// the policy is the first, second, … member; the canonical order is 0, 1, 2, …
MakeProgram ArbiterProgram(const Policy& policy, std::vector<int> order);

enum class Role { kNewcomer, kStandby, kReplacer };

// The real Start in that role, and the release of its Guard. Whom a replacer asks to end it never
// kills: in this world the first signal does that.
MakeProgram StartProgram(const Policy& policy, Role role);

}  // namespace soleguard::explorer

#include "policy/explorer/world.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "soleguard/event.h"
#include "soleguard/layer.h"

namespace soleguard::explorer {
namespace {

using Phase = ProcessState::Phase;

std::uint8_t RecordOf(int process, RecordState state) {
  return static_cast<std::uint8_t>(1 + process * 3 + static_cast<int>(state));
}
bool IsOfProcess(std::uint8_t record) {
  return record != State::kNoRecord && record != State::kStale;
}
int WriterOf(std::uint8_t record) { return (record - 1) / 3; }
RecordState StateOf(std::uint8_t record) { return static_cast<RecordState>((record - 1) % 3); }

Standing StandingOf(RecordState state) {
  switch (state) {
    case RecordState::kCandidate:
      return Standing::kCandidate;
    case RecordState::kEstablished:
      return Standing::kEstablished;
    case RecordState::kReleasing:
      return Standing::kReleasing;
  }
  return Standing::kUnknown;
}

Answer Contested(Standing standing, int process) {
  return {.kind = Answer::Kind::kContested, .standing = standing, .process = process};
}

std::size_t Index(int i) { return static_cast<std::size_t>(i); }

}  // namespace

std::string_view ToString(Mutation mutation) {
  switch (mutation) {
    case Mutation::kNone:
      return "none";
    case Mutation::kNoVeto:
      return "no veto";
    case Mutation::kOtherOrder:
      return "another order";
    case Mutation::kCandidateIsEstablished:
      return "a candidate is not waited for";
    case Mutation::kReleasingIsEstablished:
      return "a releasing holder is not waited for";
    case Mutation::kDyingIsEstablished:
      return "a dying holder is not waited for";
    case Mutation::kUnknownIsEstablished:
      return "a holder that cannot be told is not waited for";
    case Mutation::kExpiredIsSkipped:
      return "an expired wait is skipped over";
    case Mutation::kNoRollback:
      return "no rollback";
    case Mutation::kSilentRelease:
      return "releasing is not published";
    case Mutation::kFreedIsFree:
      return "a freed claim counts before its process is gone";
    case Mutation::kNoRegistration:
      return "no registration";
    case Mutation::kNewcomerDoesNotAsk:
      return "a newcomer does not ask before it decides";
    case Mutation::kNoGateWhileWaiting:
      return "a newcomer does not ask while it waits";
    case Mutation::kLeavesBeforeItsTurn:
      return "a standby leaves before it arbitrates";
    case Mutation::kJoinsAnew:
      return "a place is taken anew at each try";
    case Mutation::kKilledKeepsPlace:
      return "a killed process keeps its place";
    case Mutation::kNoReservation:
      return "a replacer does not reserve";
    case Mutation::kStandbyDoesNotGiveWay:
      return "a standby does not let a replacer go first";
    case Mutation::kFreedBeforeLapse:
      return "a lease is given away before its holder knows";
    case Mutation::kLapsingIsEstablished:
      return "a lapsing holder is not waited for";
    case Mutation::kLateIsUnavailable:
      return "a late answer is not waited for";
    case Mutation::kCancelIsForgotten:
      return "what a cancelled try gets is not given back";
  }
  return "";
}

std::string_view ToString(Invariant invariant) {
  switch (invariant) {
    case Invariant::kOneRuns:
      return "one runs";
    case Invariant::kEachFound:
      return "each predicted double is found";
    case Invariant::kJustRefusal:
      return "just refusal";
    case Invariant::kNoLostStart:
      return "no lost start";
    case Invariant::kDetermined:
      return "determined";
    case Invariant::kAllHeld:
      return "all held";
    case Invariant::kNothingLeft:
      return "nothing left";
    case Invariant::kProgress:
      return "progress";
    case Invariant::kFirstCome:
      return "first come";
    case Invariant::kLineFirst:
      return "the line first";
    case Invariant::kReplacerNext:
      return "the replacer next";
  }
  return "";
}

void Configuration::SetAvailable(const std::vector<Set>& available) {
  processes = static_cast<int>(available.size());
  for (std::size_t p = 0; p < available.size(); ++p) {
    for (int layer = 0; layer < layers; ++layer) {
      object[p][Index(layer)] =
          static_cast<std::int8_t>(Has(available[p], layer) ? 3 * layer : kUnavailable);
    }
  }
}

bool Configuration::IsAvailable(int process, int layer) const {
  return object[Index(process)][Index(layer)] != kUnavailable;
}

Set Configuration::AvailableTo(int process) const {
  Set set = 0;
  for (int layer = 0; layer < layers; ++layer) {
    if (IsAvailable(process, layer)) set |= Bit(layer);
  }
  return set;
}

bool Configuration::Share(int a, int b) const {
  for (int layer = 0; layer < exclusive(); ++layer) {
    if (IsAvailable(a, layer) && object[Index(a)][Index(layer)] == object[Index(b)][Index(layer)]) {
      return true;
    }
  }
  return false;
}

bool Configuration::IsPrivate(int process, int layer) const {
  for (int other = 0; other < processes; ++other) {
    if (other != process &&
        object[Index(other)][Index(layer)] == object[Index(process)][Index(layer)]) {
      return false;
    }
  }
  return true;
}

bool Configuration::CanRead(int process, int other, int layer) const {
  return IsAvailable(other, layer) &&
         (!IsAvailable(process, layer) ||
          object[Index(process)][Index(layer)] == object[Index(other)][Index(layer)]);
}

std::string Configuration::ToString() const {
  std::string text = absl::StrCat(policy, "; objects");
  for (int p = 0; p < processes; ++p) {
    absl::StrAppend(&text, " P", p, ":");
    for (int layer = 0; layer < layers; ++layer) {
      absl::StrAppend(&text, layer == 0 ? "" : ",",
                      IsAvailable(p, layer)
                          ? absl::StrCat(static_cast<int>(object[Index(p)][Index(layer)]))
                          : "-");
    }
  }
  if (starts) {
    for (int p = 0; p < processes; ++p) {
      absl::StrAppend(&text, Has(standbys, p)    ? " standby"
                             : Has(replacers, p) ? " replacer"
                                                 : " newcomer");
    }
  }
  absl::StrAppend(&text, "; kills ", kills, ", expiries ", expiries, releases ? ", releases" : "",
                  exits ? ", exits" : "", bypasser ? ", a bypasser" : "",
                  acts_while_freed ? "" : ", freed when stopped", hurry ? "" : ", unhurried",
                  leased == 0 ? "" : absl::StrCat(", leased ", int{leased}, ", lapses ", lapses),
                  "; mutation: ", std::string(explorer::ToString(mutation)));
  return text;
}

std::string PolicyText(std::uint16_t table, int layers, bool observer) {
  const auto met = [table](unsigned set) { return (table >> set & 1U) != 0; };
  const auto all = [layers, observer](unsigned set) {
    std::vector<std::string> names;
    for (int layer = 0; layer < layers; ++layer) {
      if (!Has(set, layer)) continue;
      names.push_back(
          observer && layer == layers - 1
              ? "scan"
              : absl::StrCat("file(path=/", std::string(1, static_cast<char>('a' + layer)), ")"));
    }
    return absl::StrCat("all(", absl::StrJoin(names, ", "), ")");
  };
  const unsigned full = (1U << static_cast<unsigned>(layers)) - 1;
  std::vector<std::string> ways;
  for (unsigned set = 1; set <= full; ++set) {
    bool minimal = met(set);
    for (int layer = 0; layer < layers; ++layer) {
      if (Has(set, layer) && met(set & ~Bit(layer))) minimal = false;
    }
    if (minimal && set != full) ways.push_back(all(set));
  }
  ways.push_back(all(full));  // changes nothing, and names every layer
  return absl::StrCat("any(", absl::StrJoin(ways, ", "), ")");
}

std::vector<std::uint16_t> MonotoneFunctions(int layers) {
  std::vector<std::uint16_t> found;
  const unsigned sets = 1U << static_cast<unsigned>(layers);
  for (std::uint32_t table = 0; table < 1ULL << sets; ++table) {
    if ((table & 1U) != 0 || (table >> (sets - 1) & 1U) == 0) continue;  // constants
    bool monotone = true;
    for (unsigned set = 0; monotone && set < sets; ++set) {
      if ((table >> set & 1U) == 0) continue;
      for (int layer = 0; layer < layers; ++layer) {
        if ((table >> (set | Bit(layer)) & 1U) == 0) monotone = false;
      }
    }
    if (monotone) found.push_back(static_cast<std::uint16_t>(table));
  }
  return found;
}

std::string ToString(const Move& move) {
  std::string text = absl::StrCat("P", static_cast<int>(move.process), " ");
  switch (move.kind) {
    case Move::Kind::kArrive:
      return text + "appears";
    case Move::Kind::kRegister:
      return text + "registers";
    case Move::Kind::kAge:
      return text + "has not registered in time";
    case Move::Kind::kStep:
      return text + "steps";
    case Move::Kind::kExpire:
      return text + "has waited long enough";
    case Move::Kind::kCancel:
      return text + "is cancelled";
    case Move::Kind::kLosePlace:
      return text + "loses its place";
    case Move::Kind::kRelease:
      return text + "releases";
    case Move::Kind::kKill:
      return text + "is killed";
    case Move::Kind::kFree:
      return absl::StrCat(text, "loses object ", static_cast<int>(move.object));
    case Move::Kind::kAnswer:
      return absl::StrCat(text, "is answered by the server of ", static_cast<int>(move.object));
    case Move::Kind::kGiveBack:
      return absl::StrCat(text, "gives back ", static_cast<int>(move.object), " unused");
    case Move::Kind::kLapse:
      return absl::StrCat(text, "knows that its lease of ", static_cast<int>(move.object),
                          " is over");
    case Move::Kind::kTake:
      return absl::StrCat(text, "loses ", static_cast<int>(move.object), " to the server");
    case Move::Kind::kExpireLeft:
      return absl::StrCat("the lease of object ", static_cast<int>(move.object), " runs out");
    case Move::Kind::kUnregister:
      return text + "loses its registration";
    case Move::Kind::kGo:
      return text + "is gone";
    case Move::Kind::kExit:
      return text + "exits";
    case Move::Kind::kRestart:
      return text + "comes back as a new process";
  }
  return text;
}

World::World(const Configuration& configuration, const Policy& policy,
             std::vector<Behaviour*> behaviours)
    : configuration_(configuration), behaviours_(std::move(behaviours)) {
  for (int p = 0; p < configuration_.processes; ++p) {
    available_[Index(p)] = configuration_.AvailableTo(p);
    std::vector<bool> confirmed;
    for (int layer = 0; layer < configuration_.layers; ++layer) {
      confirmed.push_back(configuration_.IsAvailable(p, layer));
    }
    if (policy.MetBy(confirmed)) able_ |= Bit(p);
    for (int layer = 0; layer < configuration_.layers; ++layer) {
      bool seen = configuration_.IsExclusive(layer) &&
                  !(configuration_.hurry && configuration_.IsPrivate(p, layer));
      for (int q = 0; configuration_.observer && q < configuration_.processes; ++q) {
        if (q != p && configuration_.IsExclusive(layer) && configuration_.CanRead(q, p, layer)) {
          seen = true;
        }
      }
      if (!seen) unseen_[Index(p)] |= Bit(layer);
    }
    for (int q = 0; q < p; ++q) {
      if (configuration_.Share(p, q)) sharing_ |= 1U << static_cast<unsigned>(PairIndex(p, q));
    }
  }
}

State World::Start() {
  State state;
  for (int p = 0; p < configuration_.processes; ++p) {
    // Without an observer nobody sees a process that holds nothing.
    if (configuration_.observer) continue;
    state.process[Index(p)].phase = Phase::kStarted;
    if (listener_ != nullptr) listener_->OnNewProcess(p);
    Hurry(state, p);
  }
  CheckRunning(state);
  return state;
}

// ---- what a process is told
// ----------------------------------------------------------------------

Answer World::ByRecord(const State& state, std::uint8_t record) const {
  if (!IsOfProcess(record)) return Contested(Standing::kUnknown, Answer::kNobody);
  const int writer = WriterOf(record);
  if (state.process[Index(writer)].phase == Phase::kDying) {
    return Contested(Standing::kDying, writer);
  }
  return Contested(StandingOf(StateOf(record)), writer);
}

// As scan.cc: an established holder is told by its record, whichever layer has it; a registered
// process does not count; neither does whoever is not in the process table.
Answer World::Scan(const State& state, int p) const {
  const auto weight = [](Standing standing) {
    switch (standing) {
      case Standing::kEstablished:
        return 5;
      case Standing::kUnguarded:
        return 4;
      case Standing::kDying:
      case Standing::kLapsing:
        return 3;
      case Standing::kReleasing:
      case Standing::kCandidate:
        return 2;
      case Standing::kUnknown:
        break;
    }
    return 1;
  };
  Answer found{.kind = Answer::Kind::kHeld};
  for (int q = 0; q < InTable(); ++q) {
    const ProcessState& other = state.process[Index(q)];
    if (q == p || other.phase == Phase::kAbsent || other.phase == Phase::kGone) continue;
    Answer seen = Contested(Standing::kUnknown, q);
    std::optional<Standing> recorded;
    for (int layer = 0; layer < configuration_.exclusive(); ++layer) {
      if (q == Bypasser() || !configuration_.CanRead(p, q, layer)) continue;
      const std::uint8_t record =
          state.record[Index(configuration_.object[Index(q)][Index(layer)])];
      if (!IsOfProcess(record) || WriterOf(record) != q) continue;
      if (!recorded.has_value() || *recorded != Standing::kEstablished) {
        recorded = ByRecord(state, record).standing;
      }
    }
    const bool registered = (other.flags & ProcessState::kRegistered) != 0;
    if (recorded == Standing::kEstablished) {
      seen.standing = Standing::kEstablished;
    } else if (registered) {
      continue;
    } else if (recorded.has_value()) {
      seen.standing = *recorded;
    } else if (other.phase == Phase::kDying) {
      seen.standing = Standing::kDying;
    } else if (other.phase != Phase::kArrived) {
      seen.standing = Standing::kUnguarded;
    }
    if (found.kind == Answer::Kind::kHeld || weight(seen.standing) > weight(found.standing)) {
      found = seen;
    }
  }
  return found;
}

bool World::Fails(const State& state, int p, int layer) const {
  if (!configuration_.IsExclusive(layer) || !configuration_.IsAvailable(p, layer)) return false;
  const auto object = Index(configuration_.object[Index(p)][Index(layer)]);
  return state.owner[object] != 0;
}

Answer World::Honest(const State& state, int p, int layer, bool probed) const {
  if (!configuration_.IsAvailable(p, layer)) return {.kind = Answer::Kind::kUnavailable};
  if (!configuration_.IsExclusive(layer)) return Scan(state, p);
  const auto object = Index(configuration_.object[Index(p)][Index(layer)]);
  const std::uint8_t record = state.record[object];
  if (state.owner[object] == State::kLeft) return Contested(Standing::kLapsing, Answer::kNobody);
  if (probed || state.owner[object] != 0) return ByRecord(state, record);
  if (configuration_.acts_while_freed && configuration_.mutation != Mutation::kFreedIsFree &&
      IsOfProcess(record) && state.process[Index(WriterOf(record))].phase == Phase::kDying) {
    return Contested(Standing::kDying, WriterOf(record));
  }
  return {.kind = Answer::Kind::kHeld};
}

Answer World::HonestTo(const State& state, int p, const Question& question, bool probed) const {
  const bool stranger = configuration_.strangers && configuration_.IsExclusive(question.layer) &&
                        !configuration_.IsAvailable(p, question.layer);
  if (stranger && !question.finally) return {.kind = Answer::Kind::kUnsettled};
  return Honest(state, p, question.layer, probed);
}

Answer World::Mutate(Answer answer) const {
  if (answer.kind != Answer::Kind::kContested) return answer;
  const auto established_if = [&](Standing standing) {
    if (answer.standing == standing) answer.standing = Standing::kEstablished;
    return answer;
  };
  switch (configuration_.mutation) {
    case Mutation::kNoVeto:
      return answer.standing == Standing::kEstablished ? Answer{.kind = Answer::Kind::kUnavailable}
                                                       : answer;
    case Mutation::kCandidateIsEstablished:
      return established_if(Standing::kCandidate);
    case Mutation::kReleasingIsEstablished:
      return established_if(Standing::kReleasing);
    case Mutation::kDyingIsEstablished:
      return established_if(Standing::kDying);
    case Mutation::kUnknownIsEstablished:
      return established_if(Standing::kUnknown);
    case Mutation::kLapsingIsEstablished:
      return established_if(Standing::kLapsing);
    default:
      return answer;
  }
}

// ---- what a process does
// -------------------------------------------------------------------------

void World::CheckDecision(const State& state, int p, const Answer& answer) {
  const ProcessState& process = state.process[Index(p)];
  const Arbiter::Decision decision = *QuestionOf(process, p).decision;
  const bool excused = (process.flags & (ProcessState::kExpired | ProcessState::kBypassed |
                                         ProcessState::kCancelled)) != 0;
  const int cites = QuestionOf(process, p).cites;
  // A standby's wait may be over, but what it then says is of that moment.
  if (cites != Answer::kNobody && !HasTheName(state, cites)) Break(Invariant::kJustRefusal);
  if (configuration_.starts && cites != Answer::kNobody) return;
  if (decision == Arbiter::Decision::kUndetermined && CanRun(p) && !excused) {
    Break(Invariant::kDetermined);
  }
  if (decision != Arbiter::Decision::kDuplicate || excused) return;
  if (answer.process == Answer::kNobody || !HasTheName(state, answer.process)) {
    Break(Invariant::kJustRefusal);
  }
}

// Whether the process has decided to run, lives, and its release is not over: a release takes
// effect when releasing was published in every layer, before the first is freed. Whoever was
// refused a moment before that was refused in time.
bool World::HasTheName(const State& state, int p) const {
  const ProcessState& process = state.process[Index(p)];
  if (p == Bypasser() || process.phase != Phase::kStarted) return false;
  const Question& question = QuestionOf(process, p);
  if (question.kind == Question::Kind::kHold) return true;
  if (question.decision != Arbiter::Decision::kUnique || process.edge == Behaviour::kNoEdge) {
    return false;
  }
  return behaviour(p).edge(process.edge).effects[process.done].kind == Effect::Kind::kPublish;
}

void World::Tell(State& state, int p, const Answer& answer) {
  ProcessState& process = state.process[Index(p)];
  Behaviour& program = behaviour(p);
  const Behaviour::NodeId from = process.node;
  const Question& asked = program.node(from).question;
  // One that got no answer in time decides by the others, as if it could not reach the server.
  const bool unanswered =
      configuration_.leased != 0 && (process.flags & ProcessState::kExpired) != 0;
  if (asked.kind == Question::Kind::kDecide && program.node(from).held != available_[Index(p)] &&
      !unanswered) {
    Break(Invariant::kAllHeld);
  }
  if (asked.kind == Question::Kind::kTry && answer.kind == Answer::Kind::kHeld &&
      configuration_.IsExclusive(asked.layer) && !configuration_.IsLeased(asked.layer)) {
    state.owner[Index(configuration_.object[Index(p)][Index(asked.layer)])] =
        static_cast<std::uint8_t>(p + 1);
  }
  if (asked.kind == Question::Kind::kTry && answer.kind == Answer::Kind::kHeld &&
      configuration_.starts && !HasPlace(p)) {
    process.saw = 0;
    for (int q = 0; q < configuration_.processes; ++q) {
      if (q != p && state.process[Index(q)].joined != 0) process.saw |= Bit(q);
    }
  }
  if (asked.kind == Question::Kind::kJoin && answer.kind == Answer::Kind::kGoOn) Join(state, p);
  if (asked.kind == Question::Kind::kSignal && answer.kind == Answer::Kind::kGoOn) {
    const int target = asked.layer;
    for (int q = 0; q < configuration_.processes; ++q) {
      if (q != p && q != target && configuration_.Share(q, target)) process.replaces |= Bit(q);
    }
    if (state.process[Index(target)].phase == Phase::kStarted) Kill(state, target);
  }
  if (asked.kind == Question::Kind::kAhead && answer.kind == Answer::Kind::kNobodyAhead &&
      configuration_.mutation == Mutation::kLeavesBeforeItsTurn && IsStandby(p)) {
    Leave(state, p);
  }
  if (answer.kind == Answer::Kind::kCancelled) process.flags |= ProcessState::kCancelled;
  if (answer.kind == Answer::Kind::kExpired || answer.kind == Answer::Kind::kNoAnswer) {
    process.flags |= ProcessState::kExpired;
  }
  if (answer.kind == Answer::Kind::kContested && answer.standing == Standing::kUnguarded) {
    if (answer.process == Bypasser()) {
      process.flags |= ProcessState::kBypassed;
    } else if (state.process[Index(answer.process)].phase == Phase::kOverdue) {
      process.flags |= ProcessState::kExpired;
    }
  }
  process.edge = program.Tell(from, answer);
  process.node = program.edge(process.edge).node;
  process.done = 0;
  process.flags &= static_cast<std::uint8_t>(~ProcessState::kProbed);
  if (listener_ != nullptr) {
    listener_->OnTold({.process = p, .from = from, .answer = answer, .edge = process.edge});
  }
  const Question& next = program.node(process.node).question;
  if (next.decision.has_value() && !program.node(from).question.decision.has_value()) {
    CheckDecision(state, p, answer);
    if (configuration_.starts) EndStart(state, p);
  }
  if (program.edge(process.edge).effects.empty()) process.edge = Behaviour::kNoEdge;
  if (configuration_.starts && process.edge == Behaviour::kNoEdge) CheckStart(state, p);
}

// ---- a start and its place in line
// ---------------------------------------------------------------

void World::Join(State& state, int p) const {
  ProcessState& process = state.process[Index(p)];
  if (process.place != 0 && configuration_.mutation != Mutation::kJoinsAnew) return;
  if (IsReplacer(p) && configuration_.mutation == Mutation::kNoReservation) return;
  Leave(state, p);
  std::uint8_t last = 0;  // of its line
  std::uint8_t latest = 0;
  for (int q = 0; q < configuration_.processes; ++q) {
    const ProcessState& other = state.process[Index(q)];
    if (!IsReplacer(p) || IsReplacer(q)) last = std::max(last, other.place);
    latest = std::max(latest, other.joined);
  }
  for (ProcessState& other : state.process) {
    if (other.place > last) ++other.place;
  }
  process.place = static_cast<std::uint8_t>(last + 1);
  if (process.joined == 0) process.joined = static_cast<std::uint8_t>(latest + 1);
}

// Those behind move up: only the order matters.
void World::Leave(State& state, int p) const {
  const std::uint8_t left = std::exchange(state.process[Index(p)].place, std::uint8_t{0});
  for (ProcessState& other : state.process) {
    if (left != 0 && other.place > left) --other.place;
  }
}

// Nobody has to let it go first any more.
void World::EndStart(State& state, int p) {
  ProcessState& process = state.process[Index(p)];
  const bool decided = process.phase == Phase::kStarted &&
                       QuestionOf(process, p).decision == Arbiter::Decision::kUnique;
  if (decided && behaviour(p).node(process.node).held != available_[Index(p)]) {
    Break(Invariant::kAllHeld);
  }
  for (int q = 0; decided && q < configuration_.processes; ++q) {
    const ProcessState& other = state.process[Index(q)];
    if (q == p || other.joined == 0 || !CanRun(q)) continue;
    const bool in_order = IsStandby(p) || (IsReplacer(p) && IsReplacer(q));
    if (in_order && other.joined < process.joined) Break(Invariant::kFirstCome);
    if (Has(process.saw, q)) Break(Invariant::kLineFirst);
  }
  for (int q = 0; decided && q < configuration_.processes; ++q) {
    if (q != p && CanRun(q) && Has(state.process[Index(q)].replaces, p)) {
      Break(Invariant::kReplacerNext);
    }
  }
  process.replaces = 0;
  const std::uint8_t joined = std::exchange(process.joined, std::uint8_t{0});
  process.saw = 0;
  for (ProcessState& other : state.process) {
    if (joined != 0 && other.joined > joined) --other.joined;
    other.saw &= static_cast<std::uint8_t>(~Bit(p));
  }
}

// When its effects are carried out.
void World::CheckStart(State& state, int p) {
  const ProcessState& process = state.process[Index(p)];
  const Question& question = QuestionOf(process, p);
  const bool holds = std::find(state.owner.begin(), state.owner.end(), p + 1) != state.owner.end();
  if (question.in_turn && holds) Break(Invariant::kNothingLeft);
  if (question.decision.has_value() && process.place != 0) Break(Invariant::kNothingLeft);
  if (question.kind == Question::Kind::kEnd && holds) Break(Invariant::kNothingLeft);
  // It cannot be about to be established any more.
  if (question.in_turn) state.process[Index(p)].saw = 0;
}

Answer World::MutateGate(const Answer& answer, int p, Gate gate) const {
  const bool skipped =
      !HasPlace(p) &&
      ((gate == Gate::kBeforeDecision &&
        configuration_.mutation == Mutation::kNewcomerDoesNotAsk) ||
       (gate == Gate::kWhileWaiting && configuration_.mutation == Mutation::kNoGateWhileWaiting));
  return skipped ? Answer{.kind = Answer::Kind::kNobodyAhead} : answer;
}

Answer World::Reply(const State& state, int p, Question::Kind kind, int layer, bool probed) const {
  const ProcessState& process = state.process[Index(p)];
  switch (kind) {
    case Question::Kind::kTry:
      return Mutate(Honest(state, p, layer, probed));
    case Question::Kind::kAhead: {
      bool ahead = false;
      for (int q = 0; q < configuration_.processes; ++q) {
        const std::uint8_t place = state.process[Index(q)].place;
        if (IsStandby(p) && IsReplacer(q) &&
            configuration_.mutation == Mutation::kStandbyDoesNotGiveWay) {
          continue;
        }
        if (q != p && place != 0 && (process.place == 0 || place < process.place)) ahead = true;
      }
      const Answer answer{.kind = ahead ? Answer::Kind::kAhead : Answer::Kind::kNobodyAhead};
      return MutateGate(answer, p, static_cast<Gate>(layer));
    }
    case Question::Kind::kLook: {
      if (!configuration_.IsAvailable(p, layer)) return {};
      const auto object = Index(configuration_.object[Index(p)][Index(layer)]);
      if (state.owner[object] == 0) return {};
      const Answer seen = ByRecord(state, state.record[object]);
      return seen.standing == Standing::kEstablished ? seen : Answer{};
    }
    default:
      return {};
  }
}

// What it waits for to change has not. A step that is begun all the same finds what the last one
// would have found, had it been slower.
bool World::IsIdle(const State& state, int p, const Question& question) const {
  const auto unchanged = [&](const Asked& asked) {
    return asked.question == Question::Kind::kJoin || asked.question == Question::Kind::kSignal ||
           asked.answer == Reply(state, p, asked.question, asked.layer, false);
  };
  return !question.waits_on.empty() &&
         std::all_of(question.waits_on.begin(), question.waits_on.end(), unchanged);
}

void World::StartMoves(const State& state, int p, std::vector<Move>& moves) const {
  const ProcessState& process = state.process[Index(p)];
  const Question& question = QuestionOf(process, p);
  const auto add = [&](Move::Kind kind, bool optional) {
    moves.push_back({.kind = kind, .process = static_cast<std::uint8_t>(p), .optional = optional});
  };
  const bool probed = (process.flags & ProcessState::kProbed) != 0;
  if (probed || !IsIdle(state, p, question)) add(Move::Kind::kStep, false);
  if (!question.boundary || probed) return;
  if (!question.waits_on.empty() && state.expiries < configuration_.expiries) {
    add(Move::Kind::kExpire, true);
  }
  if (state.cancels < configuration_.cancels) add(Move::Kind::kCancel, true);
}

void World::CarryOut(State& state, int p) {
  ProcessState& process = state.process[Index(p)];
  const std::vector<Effect>& effects = behaviour(p).edge(process.edge).effects;
  const Effect& effect = effects[process.done++];
  if (effect.kind == Effect::Kind::kLeave) {
    Leave(state, p);
  } else if (effect.kind == Effect::Kind::kCancel) {
    // One that is on its way is decided all the same.
    const bool decided = Has(process.answered, effect.layer);
    if (Has(process.asked, effect.layer) && !decided) process.cancelled |= Bit(effect.layer);
    if (decided && Owner(state, p, effect.layer) == p + 1) process.unwanted |= Bit(effect.layer);
    process.asked = process.answered = 0;
  } else if (configuration_.IsExclusive(effect.layer)) {
    const auto object = Index(configuration_.object[Index(p)][Index(effect.layer)]);
    if (effect.kind == Effect::Kind::kPublish) {
      const bool silent = configuration_.mutation == Mutation::kSilentRelease &&
                          effect.state == RecordState::kReleasing;
      // A server takes nothing from whom it has given the layer to no more.
      const bool is_late = configuration_.IsLeased(effect.layer) && state.owner[object] != p + 1;
      if (!silent && !is_late) state.record[object] = RecordOf(p, effect.state);
      // From here on others are refused, and rightly: it cannot change its mind any more.
      if (effect.state == RecordState::kEstablished) state.ran = 1;
    } else {
      const bool kept = configuration_.mutation == Mutation::kNoRollback && effect.layer == 0 &&
                        QuestionOf(process, p).decision != Arbiter::Decision::kUnique;
      // What the server has given to another is not freed for him.
      if (!kept && state.owner[object] == p + 1) state.owner[object] = 0;
      process.lost &= static_cast<std::uint8_t>(~Bit(effect.layer));
    }
  }
  if (process.done < effects.size()) return;
  process.edge = Behaviour::kNoEdge;
  process.done = 0;
  if (configuration_.starts) CheckStart(state, p);
  if (QuestionOf(process, p).kind != Question::Kind::kEnd) return;
  if (HasLeftover(state, p)) Break(Invariant::kNothingLeft);
}

// Whether it has something that is not on its way back.
bool World::HasLeftover(const State& state, int p) const {
  for (int layer = 0; layer < configuration_.exclusive(); ++layer) {
    if (!configuration_.IsAvailable(p, layer) || Owner(state, p, layer) != p + 1) continue;
    if (!Has(state.process[Index(p)].unwanted, layer)) return true;
  }
  return false;
}

// Takes at once the steps of p that read and change nothing which another process reads or changes:
// a try of a layer that is unavailable to it or its alone, their records, and the decision itself.
// Such a step can be moved ahead of everything that the others did before it; every schedule is so
// equal, for the others and in what p decides, to one in which p hurried. p then runs earlier
// (never later, never shorter), so no double is lost by it. Only a schedule in which p is killed
// between such steps has no like: there the hurried p was further when it was killed, which the
// others see as dying in both. explorer_test.cc compares with worlds that do not hurry.
void World::Hurry(State& state, int p) {
  ProcessState& process = state.process[Index(p)];
  while (true) {
    if (process.edge != Behaviour::kNoEdge) {
      const Effect& effect = behaviour(p).edge(process.edge).effects[process.done];
      if (effect.kind == Effect::Kind::kLeave || !Has(unseen_[Index(p)], effect.layer)) return;
      CarryOut(state, p);
      continue;
    }
    const Question& question = QuestionOf(process, p);
    if (question.kind == Question::Kind::kDecide) {
      if (!configuration_.hurry || configuration_.cancels != 0) return;
      Tell(state, p, {});
      continue;
    }
    // It wakes first; and a start that can be cancelled here is not hurried past it.
    if (!question.waits_on.empty()) return;
    if (configuration_.cancels != 0 && question.boundary) return;
    if (question.kind == Question::Kind::kJoin && process.place != 0 && configuration_.hurry &&
        configuration_.mutation != Mutation::kJoinsAnew) {
      Tell(state, p, {});
      continue;
    }
    if (question.kind == Question::Kind::kLook && configuration_.hurry &&
        (!configuration_.IsAvailable(p, question.layer) ||
         configuration_.IsPrivate(p, question.layer))) {
      Tell(state, p, {});
      continue;
    }
    if (question.kind != Question::Kind::kTry) return;
    if (!configuration_.IsAvailable(p, question.layer)) {
      if (!configuration_.hurry) return;
      Tell(state, p, {.kind = Answer::Kind::kUnavailable});
      continue;
    }
    if (configuration_.IsLeased(question.layer)) return;
    // Whether a private object is taken, nobody sees; what is published there, an observer may.
    if (!configuration_.hurry || !configuration_.IsExclusive(question.layer) ||
        !configuration_.IsPrivate(p, question.layer)) {
      return;
    }
    Tell(state, p, {.kind = Answer::Kind::kHeld});
  }
}

void World::MakeStale(State& state, int p) const {
  for (std::uint8_t& record : state.record) {
    if (IsOfProcess(record) && WriterOf(record) == p) record = State::kStale;
  }
}

// ---- moves
// ---------------------------------------------------------------------------------------

void World::Moves(const State& state, std::vector<Move>& moves) const {
  for (int p = 0; p < InTable(); ++p) {
    const ProcessState& process = state.process[Index(p)];
    const auto add = [&](Move::Kind kind, bool optional, bool idle = false) {
      moves.push_back({.kind = kind,
                       .process = static_cast<std::uint8_t>(p),
                       .optional = optional,
                       .idle = idle});
    };
    const bool bypasser = p == Bypasser();
    bool mortal = false;
    switch (process.phase) {
      case Phase::kAbsent:
        add(Move::Kind::kArrive, bypasser);
        break;
      case Phase::kArrived:
        add(bypasser ? Move::Kind::kAge : Move::Kind::kRegister, false);
        if (!bypasser && state.expiries < configuration_.expiries) add(Move::Kind::kAge, true);
        mortal = true;
        break;
      case Phase::kOverdue:
        if (bypasser) {
          add(Move::Kind::kExit, true);
        } else {
          add(Move::Kind::kRegister, false);
        }
        break;
      case Phase::kStarted: {
        const Question& question = QuestionOf(process, p);
        const bool pending = process.edge != Behaviour::kNoEdge;
        mortal = pending || question.kind != Question::Kind::kEnd;
        if (pending) {
          add(Move::Kind::kStep, false);
          break;
        }
        if (configuration_.starts && !question.decision.has_value()) {
          StartMoves(state, p, moves);
          break;
        }
        switch (question.kind) {
          default:
            break;
          case Question::Kind::kTry: {
            if (process.asked != 0) break;  // LeaseMoves
            const bool probed = (process.flags & ProcessState::kProbed) != 0;
            const bool idle =
                question.waits.has_value() &&
                *question.waits == Mutate(HonestTo(state, p, question, false)) &&
                (!probed || *question.waits == Mutate(HonestTo(state, p, question, true)));
            // An idle try is made all the same if it fails now and reads later.
            const bool splits = configuration_.split_reads && Fails(state, p, question.layer);
            if (!idle || probed || splits) add(Move::Kind::kStep, false, idle);
            if (idle && question.waits->kind == Answer::Kind::kUnsettled) {
              add(Move::Kind::kExpire, false);
            } else if (idle && !probed && state.expiries < configuration_.expiries) {
              add(Move::Kind::kExpire, true);
            }
            break;
          }
          case Question::Kind::kDecide:
            add(Move::Kind::kStep, false);
            break;
          case Question::Kind::kHold:
            if (configuration_.releases) add(Move::Kind::kRelease, true);
            break;
          case Question::Kind::kEnd:
            // What is on its way to a server is decided first.
            if (configuration_.exits && process.cancelled == 0) add(Move::Kind::kExit, true);
            break;
        }
        break;
      }
      case Phase::kDying: {
        bool holds = (process.flags & ProcessState::kRegistered) != 0;
        if (holds) add(Move::Kind::kUnregister, false);
        if (process.place != 0 && configuration_.mutation != Mutation::kKilledKeepsPlace) {
          holds = true;
          add(Move::Kind::kLosePlace, false);
        }
        if (process.cancelled != 0) holds = true;  // decided first
        for (std::size_t object = 0; object < state.owner.size(); ++object) {
          if (state.owner[object] != p + 1) continue;
          if (configuration_.IsLeased(static_cast<int>(object) / 3)) continue;
          holds = true;
          add(Move::Kind::kFree, false);
          moves.back().object = static_cast<std::uint8_t>(object);
        }
        if (!holds) add(Move::Kind::kGo, false);
        break;
      }
      case Phase::kGone:
        if (configuration_.restarts && !bypasser) add(Move::Kind::kRestart, true);
        break;
    }
    if (mortal && !bypasser && state.kills < configuration_.kills) add(Move::Kind::kKill, true);
    if (configuration_.leased != 0) LeaseMoves(state, p, moves);
  }
  for (std::size_t object = 0; object < state.owner.size(); ++object) {
    if (state.owner[object] != State::kLeft) continue;
    moves.push_back({.kind = Move::Kind::kExpireLeft, .object = static_cast<std::uint8_t>(object)});
  }
}

// What servers do about p, and what p does about them.
void World::LeaseMoves(const State& state, int p, std::vector<Move>& moves) const {
  const ProcessState& process = state.process[Index(p)];
  const auto add = [&](Move::Kind kind, int layer, bool optional = false) {
    moves.push_back({.kind = kind,
                     .process = static_cast<std::uint8_t>(p),
                     .object = static_cast<std::uint8_t>(layer),
                     .optional = optional});
  };
  const bool waits = process.asked != 0 && process.edge == Behaviour::kNoEdge;
  if (waits && process.answered != 0) add(Move::Kind::kStep, 0);
  if (waits && state.expiries < configuration_.expiries) add(Move::Kind::kExpire, 0, true);
  for (int layer = 0; layer < configuration_.exclusive(); ++layer) {
    const bool open = Has(process.asked, layer) && !Has(process.answered, layer);
    if (open || Has(process.cancelled, layer)) add(Move::Kind::kAnswer, layer);
    if (Has(process.unwanted, layer) && process.phase == Phase::kStarted) {
      add(Move::Kind::kGiveBack, layer);
    }
    if (!configuration_.IsLeased(layer) || !configuration_.IsAvailable(p, layer)) continue;
    if (Owner(state, p, layer) != p + 1 || process.phase != Phase::kStarted ||
        QuestionOf(process, p).kind != Question::Kind::kHold) {
      continue;
    }
    const bool knows = Has(process.lost, layer);
    if (!knows && state.lapses < configuration_.lapses) add(Move::Kind::kLapse, layer, true);
    const bool early = configuration_.mutation == Mutation::kFreedBeforeLapse;
    if (knows || early) add(Move::Kind::kTake, layer, true);
  }
}

// Asks the server or, once that has decided, takes its answer.
void World::TryLeased(State& state, int p, const Question& question) {
  ProcessState& process = state.process[Index(p)];
  const int layer = question.layer;
  if (process.asked == 0) {
    if (configuration_.mutation == Mutation::kLateIsUnavailable) {
      Tell(state, p, {.kind = Answer::Kind::kUnavailable});
      return;
    }
    process.asked = Bit(layer);
    Tell(state, p, {.kind = Answer::Kind::kPending});
    return;
  }
  const bool granted = Owner(state, p, layer) == p + 1;
  const Answer refused = Mutate(Honest(state, p, layer, false));
  process.answered = 0;
  // Who was in the way is gone by now: the server is asked once more.
  if (!granted && refused.kind == Answer::Kind::kHeld) return;
  process.asked = 0;
  Tell(state, p, granted ? Answer{.kind = Answer::Kind::kHeld} : refused);
}

// A server decides: it grants the layer, and publishes the candidate, in one step.
void World::Grant(State& state, int p, int layer) {
  if (Owner(state, p, layer) != 0) return;
  Owner(state, p, layer) = static_cast<std::uint8_t>(p + 1);
  state.record[Index(configuration_.object[Index(p)][Index(layer)])] =
      RecordOf(p, RecordState::kCandidate);
}

void World::ApplyToLease(State& state, const Move& move) {
  const int p = move.process;
  const int layer = move.object;
  ProcessState& process = state.process[Index(p)];
  const auto without = [layer](std::uint8_t set) {
    return static_cast<std::uint8_t>(set & ~Bit(layer));
  };
  switch (move.kind) {
    case Move::Kind::kAnswer: {
      const bool had = Owner(state, p, layer) == p + 1;
      Grant(state, p, layer);
      if (!Has(process.cancelled, layer)) {
        process.answered |= Bit(layer);
        break;
      }
      process.cancelled = without(process.cancelled);
      const bool granted = !had && Owner(state, p, layer) == p + 1;
      if (granted && configuration_.mutation != Mutation::kCancelIsForgotten) {
        process.unwanted |= Bit(layer);
      }
      break;
    }
    case Move::Kind::kGiveBack:
      process.unwanted = without(process.unwanted);
      Owner(state, p, layer) = 0;
      break;
    case Move::Kind::kLapse:
      ++state.lapses;
      process.lost |= Bit(layer);
      break;
    case Move::Kind::kTake:
      Owner(state, p, layer) = 0;
      break;
    default:
      break;
  }
}

void World::Kill(State& state, int p) {
  ProcessState& process = state.process[Index(p)];
  if (Runs(state, p)) process.flags |= ProcessState::kActs;
  process.flags |= ProcessState::kKilled;
  process.flags &= static_cast<std::uint8_t>(~ProcessState::kProbed);
  process.phase = Phase::kDying;
  process.cancelled |= static_cast<std::uint8_t>(process.asked & ~process.answered);
  process.asked = process.answered = 0;
  process.unwanted = 0;  // nobody is left to give it back
  EndStart(state, p);
  process.node = Behaviour::kStart;
  process.edge = Behaviour::kNoEdge;
  process.done = 0;
  for (int layer = 0; configuration_.hurry && layer < configuration_.exclusive(); ++layer) {
    if (!configuration_.IsAvailable(p, layer) || !configuration_.IsPrivate(p, layer)) continue;
    state.owner[Index(configuration_.object[Index(p)][Index(layer)])] = 0;
  }
}

void World::Apply(State& state, const Move& move) {
  const int p = move.process;
  ProcessState& process = state.process[Index(p)];
  switch (move.kind) {
    case Move::Kind::kArrive:
      process.phase = Phase::kArrived;
      break;
    case Move::Kind::kRegister:
      process.phase = Phase::kStarted;
      if (configuration_.mutation != Mutation::kNoRegistration)
        process.flags |= ProcessState::kRegistered;
      if (listener_ != nullptr) listener_->OnNewProcess(p);
      break;
    case Move::Kind::kAge:
      process.phase = Phase::kOverdue;
      if (p != Bypasser()) ++state.expiries;
      break;
    case Move::Kind::kStep: {
      if (process.edge != Behaviour::kNoEdge) {
        CarryOut(state, p);
        break;
      }
      const Question& question = QuestionOf(process, p);
      if (question.kind == Question::Kind::kDecide) {
        Tell(state, p, {});
        break;
      }
      const bool probed = (process.flags & ProcessState::kProbed) != 0;
      if (question.kind != Question::Kind::kTry) {
        Tell(state, p, Reply(state, p, question.kind, question.layer, false));
        break;
      }
      if (configuration_.IsLeased(question.layer) &&
          configuration_.IsAvailable(p, question.layer)) {
        TryLeased(state, p, question);
        break;
      }
      if (configuration_.split_reads && !probed && Fails(state, p, question.layer)) {
        process.flags |= ProcessState::kProbed;
        break;
      }
      Tell(state, p, Mutate(HonestTo(state, p, question, probed)));
      break;
    }
    case Move::Kind::kExpire: {
      const std::optional<Answer>& waits = QuestionOf(process, p).waits;
      if (waits.has_value() && waits->kind == Answer::Kind::kUnsettled) {
        Tell(state, p, {.kind = Answer::Kind::kSettled});
        break;
      }
      ++state.expiries;
      if (waits.has_value() && waits->kind == Answer::Kind::kPending) {
        Tell(state, p, {.kind = Answer::Kind::kNoAnswer});
        break;
      }
      if (configuration_.starts) {
        Tell(state, p, {.kind = Answer::Kind::kExpired});
        break;
      }
      Answer answer = *QuestionOf(process, p).waits;
      answer.kind = Answer::Kind::kExpired;
      if (configuration_.mutation == Mutation::kExpiredIsSkipped) {
        answer = {.kind = Answer::Kind::kUnavailable};
      }
      Tell(state, p, answer);
      break;
    }
    case Move::Kind::kCancel:
      ++state.cancels;
      Tell(state, p, {.kind = Answer::Kind::kCancelled});
      break;
    case Move::Kind::kLosePlace:
      Leave(state, p);
      break;
    case Move::Kind::kRelease:
      Tell(state, p, {});
      break;
    case Move::Kind::kKill:
      ++state.kills;
      Kill(state, p);
      break;
    case Move::Kind::kFree:
      state.owner[move.object] = 0;
      if (!configuration_.acts_while_freed) {
        process.flags &= static_cast<std::uint8_t>(~ProcessState::kActs);
      }
      break;
    case Move::Kind::kAnswer:
    case Move::Kind::kGiveBack:
    case Move::Kind::kLapse:
    case Move::Kind::kTake:
      ApplyToLease(state, move);
      break;
    case Move::Kind::kExpireLeft:
      state.owner[move.object] = 0;
      break;
    case Move::Kind::kUnregister:
      process.flags &= static_cast<std::uint8_t>(~ProcessState::kRegistered);
      break;
    case Move::Kind::kGo:
    case Move::Kind::kExit:
      MakeStale(state, p);
      // A server does not see that its holder is gone.
      for (std::size_t object = 0; object < state.owner.size(); ++object) {
        if (state.owner[object] == p + 1) state.owner[object] = State::kLeft;
      }
      process.lost = 0;
      process.phase = Phase::kGone;
      process.node = Behaviour::kStart;
      process.flags &= static_cast<std::uint8_t>(ProcessState::kExpired | ProcessState::kBypassed |
                                                 ProcessState::kKilled | ProcessState::kCancelled);
      break;
    case Move::Kind::kRestart:
      process = {};
      process.phase = configuration_.observer ? Phase::kAbsent : Phase::kStarted;
      if (!configuration_.observer && listener_ != nullptr) listener_->OnNewProcess(p);
      break;
  }
  if (process.phase == Phase::kStarted) Hurry(state, p);
  CheckRunning(state);
}

// ---- what must hold
// ------------------------------------------------------------------------------

bool World::Runs(const State& state, int process) const {
  const ProcessState& found = state.process[Index(process)];
  return found.phase == Phase::kStarted && found.edge == Behaviour::kNoEdge && found.lost == 0 &&
         QuestionOf(found, process).kind == Question::Kind::kHold;
}

Set World::Running(const State& state) const {
  Set running = 0;
  for (int p = 0; p < configuration_.processes; ++p) {
    const ProcessState& process = state.process[Index(p)];
    const bool acts = process.phase == Phase::kDying && (process.flags & ProcessState::kActs) != 0;
    if (acts || Runs(state, p)) running |= Bit(p);
  }
  return running;
}

bool World::Ended(const State& state, int process) const {
  const ProcessState& found = state.process[Index(process)];
  return found.phase == Phase::kStarted && found.edge == Behaviour::kNoEdge &&
         QuestionOf(found, process).kind == Question::Kind::kEnd;
}

void World::CheckRunning(State& state) {
  const Set running = Running(state);
  if (running == 0) return;
  state.ran = 1;
  if (std::has_single_bit(running)) return;
  for (int p = 0; p < configuration_.processes; ++p) {
    for (int q = 0; q < p; ++q) {
      if (!Has(running, p) || !Has(running, q)) continue;
      const unsigned pair = 1U << static_cast<unsigned>(PairIndex(p, q));
      doubles_ |= pair;
      if ((PredictedDoubles() & pair) == 0) Break(Invariant::kOneRuns);
    }
  }
}

void World::CheckEnd(const State& state) {
  bool lost_start = false;
  bool expired = false;
  bool bypassed = false;
  bool cancelled = false;
  for (int p = 0; p < configuration_.processes; ++p) {
    const ProcessState& process = state.process[Index(p)];
    if (Ended(state, p) && HasLeftover(state, p)) Break(Invariant::kNothingLeft);
    const bool lost = process.lost != 0;  // it stays where it is
    if (process.phase == Phase::kStarted && !Ended(state, p) && !Runs(state, p) && !lost) {
      // A standby waits for the end of whoever runs, however long; a newcomer for nobody but the
      // head of a line, and that only if it does not see for whom the head waits.
      bool waits_rightly = false;
      for (int q = 0; configuration_.starts && q < configuration_.processes; ++q) {
        if (!Has(Running(state), q) || (!HasPlace(p) && configuration_.Share(p, q))) continue;
        waits_rightly = true;
      }
      if (!waits_rightly) Break(Invariant::kProgress);
      if (!HasPlace(p)) ++behind_a_waiting_head_;
    }
    if (!CanRun(p) || (process.flags & ProcessState::kKilled) != 0) continue;
    if ((process.flags & ProcessState::kExpired) != 0) {
      expired = true;
    } else if ((process.flags & ProcessState::kBypassed) != 0) {
      bypassed = true;
    } else if ((process.flags & ProcessState::kCancelled) != 0) {
      cancelled = true;
    } else {
      lost_start = true;
    }
  }
  if (state.ran != 0) return;
  if (lost_start) {
    Break(Invariant::kNoLostStart);
  } else if (expired) {
    ++lost_by_expiry_;
  } else if (bypassed) {
    ++lost_by_bypasser_;
  } else if (cancelled) {
    ++lost_by_cancel_;
  }
}

unsigned World::PredictedDoubles() const {
  unsigned pairs = 0;
  for (int p = 0; p < configuration_.processes; ++p) {
    for (int q = 0; q < p; ++q) {
      if (CanRun(p) && CanRun(q)) pairs |= 1U << static_cast<unsigned>(PairIndex(p, q));
    }
  }
  return pairs & ~sharing_;
}

std::string World::Describe(const State& state) const {
  std::string text;
  for (int p = 0; p < InTable(); ++p) {
    const ProcessState& process = state.process[Index(p)];
    absl::StrAppend(&text, "P", p, " ");
    switch (process.phase) {
      case Phase::kAbsent:
        absl::StrAppend(&text, "absent");
        break;
      case Phase::kArrived:
        absl::StrAppend(&text, "arrived");
        break;
      case Phase::kOverdue:
        absl::StrAppend(&text, "overdue");
        break;
      case Phase::kDying:
        absl::StrAppend(&text, "dying");
        break;
      case Phase::kGone:
        absl::StrAppend(&text, "gone");
        break;
      case Phase::kStarted: {
        const Question& question = QuestionOf(process, p);
        switch (question.kind) {
          case Question::Kind::kTry:
            absl::StrAppend(&text,
                            question.waits.has_value()
                                ? absl::StrCat("waits (", ToString(*question.waits), ") at ")
                                : "tries ",
                            question.layer);
            break;
          case Question::Kind::kDecide:
            absl::StrAppend(&text, "decides");
            break;
          case Question::Kind::kJoin:
            absl::StrAppend(&text, "joins");
            break;
          case Question::Kind::kAhead:
            absl::StrAppend(&text, question.in_turn ? "gave way, " : "", "asks who goes first");
            break;
          case Question::Kind::kLook:
            absl::StrAppend(&text, "looks at ", question.layer);
            break;
          case Question::Kind::kSignal:
            absl::StrAppend(&text, "signals P", question.layer);
            break;
          case Question::Kind::kHold:
            absl::StrAppend(&text, "unique");
            break;
          case Question::Kind::kEnd:
            absl::StrAppend(&text, question.decision == Arbiter::Decision::kUnique ? "released"
                                   : question.decision == Arbiter::Decision::kDuplicate
                                       ? "duplicate"
                                       : "undetermined");
            break;
        }
        if (!question.waits_on.empty()) absl::StrAppend(&text, " when it wakes");
        if (process.place != 0) {
          absl::StrAppend(&text, ", place ", static_cast<int>(process.place));
        }
        if (process.edge != Behaviour::kNoEdge) {
          absl::StrAppend(&text, ", ", static_cast<int>(process.done), " of ",
                          behaviour(p).edge(process.edge).effects.size(), " done");
        }
        break;
      }
    }
    absl::StrAppend(&text, "; ");
  }
  absl::StrAppend(&text, "objects");
  for (std::size_t object = 0; object < state.owner.size(); ++object) {
    if (state.owner[object] == 0 && state.record[object] == State::kNoRecord) continue;
    absl::StrAppend(&text, " ", object, ":",
                    state.owner[object] == 0 ? "free" : absl::StrCat("P", state.owner[object] - 1),
                    "/");
    const std::uint8_t record = state.record[object];
    if (IsOfProcess(record)) {
      absl::StrAppend(&text, "P", WriterOf(record), " ", std::string(ToString(StateOf(record))));
    } else {
      absl::StrAppend(&text, record == State::kStale ? "stale" : "no record");
    }
  }
  return text;
}

}  // namespace soleguard::explorer

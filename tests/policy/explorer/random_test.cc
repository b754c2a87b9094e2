// Long random schedules of more processes than can be explored, with kills, releases, restarts and
// expired waits. Each process also has a program of its own that lives as long as it does and is
// never replaced by what Behaviour remembers: both must agree at every step.
//
// SOLEGUARD_EXPLORER_SEED and SOLEGUARD_EXPLORER_STEPS set the first seed and how many steps are
// taken. A failure names the seed of its round: with that one and 1 step it is repeated.
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "policy/explorer/explorer.h"
#include "soleguard/event.h"

namespace soleguard::explorer {
namespace {

std::uint64_t Setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it meanwhile
  std::uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

// Programs that are told what the world's processes are told.
class LivePrograms final : public World::Listener {
 public:
  LivePrograms(Behaviour& behaviour, int processes)
      : behaviour_(behaviour), live_(static_cast<std::size_t>(processes)) {}

  void OnNewProcess(int process) override { Live(process) = behaviour_.Make(); }
  void OnTold(const World::Told& told) override {
    Program& program = *Live(told.process);
    const Behaviour::Edge& edge = behaviour_.edge(told.edge);
    const Behaviour::Node& node = behaviour_.node(edge.node);
    const std::vector<Effect> effects = program.Tell(told.answer);
    agree_ = agree_ && effects == edge.effects && program.question() == node.question &&
             program.held() == node.held && program.State() == node.state;
  }
  bool agree() const { return agree_; }

 private:
  std::unique_ptr<Program>& Live(int process) { return live_[static_cast<std::size_t>(process)]; }

  Behaviour& behaviour_;
  std::vector<std::unique_ptr<Program>> live_;
  bool agree_ = true;
};

// One random configuration and one random schedule of it.
class Round {
 public:
  explicit Round(std::uint64_t seed)
      : random_(seed),
        configuration_(RandomConfiguration()),
        policy_(Policy::Parse(configuration_.policy).value()),
        behaviour_(ArbiterProgram(policy_, Order())),
        world_(configuration_, policy_,
               std::vector<Behaviour*>(static_cast<std::size_t>(configuration_.processes),
                                       &behaviour_)),
        live_(behaviour_, configuration_.processes) {
    world_.set_listener(&live_);
    state_ = world_.Start();
  }

  // How many steps it took; nothing more once something broke.
  std::size_t Run() {
    for (std::size_t left = 100 + Below(2000); left > 0 && Sound(); --left) {
      if (!Step(&Round::Any)) break;
    }
    while (Sound() && Step(&Round::Due)) {
    }
    if (Sound()) world_.CheckEnd(state_);
    if (Sound() && !configuration_.bypasser) CheckThatNothingIsInTheWay();
    return steps_;
  }

  bool Sound() const { return world_.broken() == 0 && live_.agree() && !in_the_way_; }
  std::string Failure() const {
    std::string text = absl::StrCat(configuration_.ToString(), "\n");
    for (const std::string& line : last_) absl::StrAppend(&text, "  ", line, "\n");
    absl::StrAppend(&text, "breaks: ", BrokenText(world_.broken()));
    if (!live_.agree()) absl::StrAppend(&text, "; a live program does something else");
    if (in_the_way_) absl::StrAppend(&text, "; when all had ended, a start alone did not succeed");
    return text;
  }

 private:
  std::size_t Below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }

  Configuration RandomConfiguration() {
    Configuration configuration;
    configuration.layers = 1 + static_cast<int>(Below(kMaxLayers));
    configuration.observer = configuration.layers > 1 && Below(2) == 0;
    configuration.processes = 2 + static_cast<int>(Below(kMaxProcesses - 2));
    if (Below(4) == 0) configuration.processes = kMaxProcesses;
    configuration.bypasser =
        configuration.observer && Below(8) == 0 && configuration.processes < kMaxProcesses;
    configuration.releases = true;
    configuration.exits = true;
    configuration.restarts = true;
    configuration.kills = static_cast<int>(Below(200));
    configuration.expiries = Below(2) == 0 ? 0 : static_cast<int>(Below(20));
    configuration.split_reads = Below(4) != 0;
    configuration.acts_while_freed = Below(2) == 0;
    configuration.hurry = Below(2) == 0;
    const std::vector<std::uint16_t> tables = MonotoneFunctions(configuration.layers);
    configuration.policy =
        PolicyText(tables[Below(tables.size())], configuration.layers, configuration.observer);
    for (int layer = 0; layer < configuration.layers; ++layer) {
      const bool whole = Below(2) == 0;  // works for all, and is one object to all
      for (int p = 0; p < configuration.processes; ++p) {
        const int object =
            whole || !configuration.IsExclusive(layer) ? 0 : static_cast<int>(Below(3));
        const bool works = whole || Below(4) != 0;
        configuration.object[static_cast<std::size_t>(p)][static_cast<std::size_t>(layer)] =
            static_cast<std::int8_t>(works ? 3 * layer + object : Configuration::kUnavailable);
      }
    }
    return configuration;
  }

  std::vector<int> Order() const {
    std::vector<int> order(static_cast<std::size_t>(configuration_.layers));
    std::iota(order.begin(), order.end(), 0);
    return order;
  }

  // Which of the moves are wanted now.
  bool Any(const Move& move) {
    if (move.kind == Move::Kind::kKill) return Below(16) == 0;
    return !move.idle || Below(8) == 0;
  }
  bool Due(const Move& move) { return !move.optional && !move.idle; }
  bool Ending(const Move& move) {
    return Due(move) || move.kind == Move::Kind::kRelease || move.kind == Move::Kind::kExit;
  }

  // Takes one of the wanted moves. False: there is none.
  bool Step(bool (Round::*wanted)(const Move&)) {
    moves_.clear();
    world_.Moves(state_, moves_);
    if (moves_.empty()) return false;
    std::vector<Move> chosen;
    for (const Move& move : moves_) {
      if ((this->*wanted)(move)) chosen.push_back(move);
    }
    // Any is a matter of chance: with moves left, it is asked again at the next step.
    if (chosen.empty()) return wanted == &Round::Any;
    Take(chosen[Below(chosen.size())]);
    return true;
  }

  void Take(const Move& move) {
    world_.Apply(state_, move);
    ++steps_;
    constexpr std::size_t kShown = 60;
    taken_.emplace_back(move, state_);
    if (taken_.size() > kShown) taken_.pop_front();
    if (Sound()) return;
    for (const auto& [each, then] : taken_) {
      last_.push_back(absl::StrCat(ToString(each), ": ", world_.Describe(then)));
    }
  }

  // All release, exit and are gone; then each that can run, alone, does.
  void CheckThatNothingIsInTheWay() {
    while (Sound() && Step(&Round::Ending)) {
    }
    for (int p = 0; p < configuration_.processes && Sound(); ++p) {
      if (!world_.CanRun(p)) continue;
      Take({.kind = Move::Kind::kRestart, .process = static_cast<std::uint8_t>(p)});
      while (Sound() && Step(&Round::Due)) {
      }
      in_the_way_ = !world_.Runs(state_, p);
      while (Sound() && Step(&Round::Ending)) {
      }
    }
  }

  std::mt19937_64 random_;
  const Configuration configuration_;
  const Policy policy_;
  Behaviour behaviour_;
  World world_;
  LivePrograms live_;
  State state_;
  std::size_t steps_ = 0;
  bool in_the_way_ = false;
  std::vector<Move> moves_;
  std::deque<std::pair<Move, State>> taken_;
  std::vector<std::string> last_;
};

void RunRandomly(std::uint64_t default_steps) {
  const std::uint64_t first = Setting("SOLEGUARD_EXPLORER_SEED", 1);
  const std::uint64_t steps = Setting("SOLEGUARD_EXPLORER_STEPS", default_steps);
  std::uint64_t seed = first;
  for (std::uint64_t taken = 0; taken < steps; ++seed) {
    Round round(seed);
    taken += 1 + round.Run();
    ASSERT_TRUE(round.Sound()) << "seed " << seed << ": " << round.Failure();
  }
  std::cout << "random schedules: " << steps << " steps, seeds " << first << " to " << seed - 1
            << "\n";
}

TEST(RandomTest, DeepSchedules) { RunRandomly(200'000); }
TEST(RandomSoakTest, DeepSchedules) { RunRandomly(10'000'000); }

}  // namespace
}  // namespace soleguard::explorer

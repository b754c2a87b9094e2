// H41: over any history of starts, policies, missing layers, deletions, gc, clock steps, crashes,
// reboots and state directories that come and go, a token is larger than all before it, or it says
// that it is not durable. Random histories drive the arbiter and the ceiling as they are; clock,
// boot and layers are the model's. What breaks the rule is cut down to what is needed for it.
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "kit/token.h"
#include "soleguard/arbiter.h"
#include "soleguard/event.h"
#include "soleguard/fd.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/policy.h"

namespace soleguard {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSecond = 1'000'000;  // in the tokens' unit
constexpr std::uint64_t kHour = 3600 * kSecond;
constexpr std::size_t kLayers = 3;

struct Event {
  enum class Kind {
    kStart,        // by a process that can use the layers in `which`
    kRefused,      // the same, but the last of these turns out to be another's
    kForget,       // the records of the layers in `which` are deleted
    kCollect,      // gc: all of them are
    kPass,         // time passes
    kStepForward,  // the clock is set
    kStepBack,
    kReboot,     // the records of the layers in `which` are on tmpfs
    kPowerLoss,  // a reboot, and what was written last did not reach the disk
    kHide,       // the state directory cannot be found
    kFreeze,     // it can be read only
    kShow,       // it is as it should be
    kLose,       // it is gone for good
    kDamage,     // what is in it was overwritten
    kPutBack,    // it is what it was at the last kSave
    kSave,
  };
  static constexpr int kKinds = 16;
  Kind kind = Kind::kStart;
  unsigned which = 0;
  std::uint64_t amount = 0;
};

std::string Say(const Event& event) {
  static constexpr std::array<const char*, Event::kKinds> kNames = {
      "start",      "refused", "forget", "collect", "pass", "step forward", "step back", "reboot",
      "power loss", "hide",    "freeze", "show",    "lose", "damage",       "put back",  "save"};
  return absl::StrCat(kNames.at(static_cast<std::size_t>(event.kind)), " ", event.which, " ",
                      event.amount);
}

using History = std::vector<Event>;

Event SomeEvent(std::mt19937_64& random) {
  // What ends the proof of a ceiling is rare, or most histories would prove nothing.
  static const std::vector<double> kWeights = {24, 4,   5, 2, 6,   3,   8,   4,
                                               3,  2.5, 2, 5, 0.4, 0.4, 0.4, 0.4};
  std::discrete_distribution<int> kind(kWeights.begin(), kWeights.end());
  Event event{.kind = static_cast<Event::Kind>(kind(random)),
              .which = static_cast<unsigned>(random() % (1U << kLayers)),
              .amount = 1 + random() % kSecond};
  switch (random() % 4) {
    case 0:
      event.amount = 1;
      break;
    case 1:
      event.amount = random() % (3 * kHour);
      break;
    case 2:
      event.amount = random() % (10'000 * kHour);
      break;
    default:
      break;
  }
  return event;
}

History SomeHistory(std::mt19937_64& random) {
  History history(2 + random() % 11);
  for (Event& event : history) event = SomeEvent(random);
  return history;
}

// One object that a record is kept in.
using Record = std::optional<HolderRecord>;

class ModelClaim final : public Claim {
 public:
  ModelClaim(Record& record, HolderRecord candidate) : record_(record), predecessor_(record) {
    if (record_.has_value()) candidate.token = std::max(candidate.token, record_->token);
    record_ = std::move(candidate);
  }
  absl::Status Publish(const HolderRecord& record) override {
    record_ = record;
    return absl::OkStatus();
  }
  absl::Status Verify() const override { return absl::OkStatus(); }
  void Release() override {}
  std::optional<HolderRecord> Predecessor() const override { return predecessor_; }
  absl::Status KeepOverExec() override { return absl::OkStatus(); }

 private:
  Record& record_;
  const Record predecessor_;
};

class ModelLayer final : public Layer {
 public:
  ModelLayer(std::string text, Record& record) : text_(std::move(text)), record_(record) {}
  enum class Use { kNo, kYes, kAnothers };
  void Set(Use use) { use_ = use; }

  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord& candidate) override {
    if (use_ == Use::kNo) return Unavailable{absl::UnavailableError("missing")};
    if (use_ == Use::kYes) return Held{std::make_unique<ModelClaim>(record_, candidate)};
    Contested contested;
    contested.holder.standing = Standing::kEstablished;
    return contested;
  }
  Sighting Look() const override { return Free{}; }
  std::vector<ProcessIdentity> Suspects() const override { return {}; }

 private:
  const std::string text_;
  Record& record_;
  Use use_ = Use::kNo;
};

// How a token is made; the second is for a rule that is known to be wrong.
using Rule = std::function<Token(const absl::StatusOr<std::string>& state, std::uint64_t last,
                                 const TokenClock& clock)>;

class World {
 public:
  World(const std::string& directory, Rule rule)
      : state_(directory + "/state"), rule_(std::move(rule)) {
    fs::create_directories(state_);
    for (std::size_t i = 0; i < kLayers; ++i) {
      layers_.push_back(
          std::make_unique<ModelLayer>(absl::StrCat("file(path=/", i, ")"), records_.at(i)));
    }
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() { fs::remove_all(state_); }

  static const Scope& scope() {
    static const Scope scope = *Scope::Directory("/scope");
    return scope;
  }

  // What broke the rule; empty: nothing did.
  std::string Happen(const Event& event) {
    switch (event.kind) {
      case Event::Kind::kStart:
      case Event::Kind::kRefused:
        return Start(event);
      case Event::Kind::kForget:
        Forget(event.which);
        break;
      case Event::Kind::kCollect:
        Forget(~0U);
        break;
      case Event::Kind::kPass:
        Pass(event.amount);
        break;
      case Event::Kind::kStepForward:
        wall_ += event.amount;
        break;
      case Event::Kind::kStepBack:
        wall_ -= std::min(wall_ - 1, event.amount);
        break;
      case Event::Kind::kReboot:
        Boot(event.which);
        break;
      case Event::Kind::kPowerLoss:
        records_ = older_;
        Boot(event.which);
        break;
      case Event::Kind::kHide:
        hidden_ = true;
        break;
      case Event::Kind::kFreeze:
        frozen_ = UniqueFd(open(ceiling().c_str(), O_RDONLY | O_CLOEXEC));
        if (frozen_) (void)flock(frozen_.get(), LOCK_EX);  // nothing is written without the lock
        break;
      case Event::Kind::kShow:
        hidden_ = false;
        frozen_.reset();
        break;
      case Event::Kind::kLose:
        for (const auto& entry : fs::directory_iterator(state_)) fs::remove_all(entry);
        Lost();
        break;
      case Event::Kind::kDamage:
        if (fs::exists(ceiling())) std::ofstream(ceiling()) << "damaged";
        Lost();
        break;
      case Event::Kind::kSave:
        saved_ = Content();
        break;
      case Event::Kind::kPutBack:
        if (saved_.empty()) break;
        std::ofstream(ceiling(), std::ios::binary) << saved_;
        Lost();
        break;
    }
    return "";
  }

  std::uint64_t durable() const { return durable_; }

 private:
  std::string directory() const {
    return absl::StrCat(state_, absl::StrFormat("/directory-%016x", HashOf(scope().directory())));
  }
  std::string ceiling() const { return directory() + "/x"; }
  std::string Content() const {
    std::ifstream file(ceiling(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  void Pass(std::uint64_t amount) {
    wall_ += amount;
    since_boot_ += amount;
  }
  void Forget(unsigned which) {
    for (std::size_t i = 0; i < kLayers; ++i) {
      if ((which >> i & 1U) != 0) records_.at(i).reset();
    }
  }
  void Boot(unsigned which) {
    ++boot_;
    since_boot_ = 5 * kSecond;
    Forget(which);
  }
  // What a state directory does not keep, nobody can prove: from here on only what a record still
  // says must be less.
  void Lost() {
    lost_ = std::max(lost_, largest_);
    largest_ = 0;
  }

  std::string Start(const Event& event) {
    using Use = ModelLayer::Use;
    std::uint64_t seen = 0;
    std::optional<std::size_t> last;
    for (std::size_t i = 0; i < kLayers; ++i) {
      const bool used = (event.which >> i & 1U) != 0;
      layers_[i]->Set(used ? Use::kYes : Use::kNo);
      if (used) last = i;
    }
    if (event.kind == Event::Kind::kRefused && last.has_value())
      layers_[*last]->Set(Use::kAnothers);
    for (std::size_t i = 0; i < kLayers; ++i) {
      const bool held =
          (event.which >> i & 1U) != 0 && (event.kind == Event::Kind::kStart || last != i);
      if (held && records_.at(i).has_value()) seen = std::max(seen, records_.at(i)->token);
    }
    static const Policy kPolicy =
        *Policy::Parse("any(file(path=/0), file(path=/1), file(path=/2))");
    std::vector<Arbiter::Member> members;
    for (std::size_t i = 0; i < kLayers; ++i)
      members.push_back({.layer = layers_[i].get(), .index = i});
    older_ = records_;
    HolderRecord candidate;
    candidate.name = "x";
    Arbiter arbiter(kPolicy, std::move(members), candidate, {}, [this](const HolderRecord& record) {
      const absl::StatusOr<std::string> state =
          hidden_ ? absl::StatusOr<std::string>(absl::NotFoundError("hidden")) : state_;
      return rule_(state, record.token,
                   {.wall = wall_, .since_boot = since_boot_, .boot = absl::StrCat("boot", boot_)});
    });
    while (arbiter.Step(absl::ZeroDuration()).action == Arbiter::Next::Action::kStep) {
    }
    const std::optional<Token> token = arbiter.token();
    (void)arbiter.TakeClaims();  // it ends, in whatever way
    Pass(1);
    if (!token.has_value()) return "";
    if (token->durable && token->value <= std::max(largest_, seen)) {
      return absl::StrCat("durable token ", token->value, " after ", std::max(largest_, seen));
    }
    if (!token->durable && seen != 0 && seen <= lost_) {
      // It goes on from a record of what was lost, and no state directory knows of it either.
      lost_ = std::max(lost_, token->value);
      return "";
    }
    // Not durable: no order is claimed, but a later one that is durable must be larger.
    largest_ = std::max(largest_, token->value);
    durable_ += token->durable ? 1 : 0;
    return "";
  }

  const std::string state_;
  const Rule rule_;
  std::array<Record, kLayers> records_;
  std::array<Record, kLayers> older_;
  std::vector<std::unique_ptr<ModelLayer>> layers_;
  std::uint64_t wall_ = 1'700'000'000 * kSecond;
  std::uint64_t since_boot_ = 5 * kSecond;
  int boot_ = 0;
  bool hidden_ = false;
  UniqueFd frozen_;
  std::string saved_;
  std::uint64_t largest_ = 0;  // token that was given out since the state directory was lost
  std::uint64_t lost_ = 0;     // the largest of before
  std::uint64_t durable_ = 0;  // how many were
};

struct Outcome {
  std::string broken;
  std::uint64_t durable = 0;
};

class Histories {
 public:
  explicit Histories(Rule rule) : rule_(std::move(rule)) {
    // In memory: a flush to a disk would take all the time.
    directory_ = "/dev/shm/soleguard-test-XXXXXX";
    if (mkdtemp(directory_.data()) == nullptr) throw std::runtime_error("mkdtemp " + directory_);
  }
  Histories(const Histories&) = delete;
  Histories& operator=(const Histories&) = delete;
  ~Histories() { fs::remove_all(directory_); }

  Outcome Run(const History& history) const {
    World world(directory_, rule_);
    for (std::size_t i = 0; i < history.size(); ++i) {
      std::string broken = world.Happen(history[i]);
      if (!broken.empty()) return {.broken = absl::StrCat("event ", i, ": ", broken)};
    }
    return {.durable = world.durable()};
  }

  // The same fault with as little as possible: events are left out, masks and amounts made small.
  History Shrunk(History history) const {
    const auto try_instead = [&](const History& smaller) {
      if (Run(smaller).broken.empty()) return false;
      history = smaller;
      return true;
    };
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = history.size(); i-- > 0;) {
        History smaller = history;
        smaller.erase(smaller.begin() + static_cast<std::ptrdiff_t>(i));
        if (try_instead(smaller)) {
          changed = true;
          continue;
        }
        for (const std::uint64_t amount : {std::uint64_t{1}, history[i].amount / 2}) {
          if (amount >= history[i].amount) continue;
          smaller = history;
          smaller[i].amount = amount;
          changed = try_instead(smaller) || changed;
        }
        for (unsigned bit = 0; bit < kLayers; ++bit) {
          smaller = history;
          smaller[i].which &= ~(1U << bit);
          if (smaller[i].which != history[i].which) changed = try_instead(smaller) || changed;
        }
      }
    }
    return history;
  }

  // The first of `count` that breaks the rule, shrunk; nullopt: none does.
  std::optional<History> FindBroken(int count, std::uint64_t seed,
                                    std::uint64_t* durable = nullptr) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < count; ++i) {
      const History history = SomeHistory(random);
      const Outcome outcome = Run(history);
      if (!outcome.broken.empty()) return Shrunk(history);
      if (durable != nullptr) *durable += outcome.durable;
    }
    return std::nullopt;
  }

  std::string Say(const History& history) const {
    return absl::StrCat(absl::StrJoin(history, "\n",
                                      [](std::string* out, const Event& event) {
                                        absl::StrAppend(out, soleguard::Say(event));
                                      }),
                        "\n", Run(history).broken);
  }

 private:
  std::string directory_;
  const Rule rule_;
};

Token ByTheCeiling(const absl::StatusOr<std::string>& state, std::uint64_t last,
                   const TokenClock& clock) {
  return NextTokenIn(state, World::scope(), *InstanceName::Parse("x"), last, clock);
}

void ExpectTheRuleIsKept(int count) {
  Histories histories(&ByTheCeiling);
  const std::uint64_t seed = std::random_device{}();
  std::uint64_t durable = 0;
  const std::optional<History> broken = histories.FindBroken(count, seed, &durable);
  EXPECT_FALSE(broken.has_value()) << "seed " << seed << "\n" << histories.Say(*broken);
  // Nothing is shown by tokens that claim nothing.
  EXPECT_GT(durable, static_cast<std::uint64_t>(count));
  std::cout << count << " histories, " << durable << " durable tokens\n";
}

// In parts, which run side by side.
class TokenHistoriesInParts : public ::testing::TestWithParam<int> {};
TEST_P(TokenHistoriesInParts, H41_ADurableTokenIsLargerThanAllBeforeIt) {
  ExpectTheRuleIsKept(5'000);
}
INSTANTIATE_TEST_SUITE_P(Part, TokenHistoriesInParts, ::testing::Range(1, 5));

TEST(TokenHistoriesSoakTest, H41_ADurableTokenIsLargerThanAllBeforeIt) {
  ExpectTheRuleIsKept(1'000'000);
}

// The rule of earlier versions: the record of this boot is believed. What broke it is found, and
// cut down to three events: a start, the clock is set back, and another that holds no layer of the
// first.
TEST(TokenHistories, H41_ARuleThatBelievesTheRecordsIsFoundOut) {
  Histories histories(
      [](const absl::StatusOr<std::string>& state, std::uint64_t last, const TokenClock& clock) {
        return Token{.value = std::max(last + 1, clock.wall), .durable = state.ok()};
      });
  const std::optional<History> broken = histories.FindBroken(20'000, /*seed=*/41);
  ASSERT_TRUE(broken.has_value());
  EXPECT_LE(broken->size(), 3U) << histories.Say(*broken);
}

}  // namespace
}  // namespace soleguard

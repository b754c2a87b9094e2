// Very many processes that start at the same moment, round after round: one wins. How many is
// tests/CMakeLists.txt's to say: fewer under a sanitizer, more under ctest --preset soak.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"
#include "support/claimant.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Claimant;

// Holds back whoever waits at it, until Open.
class Gate {
 public:
  explicit Gate(std::string path) : path_(std::move(path)) {
    if (mkfifo(path_.c_str(), 0600) != 0) throw std::runtime_error("mkfifo " + path_ + " failed");
    writer_ = UniqueFd(open(path_.c_str(), O_RDWR | O_CLOEXEC));
    if (!writer_) throw std::runtime_error("open " + path_ + " failed");
  }
  const std::string& path() const { return path_; }
  void Open() { writer_.reset(); }

 private:
  const std::string path_;
  UniqueFd writer_;
};

// `otherwise`, unless the environment says another number.
int SizeOf(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): one thread
  int value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

struct Rule {
  std::string name;
  std::string policy;
};
void PrintTo(const Rule& rule, std::ostream* out) { *out << rule.policy; }

class Storm : public ::testing::TestWithParam<Rule> {
 protected:
  void SetUp() override {
    // Each process is spoken to through three pipes, and Boost.Process has three more descriptors.
    constexpr rlim_t kPerProcess = 6;
    constexpr rlim_t kOwn = 64;
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlim_t needed = kOwn + kPerProcess * static_cast<rlim_t>(processes_);
    if (limit.rlim_cur >= needed) return;
    if (limit.rlim_max < needed) GTEST_SKIP() << "needs " << needed << " descriptors";
    limit.rlim_cur = needed;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }

  const int processes_ = SizeOf("SOLEGUARD_TEST_STORM_PROCESSES", SOLEGUARD_TEST_STORM_PROCESSES);
  const int rounds_ = SizeOf("SOLEGUARD_TEST_STORM_ROUNDS", SOLEGUARD_TEST_STORM_ROUNDS);
  const testing::TempDir directory_;
};

TEST_P(Storm, H01_OneIsUniqueAndAllOthersAreDuplicatesOfIt) {
  for (int round = 0; round < rounds_; ++round) {
    Gate gate(directory_ / absl::StrCat("gate.", round));
    std::vector<Claimant> claimants;
    for (int i = 0; i < processes_; ++i) {
      claimants.emplace_back(Claimant::Setup{
          .scope = directory_ / "scope", .policy = GetParam().policy, .gate = gate.path()});
    }
    for (Claimant& claimant : claimants) claimant.WaitUntilAtGate();
    gate.Open();

    std::map<std::string, int> verdicts;
    std::string refused;
    for (Claimant& claimant : claimants) {
      if (claimant.unique()) {
        refused = absl::StrCat("duplicate ", claimant.pid(), " established");
        ++verdicts["unique"];
      } else {
        ++verdicts[claimant.verdict()];
      }
    }
    EXPECT_EQ(verdicts, (std::map<std::string, int>{{"unique", 1}, {refused, processes_ - 1}}))
        << "round " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, Storm,
                         ::testing::Values(Rule{"File", "file"}, Rule{"Mutex", "mutex"},
                                           Rule{"Port", "port"},
                                           Rule{"FileAndScan", "all(file, scan)"}),
                         [](const auto& rule) { return rule.param.name; });

}  // namespace
}  // namespace soleguard

// A command that is told of events can be slow, hang, die or be missing: its teller goes on.
#include "watcher/event_hook.h"

#include <signal.h>
#include <sys/wait.h>

#include <fstream>
#include <iterator>
#include <string>

#include <absl/time/time.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"
#include "support/temp_dir.h"

namespace guardcheck {
namespace {

class EventHookTest : public ::testing::Test {
 protected:
  EventHookTest() { (void)signal(SIGPIPE, SIG_IGN); }
  std::string file() const { return directory_ / "got"; }
  std::string Got() const {
    std::ifstream in(file());
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // A shell that appends to the file what `read` gives it.
  std::vector<std::string> Shell(const std::string& script) const {
    return {"sh", "-c", script, "sh", file()};
  }

 private:
  const soleguard::testing::TempDir directory_;
};

TEST_F(EventHookTest, C8_GetsEachEventAsALine) {
  EventHook hook(Shell("cat > \"$1\""));
  ASSERT_TRUE(hook.Begin().ok());
  hook.Send("one");
  hook.Send("two");
  hook.Finish(absl::Minutes(1));
  EXPECT_EQ(Got(), "one\ntwo\n");
  EXPECT_EQ(hook.dropped(), 0U);
}

TEST_F(EventHookTest, C8_OneThatHangsBlocksNobodyAndWhatIsDroppedIsCounted) {
  EventHook hook({"sleep", "1000"});
  ASSERT_TRUE(hook.Begin().ok());
  constexpr std::size_t kEvents = 3000;  // a pipe takes 65,536 bytes, the queue a thousand
  for (std::size_t i = 0; i < kEvents; ++i) hook.Send(std::string(199, 'x'));
  EXPECT_GE(hook.dropped(), kEvents - EventHook::kMaxQueued - 65536 / 200 - 1);
  EXPECT_GE(hook.input(), 0) << "there is more to write";
  hook.Finish(absl::ZeroDuration());  // kills it
  EXPECT_EQ(hook.input(), -1);
}

TEST_F(EventHookTest, C8_OneThatEndsIsStartedAgainForTheNextEvent) {
  EventHook hook(Shell("read -r line && echo \"$line\" >> \"$1\""));
  ASSERT_TRUE(hook.Begin().ok());
  hook.Send("one");
  siginfo_t ended = {};  // the only child; left for the hook to reap
  ASSERT_EQ(waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(Got(), "one\n");
  hook.Send("two");
  EXPECT_LE(hook.due(), absl::Seconds(1));
  EXPECT_EQ(Got(), "one\n");
  // As its teller does, which polls for other things meanwhile.
  while (hook.due() != absl::InfiniteDuration()) {
    (void)soleguard::WaitForAny({}, hook.due());
    hook.Pump();
  }
  hook.Finish(absl::Minutes(1));
  EXPECT_EQ(Got(), "one\ntwo\n");
}

TEST_F(EventHookTest, C8_OneThatTheKernelHasReapedIsStartedAgainToo) {
  (void)signal(SIGCHLD, SIG_IGN);
  EventHook hook(Shell("read -r line && echo \"$line\" >> \"$1\""));
  ASSERT_TRUE(hook.Begin().ok());
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  for (int i = 0; Got().find("two") == std::string::npos && absl::Now() < deadline; ++i) {
    hook.Send(i == 0 ? "one" : "two");
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_TRUE(Got().starts_with("one\n")) << Got();
  EXPECT_NE(Got().find("two"), std::string::npos) << Got();
  hook.Finish(absl::Seconds(1));
  (void)signal(SIGCHLD, SIG_DFL);
}

TEST_F(EventHookTest, C8_OneThatIsMissingIsAnErrorAtOnce) {
  EventHook hook({"/nonexistent/alert"});
  const absl::Status begun = hook.Begin();
  EXPECT_FALSE(begun.ok());
  EXPECT_NE(begun.message().find("/nonexistent/alert"), absl::string_view::npos);
}

}  // namespace
}  // namespace guardcheck

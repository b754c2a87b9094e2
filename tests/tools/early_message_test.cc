// Not yet is not never: a message for a holder that does not take messages yet.
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/options.h"
#include "soleguard/send.h"
#include "support/child.h"
#include "support/claimant.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;

// What a busy machine may add.
constexpr absl::Duration kScheduling = absl::Seconds(20);

class H1_MessageBeforeReady : public ::testing::Test {
 protected:
  // It watches for what it waits for: from then on nothing that happens is missed.
  static bool Watches(pid_t pid) {
    std::error_code gone;
    for (const auto& entry :
         std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"), gone)) {
      std::error_code closed;
      if (std::filesystem::read_symlink(entry.path(), closed) == "anon_inode:inotify") return true;
    }
    return false;
  }
  static void AwaitWatch(pid_t pid) {
    while (!Watches(pid) && !HasEnded(pid)) std::this_thread::yield();
  }
  static bool HasEnded(pid_t pid) { return StateOf(pid) == 'Z' || StateOf(pid) == '-'; }
  Program Send(const Words& options) const {
    return Program({.argv = guardcheck_.Argv(Words{"send", "x"} + options + Words{"--", "hello"})});
  }
  Options Looking() const { return {.scope = *Scope::Directory(guardcheck_.scope())}; }

  const Guardcheck guardcheck_;
};

TEST_F(H1_MessageBeforeReady, H50_IsDeliveredOnceTheHolderTakesMessages) {
  Claimant holder({.scope = guardcheck_.scope()});
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Program sender = Send({"--timeout", "120s"});
  AwaitWatch(sender.pid());
  const absl::Time before = absl::Now();
  EXPECT_EQ(holder.Ask("receive"), "receives");
  EXPECT_EQ(sender.Wait(), 0) << sender.Errors();
  EXPECT_LT(absl::Now() - before, kScheduling) << "it was woken, and did not look again by chance";
  EXPECT_EQ(holder.Ask("messages"), "1");
}

TEST_F(H1_MessageBeforeReady, H50_TheHoldersEndEndsTheWait) {
  Claimant holder({.scope = guardcheck_.scope()});
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Program sender = Send({"--timeout", "120s"});
  AwaitWatch(sender.pid());
  const absl::Time before = absl::Now();
  holder.program().Signal(SIGKILL);
  EXPECT_EQ(sender.Wait(), 3) << sender.Errors();
  EXPECT_LT(absl::Now() - before, kScheduling);
}

TEST_F(H1_MessageBeforeReady, H50_IsRefusedWhenTheSendersTimeIsOverAndThatIsSaid) {
  Claimant holder({.scope = guardcheck_.scope()});
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Program sender = Send({"--timeout", "300ms"});
  EXPECT_EQ(sender.Wait(), 75);
  EXPECT_THAT(sender.Errors(),
              HasSubstr(absl::StrCat("pid ", holder.pid(), ", takes no messages (waited ")));
}

// A run without --on-message says so: nobody waits for what will not come.
TEST_F(H1_MessageBeforeReady, H50_AHolderThatNeverWillIsRefusedAtOnce) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const absl::Time before = absl::Now();
  const Finished sent = guardcheck_.Call({"send", "x", "--timeout", "120s"});
  EXPECT_EQ(sent.code, 75);
  EXPECT_THAT(sent.errors, HasSubstr("takes no messages"));
  EXPECT_LT(absl::Now() - before, kScheduling);
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(H1_MessageBeforeReady, H50_AProgramThatSaidSoCannotTakeThemLater) {
  Options options = Looking();
  options.takes_messages = false;
  Verdict verdict = Guard::Acquire("x", options);
  ASSERT_TRUE(std::holds_alternative<Unique>(verdict));
  Guard& guard = std::get<Unique>(verdict).guard;
  EXPECT_FALSE(guard.record().takes_messages);
  EXPECT_TRUE(absl::IsFailedPrecondition(
      guard.Receive([](const Sender&, const Message&) { return Answer{}; })));
  const auto inspection = Inspect("x", Policy::Default(), options);
  EXPECT_FALSE(inspection->holder()->record->takes_messages);
}

// Of two starts at the same time one has the name, and gets the other's words.
TEST_F(H1_MessageBeforeReady, H50_OfTwoStartsAtOnceOneGetsTheOthersWords) {
  const std::string answer = guardcheck_.directory() / "answer";
  (void)RunProgram({.argv = {"sh", "-c",
                             absl::StrCat("printf '#!/bin/sh\\ncat > /dev/null; echo shown\\n' > ",
                                          answer, " && chmod 700 ", answer)}});
  for (int round = 0; round < 5; ++round) {
    const std::string name = absl::StrCat("x", round);
    const auto start = [&] {
      return Program(
          {.argv = guardcheck_.Argv({"run", name, "--on-message", answer, "--forward=60s",
                                     "--settle", "60s", "--deadline", "60s", "--", "sh", "-c",
                                     "echo runs; read -r line", "viewer"})});
    };
    Program first = start();
    Program second = start();
    // The one that is refused ends with the answer.
    std::optional<std::string> lines[] = {first.ReadLine(), second.ReadLine()};
    EXPECT_THAT(lines, ::testing::UnorderedElementsAre("runs", "shown")) << first.Errors();
    for (Program* program : {&first, &second}) program->CloseInput();
    EXPECT_EQ(first.Wait() + second.Wait(), 1) << "1 of read, 0 of the one that was refused";
  }
}

}  // namespace
}  // namespace soleguard::testing

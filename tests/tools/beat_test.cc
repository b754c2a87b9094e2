// beat, and run --beat-every: an instance that hangs is seen, and its name is taken by nobody for
// that. FIELD_CASES D4.
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Beats : public ::testing::Test {
 protected:
  // For a shell: a beat of x.
  std::string BeatOf(const std::string& options = "") const {
    return absl::StrCat(absl::StrJoin(guardcheck_.Argv({"beat", "x"}), " "), " ", options);
  }
  // A run of x that beats for each line that it reads, and answers with the exit code.
  Program Start(const Words& options, const std::string& beat_options = "") const {
    Program run({.argv = guardcheck_.Run(
                     {"sh", "-c",
                      "echo $$; while read line; do " + BeatOf(beat_options) + "; echo $?; done"},
                     options)});
    (void)run.ReadLine();
    return run;
  }
  static std::string Beat(Program& run) {
    run.WriteLine("beat");
    return run.ReadLine().value_or("the end");
  }
  boost::json::value LastBeat() const {
    const boost::json::object status =
        ParseObject(guardcheck_.Call({"status", "x", "--json"}).output);
    const boost::json::value* const beat = status.at("holder").as_object().if_contains("beat");
    return beat != nullptr ? *beat : boost::json::value();
  }
  std::string History() const { return guardcheck_.Call({"history", "x"}).output; }
  // One that begins to hang at once, and the line that says so.
  Program Hanging(const Words& options) const {
    Program run(
        {.argv = guardcheck_.Run({"sleep", "1000"}, Words{"--beat-every=100ms"} + options)});
    EXPECT_THAT(run.ReadErrorLine().value_or(""),
                ContainsRegex("^guardcheck: x: seems to hang: no beat for [0-9.]*m?s "
                              "\\(expected every 100ms\\)"));
    return run;
  }

  const Guardcheck guardcheck_;
};

TEST_F(Beats, ALookAndARefusalSayHowOldTheLastIs) {
  Program run = Start({}, "--every=1h");
  EXPECT_EQ(LastBeat(), boost::json::value());
  EXPECT_EQ(Beat(run), "0");
  EXPECT_EQ(Beat(run), "0");
  const boost::json::object beat = LastBeat().as_object();
  EXPECT_EQ(beat.at("count"), 2);
  EXPECT_EQ(beat.at("every_seconds").to_number<double>(), 3600);
  EXPECT_EQ(beat.at("overdue"), false);
  const std::string said = "  beat +[0-9.]+m?s ago \\(expected every 1h\\)\n";
  EXPECT_THAT(guardcheck_.Call({"status", "x"}).output, ContainsRegex(said));
  EXPECT_THAT(guardcheck_.Call({"check", "x"}).output, ContainsRegex(said));
  EXPECT_THAT(guardcheck_.CallRun({"true"}).errors, ContainsRegex(said));
  EXPECT_THAT(guardcheck_.CallRun({"true"}, {"--brief"}).errors,
              AllOf(Not(HasSubstr("no beat")), Not(HasSubstr("expected every"))));
}

TEST_F(Beats, D4_OneThatIsOverdueIsSaidAndNobodyGetsTheNameForThat) {
  const Program run = Hanging({});
  const std::string said = "no beat for [0-9.]+m?s \\(expected every 100ms\\)";
  const Finished refused = guardcheck_.CallRun({"true"});
  EXPECT_EQ(refused.code, 75);
  EXPECT_THAT(refused.errors, ContainsRegex("  beat +" + said));
  EXPECT_THAT(guardcheck_.CallRun({"true"}, {"--brief"}).errors, ContainsRegex(", " + said));
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 0);
  EXPECT_EQ(LastBeat().as_object().at("overdue"), true);
  EXPECT_THAT(guardcheck_.Call({"list"}).output, ContainsRegex("\n  overdue +" + said + "\n"));
  EXPECT_THAT(History(), ContainsRegex("seems to hang: " + said));
}

TEST_F(Beats, ThatItGetsOnAgainIsSaidToo) {
  Program run = Start({"--beat-every=2s"});
  EXPECT_THAT(run.ReadErrorLine().value_or(""),
              AllOf(HasSubstr("seems to hang"), HasSubstr("does it call guardcheck beat?"),
                    HasSubstr("--on-no-beat=stop ends it")));
  EXPECT_EQ(Beat(run), "0");
  EXPECT_THAT(run.ReadErrorLine().value_or(""), HasSubstr("x: beats again: "));
  EXPECT_THAT(History(), AllOf(HasSubstr("seems to hang"), HasSubstr("beats again")));
}

TEST_F(Beats, OneThatBeatsIsLeftAlone) {
  const Finished run = guardcheck_.CallRun(
      {"sh", "-c",
       "i=0; while [ $i -lt 70 ]; do " + BeatOf() + "; sleep 0.1; i=$((i + 1)); done; exit 5"},
      {"--beat-every=3s", "--on-no-beat=stop"});
  EXPECT_EQ(run.code, 5);
  EXPECT_EQ(run.errors, "");
}

TEST_F(Beats, D4_OneThatHangsIsEndedWithAllThatItStartedIfThatIsAskedFor) {
  Program run({.argv = guardcheck_.Run({"sh", "-c", "sleep 1000 & echo $!; wait"},
                                       {"--beat-every=5s", "--on-no-beat=stop"})});
  const ProcessIdentity child = *IdentityOf(std::stoi(run.ReadLine().value()));
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_EQ(LivenessOf(child), Liveness::kGone);
  EXPECT_THAT(run.Errors(), HasSubstr("gives no beat (--on-no-beat=stop); ending the command"));
  EXPECT_THAT(History(), HasSubstr("it was ended because it gave no beat (--on-no-beat=stop)"));
}

// Only for somebody who is there: it may get on.
TEST_F(Beats, D4_OneThatHangsMakesWayForAStartThatWaits) {
  Program run = Hanging({"--on-no-beat=replace-me"});
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 75);
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 0);
  const Finished next = guardcheck_.CallRun({"echo", "started"}, {"--wait"});
  EXPECT_EQ(next.code, 0);
  EXPECT_EQ(next.output, "started\n");
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_THAT(run.Errors(), HasSubstr("gives no beat, and another start waits "
                                      "(--on-no-beat=replace-me); ending the command"));
}

// As a paused container does. (The time passes: that is what the case is.)
TEST_F(Beats, TheTimeInWhichItIsStoppedWithGuardcheckDoesNotCount) {
  Program run(
      {.argv = guardcheck_.Run({"sh", "-c", "echo $$; read line; " + BeatOf() + "; echo $?"},
                               {"--beat-every=4s", "--on-no-beat=stop"})});
  const ProcessIdentity command = *IdentityOf(std::stoi(run.ReadLine().value()));
  ASSERT_TRUE(SendSignal(command, SIGSTOP).ok());
  run.Signal(SIGSTOP);
  run.WaitUntilStopped();
  const timespec longer_than_it_may = {.tv_sec = 9, .tv_nsec = 0};
  (void)nanosleep(&longer_than_it_may, nullptr);
  ASSERT_TRUE(SendSignal(command, SIGCONT).ok());
  run.Signal(SIGCONT);
  EXPECT_EQ(Beat(run), "0");
}

// What it has left is being ended then, and it has its own exit code.
TEST_F(Beats, ACommandThatHasEndedIsNotMissed) {
  const Finished run = guardcheck_.CallRun({"sh", "-c", "(trap '' TERM; exec sleep 1000) & exit 5"},
                                           {"--beat-every=2s", "--on-no-beat=stop", "--grace=6s"});
  EXPECT_EQ(run.code, 5);
  EXPECT_THAT(run.errors, Not(HasSubstr("gives no beat")));
}

// A program of the library that starts guardcheck has no variables that say which slot it has.
TEST_F(Beats, AChildOfAnInstanceBeatsForThatOnesSlot) {
  Program first = Start({"--slots=2"});
  Program run(
      {.argv = guardcheck_.Run({"sh", "-c",
                                "echo $$; read line; env -u SOLEGUARD_NAME -u SOLEGUARD_SLOT " +
                                    BeatOf() + "; echo $?; read line"},
                               {"--slots=2"})});
  (void)run.ReadLine();
  EXPECT_EQ(Beat(run), "0");
  const auto slots = ParseObject(guardcheck_.Call({"status", "x", "--json"}).output).at("slots");
  EXPECT_FALSE(slots.at(0).at("holder").as_object().contains("beat"));
  EXPECT_TRUE(slots.at(1).at("holder").as_object().contains("beat"));
}

TEST_F(Beats, ABeatOfAnybodyElseWouldSayNothing) {
  EXPECT_EQ(guardcheck_.Call({"beat", "x"}).code, 3);
  Program run = Start({});
  const Finished stranger = guardcheck_.Call({"beat", "x"});
  EXPECT_EQ(stranger.code, 75);
  EXPECT_THAT(stranger.errors, HasSubstr("and this process does not belong to it"));
  EXPECT_EQ(LastBeat(), boost::json::value());
  // What an earlier instance has left running learns that the name is another one's.
  const auto with_token = [this](const std::string& name, const std::string& token) {
    return guardcheck_.Call({"beat", "x"}, {{"SOLEGUARD_NAME", name}, {"SOLEGUARD_TOKEN", token}})
        .code;
  };
  const std::string token =
      absl::StrCat(ParseObject(guardcheck_.Call({"status", "x", "--json"}).output)
                       .at("holder")
                       .at("record")
                       .at("token")
                       .to_number<std::uint64_t>());
  EXPECT_EQ(with_token("x", "1"), 75);
  EXPECT_EQ(with_token("y", token), 75) << "of another name";
  EXPECT_EQ(with_token("x", token), 0);
}

TEST_F(Beats, EachSlotHasItsOwn) {
  Program first = Start({"--slots=2"}, "--every=1h");
  Program second = Start({"--slots=2"}, "--every=1h");
  EXPECT_EQ(Beat(second), "0");
  const auto slots = ParseObject(guardcheck_.Call({"status", "x", "--json"}).output).at("slots");
  EXPECT_FALSE(slots.at(0).at("holder").as_object().contains("beat"));
  EXPECT_TRUE(slots.at(1).at("holder").as_object().contains("beat"));
}

TEST_F(Beats, ItsJsonSaysWhatWasNoted) {
  Program run = Start({}, "--every=10s --json");
  run.WriteLine("beat");
  const boost::json::object said = ParseObject(run.ReadLine().value_or(""));
  EXPECT_EQ(said.at("noted"), true);
  EXPECT_EQ(said.at("slot"), 0);
  EXPECT_EQ(said.at("beat").at("every_seconds").to_number<double>(), 10);
  EXPECT_EQ(run.ReadLine(), "0");
  const boost::json::object refused = ParseObject(guardcheck_.Call({"beat", "x", "--json"}).output);
  EXPECT_EQ(refused.at("noted"), false);
  EXPECT_THAT(std::string(refused.at("reason").as_string()), StartsWith("x is held by pid "));
}

TEST_F(Beats, WhereItCannotBeNotedThatIsSaid) {
  Program run = Start({});
  ASSERT_EQ(mkdir(guardcheck_.Object("x", "beat").c_str(), 0700), 0);
  EXPECT_EQ(Beat(run), "69");
  EXPECT_THAT(run.ReadErrorLine().value_or(""),
              AllOf(StartsWith("guardcheck: no beat was noted: "), HasSubstr("/names/x/beat")));
}

TEST_F(Beats, Mistakes) {
  const auto says = [this](const Words& options, const std::string& what) {
    const Finished run = guardcheck_.CallRun({"true"}, options);
    EXPECT_EQ(run.code, 64);
    EXPECT_THAT(run.errors, HasSubstr(what));
  };
  says({"--beat-every=1ms"}, "expected 100ms or more, found '1ms'");
  says({"--beat-every=often"}, "found 'often'");
  says({"--beat-every=10s", "--on-no-beat=kill"},
       "expected warn, stop or replace-me, found 'kill'");
  says({"--beat-every=10s", "--exec"}, "--exec and --beat-every exclude each other");
  says({"--on-no-beat=stop"}, "--on-no-beat needs --beat-every");
}

}  // namespace
}  // namespace soleguard::testing

// launch_storm: many starts of one program at the same time, round after round, and a referee that
// sees to it that never two run.
//
// Each round starts all its processes (this very program again), waits until they stand at a
// barrier, opens it for all at once, and waits for every one of them to end. The processes ask
// soleguard; the referee does not. What it knows it has from shared memory, in which every winner
// marks when it runs (board.h), from the kernel (system_linux.h) and from exit codes.
//
// A winner is a launch that believes that it is the only instance: under --mode library its own
// process from the verdict until it gives back its claim, under --mode command the guarded command
// from its first line to its last. It overlaps another one when it begins while that one is marked
// as running and, by the kernel, can still execute its program. So a winner that was killed has
// ended when it has, whatever the mark says, and one that was stopped has not.
//
// The rules. Always:
//   overlaps         no winner begins while another one runs.
//   without_winner   each round has a winner: somebody could run, so somebody does.
//   wrong_refusals   a refused launch was told of a process that had won, and that had not ended
//                    before this one asked.
//   undetermined     no launch is told that nobody can tell: here all layers work, and whoever is
//                    waited for settles or dies.
//   unfinished       every launch gets a verdict and ends as its verdict says, within --limit, and
//                    leaves no process behind.
//   lost_claims      at the end of its hold a winner's Guard::Verify is OK (--mode library; not
//                    under --unlink, where it has to say what was lost).
// By mode:
//   - Without --hold a winner holds until all have their verdict. So each round has exactly one
//     (second_winners).
//   - With --hold DURATION or --kill, who asks after the winner's end may win in its turn. Several
//     winners, one after another, are right then; overlaps are not.
//   - --kill ends each winner by SIGKILL (under --mode command the command, the wrapper or the
//     guardian, by chance). Who asks meanwhile waits until it is gone, and runs.
//   - --freeze stops the winner, lets the other half of the launches ask, and lets it go on when
//     all were refused. A stopped holder holds.
//   - --unlink deletes files of the name's directory while it is held. Nobody else gets in, and the
//     refused are told of the holder all the same.
//   - --linger: a refused process that lives on keeps nobody from starting, also under `scan`.
//   - --standby: nobody is refused, and all launches win, one after another.
//
// Exit codes: 0 no violation, 1 a violation, 64 usage, 70 internal error, 130 interrupted.
#include <cstdio>
#include <exception>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <absl/strings/str_format.h>

#include "options.h"
#include "participant.h"
#include "report.h"
#include "round.h"
#include "system_linux.h"

namespace launch_storm {
namespace {

const char* NameOf(Mode mode) {
  switch (mode) {
    case Mode::kLibrary:
      return "Guard::Acquire";
    case Mode::kCommand:
      return "guardcheck run";
    case Mode::kFlock:
      return "flock -n";
    case Mode::kBroken:
      break;
  }
  return "no guard";
}

int Run(const Settings& settings) {
  RaiseLimits();
  ComeFirst();
  AdoptOrphans();
  HandleSignals();
  std::mt19937_64 random(settings.seed);
  PrintHead(settings);

  std::vector<Mode> modes = {settings.mode};
  if (settings.compare_flock) modes.push_back(Mode::kFlock);
  std::vector<Tally> tallies;
  for (const Mode mode : modes) tallies.push_back({.name = NameOf(mode)});
  Progress progress(settings.rounds);
  for (std::uint32_t round = 0; round < settings.rounds; ++round) {
    // In turn, and each round begins with another one.
    for (std::size_t i = 0; i < modes.size(); ++i) {
      const std::size_t turn = (round + i) % modes.size();
      tallies[turn].rounds.push_back(RunRound(settings, modes[turn], random));
      progress.Add(round + 1, tallies[turn].name, tallies[turn].rounds.back());
    }
  }
  progress.End();

  PrintTable(tallies);
  if (!settings.json.empty()) WriteJson(settings, tallies);
  for (const Tally& tally : tallies) {
    if (tally.violations().sum() > 0) return kViolation;
  }
  return kClean;
}

int Main(int argc, char** argv) {
  const std::string part = argc == 3 ? argv[1] : "";
  if (part == kContend) return Contend(argv[2]);
  if (part == kHold) return Hold(argv[2]);
  const std::optional<Settings> settings = ParseOptions(argc, argv);
  return settings.has_value() ? Run(*settings) : kClean;
}

}  // namespace
}  // namespace launch_storm

int main(int argc, char** argv) {
  try {
    return launch_storm::Main(argc, argv);
  } catch (const launch_storm::UsageError& error) {
    absl::FPrintF(stderr, "launch_storm: %s\n", error.what());
    return launch_storm::kUsage;
  } catch (const launch_storm::Interrupted&) {
    absl::FPrintF(stderr, "\nlaunch_storm: interrupted; everything that it started was ended\n");
    return launch_storm::kInterrupted;
  } catch (const std::exception& error) {
    absl::FPrintF(stderr, "launch_storm: %s\n", error.what());
    return launch_storm::kInternal;
  }
}

#include "round.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "board.h"
#include "launcher.h"
#include "participant.h"
#include "refusal.h"
#include "soleguard/process.h"
#include "system_linux.h"

namespace launch_storm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMicrosecond = 1000;
constexpr std::int64_t kMillisecond = 1000 * kMicrosecond;
constexpr std::int64_t kSecond = 1000 * kMillisecond;
constexpr std::int64_t kToStart = 300 * kSecond;  // all processes of a round
constexpr std::int64_t kToEnd = 10 * kSecond;     // what a killed guard leaves to its guardian

// What a signal handler may touch.
std::atomic<bool> interrupted = false;
std::atomic<Bell*> bell_of_round = nullptr;

extern "C" void OnSignal(int signal) {
  const int error = errno;
  if (signal != SIGCHLD) interrupted = true;
  if (Bell* bell = bell_of_round.load()) bell->Ring();
  errno = error;
}

// The directory of a round: scope, state directory, what the commands print.
class Directory {
 public:
  explicit Directory(const std::string& parent) : path_(parent + "/launch_storm-XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) {
      throw std::system_error(errno, std::system_category(), "mkdtemp " + path_);
    }
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;  // at worst a directory stays
    fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string name() const { return fs::path(path_).filename(); }

 private:
  std::string path_;
};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Round {
 public:
  Round(const Settings& settings, Mode mode, std::mt19937_64& random)
      : settings_(settings),
        mode_(mode),
        random_(random),
        began_(std::time(nullptr)),
        directory_(settings.directory),
        board_(Board::Create(directory_.name() + ".board", settings.launches)),
        launches_(settings.launches),
        // Of each round, 10 us to 100 ms: hand-overs in quick succession, and few of them.
        scale_(static_cast<std::int64_t>(1e4 * std::pow(10.0, Uniform(0.0, 4.0)))) {
    bell_of_round = &board_.head().bell;
  }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;
  ~Round() {
    EndEverything();
    bell_of_round = nullptr;
    std::set<std::int64_t> pids;
    for (const auto& [pid, slot] : slot_of_) pids.insert(pid);
    RemoveKernelObjects(directory_.path(), pids, began_);
  }

  RoundResult Run() {
    Prepare();
    Start();
    OpenWave(0);
    deadline_ = Now() + absl::ToInt64Nanoseconds(settings_.limit);
    while (!Over()) {
      const std::uint32_t count = head().bell.count();
      (void)Reap();
      Disturb();
      LetGo();
      if (Over()) break;
      if (interrupted) throw Interrupted();
      if (Now() >= deadline_) break;
      // Also without an event: one verdict of a process that died has nobody to ring for it.
      head().bell.Wait(count, std::min({NextDisturbance(), deadline_, Now() + 100 * kMillisecond}));
    }
    Judge();
    return std::move(result_);
  }

 private:
  // What the referee knows of a launch, beside what stands in its slot.
  struct Launch {
    std::int64_t pid = 0;
    std::int64_t reaped = 0;
    int status = 0;
    bool killed = false;
  };
  enum class Freeze { kNotYet, kAsked, kStopped, kOver };

  Head& head() { return board_.head(); }
  Slot& slot(std::uint32_t i) { return board_.slots()[i]; }
  double Uniform(double from, double to) {
    return std::uniform_real_distribution<double>(from, to)(random_);
  }
  std::int64_t Soon() {
    return Now() + static_cast<std::int64_t>(Uniform(0.0, 1.0) * static_cast<double>(scale_));
  }

  void Prepare();
  void Start();
  void OpenWave(int wave);
  // False once there are no children at all.
  bool Reap();
  void NoteEnd(std::uint32_t i, int status);
  void LetGo();
  bool Over() const { return ended_ == settings_.launches; }
  std::uint32_t Verdicts() { return head().verdicts.load() + silent_; }
  bool WinnersHaveEnded();

  void Disturb();
  std::int64_t NextDisturbance() const {
    return std::min({next_kill_, next_freeze_, next_unlink_});
  }
  void KillWinners();
  void FreezeWinner();
  void UnfreezeWinner();
  void Unlink();

  void EndEverything();

  void Judge();
  void JudgeLaunch(std::uint32_t i);
  void JudgeRefusal(std::uint32_t i);
  void JudgeIntervals();
  void Find(std::uint64_t& counter, const std::string& what) {
    ++counter;
    result_.findings.push_back(what);
  }
  std::string Name(std::uint32_t i) {
    return absl::StrCat("launch ", i, " (pid ", launches_[i].pid, ")");
  }
  bool HasWon(std::uint32_t i) { return slot(i).begin.load() != 0; }

  static constexpr std::int64_t kNever = INT64_MAX;

  const Settings& settings_;
  const Mode mode_;
  std::mt19937_64& random_;
  const std::time_t began_;
  const Directory directory_;
  Board board_;
  std::vector<Launch> launches_;
  std::map<std::int64_t, std::uint32_t> slot_of_;  // by pid
  std::uint32_t ended_ = 0;
  std::uint32_t silent_ = 0;  // verdicts that show in nothing but an exit code
  std::int64_t opened_[2] = {};
  std::int64_t deadline_ = 0;

  const std::int64_t scale_;
  std::uint32_t winners_seen_ = 0;
  std::map<std::uint32_t, std::int64_t> kills_;  // when, by slot
  std::set<std::uint32_t> doomed_;               // slots that were once in kills_
  std::int64_t next_kill_ = kNever;
  Freeze freeze_ = Freeze::kNotYet;
  std::int64_t next_freeze_ = kNever;
  std::vector<Stamp> frozen_;
  std::int64_t frozen_pid_ = 0;
  std::int64_t next_unlink_ = kNever;

  RoundResult result_;
};

void Round::Prepare() {
  Head& shared = head();
  shared.mode = mode_;
  shared.first_wave = settings_.freeze ? (settings_.launches + 1) / 2 : settings_.launches;
  shared.referee = getpid();
  shared.deadline = Now() + kToStart + absl::ToInt64Nanoseconds(settings_.limit);
  shared.hold = settings_.hold.has_value() ? absl::ToInt64Nanoseconds(*settings_.hold) : -1;
  shared.linger = settings_.linger;
  shared.standby = settings_.standby;
  shared.verify = !settings_.unlink;
  SetText(shared.directory, directory_.path());
  SetText(shared.guardcheck, settings_.guardcheck);
  SetText(shared.policy, settings_.policy);
}

void Round::Start() {
  Launcher launcher({kContend, board_.name()});
  for (std::uint32_t i = 0; i < settings_.launches; ++i) {
    launches_[i].pid = launcher.Start(kSlotVariable, std::to_string(i));
    slot_of_[launches_[i].pid] = i;
    if (interrupted) throw Interrupted();
  }
  const std::int64_t deadline = Now() + kToStart;
  while (head().arrived.load() < settings_.launches) {
    const std::uint32_t count = head().bell.count();
    (void)Reap();
    if (interrupted) throw Interrupted();
    if (ended_ > 0 || Now() >= deadline) {
      throw std::runtime_error(absl::StrCat("not all processes came to the barrier: ",
                                            ReadFile(directory_.path() + "/errors")));
    }
    head().bell.Wait(count, std::min(deadline, Now() + 100 * kMillisecond));
  }
}

void Round::OpenWave(int wave) {
  opened_[wave] = Now();
  head().waves[wave].Open();
}

bool Round::Reap() {
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
    const auto found = slot_of_.find(pid);
    if (WIFSTOPPED(status)) {
      if (pid == frozen_pid_ && freeze_ == Freeze::kAsked) freeze_ = Freeze::kStopped;
      continue;
    }
    // Others are orphans that were adopted: a killed wrapper's guardian.
    if (found != slot_of_.end() && launches_[found->second].reaped == 0) {
      NoteEnd(found->second, status);
    }
  }
  return pid == 0 || errno != ECHILD;
}

void Round::NoteEnd(std::uint32_t i, int status) {
  launches_[i].reaped = Now();
  launches_[i].status = status;
  ++ended_;
  const Stage stage = slot(i).stage.load();
  if (HasWon(i) || stage == Stage::kRefused || stage == Stage::kUndetermined) return;
  ++silent_;
  slot(i).verdict.store(launches_[i].reaped);
}

bool Round::WinnersHaveEnded() {
  for (std::uint32_t i = 0; i < settings_.launches; ++i) {
    if (slot(i).stage.load() == Stage::kRunning && launches_[i].reaped == 0) return false;
  }
  return true;
}

// Opens what is waited for once it is time.
void Round::LetGo() {
  if (settings_.freeze && opened_[1] == 0) {
    // Without anybody left to freeze the others start all the same.
    const bool nobody = Verdicts() >= head().first_wave && WinnersHaveEnded();
    if (freeze_ != Freeze::kStopped && !nobody) return;
    if (freeze_ == Freeze::kStopped) ++result_.frozen;
    OpenWave(1);
  }
  if (Verdicts() < settings_.launches) return;
  UnfreezeWinner();
  if (!settings_.kill) head().winners_end.Open();
  if (!head().everybody_ends.IsOpen() && WinnersHaveEnded()) head().everybody_ends.Open();
}

void Round::Disturb() {
  if (const std::uint32_t winners = head().winners.load(); winners != winners_seen_) {
    winners_seen_ = winners;
    for (std::uint32_t i = 0; i < settings_.launches; ++i) {
      if (slot(i).stage.load() != Stage::kRunning) continue;
      if (settings_.kill && doomed_.insert(i).second) kills_[i] = Soon();
      if (settings_.unlink && next_unlink_ == kNever) next_unlink_ = Soon();
      if (settings_.freeze && freeze_ == Freeze::kNotYet && next_freeze_ == kNever) {
        next_freeze_ = Soon();
      }
    }
  }
  if (settings_.kill) KillWinners();
  if (Now() >= next_freeze_) FreezeWinner();
  if (Now() >= next_unlink_) Unlink();
}

void Round::KillWinners() {
  next_kill_ = kNever;
  for (auto kill = kills_.begin(); kill != kills_.end();) {
    const std::uint32_t i = kill->first;
    if (Now() < kill->second) {
      next_kill_ = std::min(next_kill_, kill->second);
      ++kill;
      continue;
    }
    kill = kills_.erase(kill);
    if (slot(i).stage.load() != Stage::kRunning || launches_[i].reaped != 0) continue;
    std::vector<Stamp> targets = {slot(i).instance};
    if (mode_ == Mode::kCommand) {
      // The command, its guardian or the wrapper: whoever is left has to see to the rest.
      targets.push_back(slot(i).parent);
      if (const auto wrapper = StampOf(launches_[i].pid)) targets.push_back(*wrapper);
    }
    const std::size_t one =
        std::uniform_int_distribution<std::size_t>(0, targets.size() - 1)(random_);
    SignalProcess(targets[one], SIGKILL);
    launches_[i].killed = true;
    ++result_.killed;
  }
}

void Round::FreezeWinner() {
  next_freeze_ = kNever;
  for (std::uint32_t i = 0; i < settings_.launches; ++i) {
    if (slot(i).stage.load() != Stage::kRunning || launches_[i].reaped != 0) continue;
    const std::optional<Stamp> launched = StampOf(launches_[i].pid);
    if (!launched.has_value()) continue;
    frozen_pid_ = launches_[i].pid;
    frozen_ = {*launched};
    // The wrapper stops last: its stop is the one that is reported to this process.
    if (slot(i).instance != *launched) frozen_.insert(frozen_.begin(), slot(i).instance);
    freeze_ = Freeze::kAsked;
    for (const Stamp& process : frozen_) SignalProcess(process, SIGSTOP);
    return;
  }
}

void Round::UnfreezeWinner() {
  if (freeze_ == Freeze::kOver) return;
  freeze_ = Freeze::kOver;
  for (const Stamp& process : frozen_) SignalProcess(process, SIGCONT);
}

// Deletes the lock file, something else, or all there is in the name's directory.
void Round::Unlink() {
  if (Verdicts() >= settings_.launches) {
    next_unlink_ = kNever;
    return;
  }
  // One that never pauses would take a processor away from those who are watched.
  next_unlink_ = std::max(Soon(), Now() + kMillisecond);
  const fs::path directory = fs::path(directory_.path()) / "scope" / "names" / kInstanceName;
  std::vector<fs::path> files;
  std::error_code ignored;  // what somebody else deleted is deleted
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
    files.push_back(entry.path());
  }
  if (files.empty()) return;
  const int kind = std::uniform_int_distribution<int>(0, 2)(random_);
  if (kind == 0) files = {directory / "lock"};
  if (kind == 1) {
    std::swap(files[0],
              files[std::uniform_int_distribution<std::size_t>(0, files.size() - 1)(random_)]);
    files.resize(1);
  }
  for (const fs::path& file : files) {
    if (fs::remove_all(file, ignored) > 0) ++result_.deleted;
  }
}

// Whatever came before: nothing that was started is left.
void Round::EndEverything() {
  UnfreezeWinner();
  const auto kill_launched = [this] {
    for (const Launch& launch : launches_) {
      // Not waited for yet: the pid is its own.
      if (launch.pid != 0 && launch.reaped == 0)
        (void)kill(static_cast<pid_t>(launch.pid), SIGKILL);
    }
  };
  if (!Over()) kill_launched();
  // Guardians end what they guard, and then themselves. Only if they fail it is done for them.
  const std::int64_t deadline = Now() + kToEnd;
  while (true) {
    const std::uint32_t count = head().bell.count();
    if (!Reap()) return;
    if (Now() >= deadline) break;
    head().bell.Wait(count, std::min(deadline, Now() + 10 * kMillisecond));
  }
  for (std::set<std::int64_t> left = Children(); !left.empty(); left = Children()) {
    Find(result_.violations.unfinished,
         absl::StrCat(left.size(), " processes were still there after ", kToEnd / kSecond,
                      " s; the first is pid ", *left.begin()));
    for (const std::int64_t pid : left) (void)kill(static_cast<pid_t>(pid), SIGKILL);
    for (const std::int64_t pid : left) (void)waitpid(static_cast<pid_t>(pid), nullptr, 0);
  }
}

void Round::Judge() {
  const bool in_time = Over();
  if (!in_time) {
    std::uint32_t undecided = 0;
    for (std::uint32_t i = 0; i < settings_.launches; ++i) {
      if (slot(i).verdict.load() == 0) ++undecided;
    }
    Find(result_.violations.unfinished,
         absl::StrCat("not over after ", absl::FormatDuration(settings_.limit), ": ", undecided,
                      " launches without a verdict, ", settings_.launches - ended_, " not ended"));
  }
  EndEverything();
  for (std::uint32_t i = 0; i < settings_.launches; ++i) {
    if (const std::int64_t verdict = slot(i).verdict.load(); verdict != 0) {
      result_.verdicts.push_back(verdict - opened_[board_.WaveOf(i)]);
      result_.last_verdict = std::max(result_.last_verdict, verdict - opened_[0]);
    }
    if (in_time) JudgeLaunch(i);
  }
  JudgeIntervals();
  if (result_.winners == 0) Find(result_.violations.without_winner, "no winner");
  const bool all_win = settings_.standby && in_time;
  if (all_win && result_.winners < settings_.launches) {
    Find(result_.violations.without_winner,
         absl::StrCat("only ", result_.winners, " of all standbys had their turn"));
  }
  // The first one held until all had their verdict.
  const bool one_wins = !settings_.standby && !settings_.kill && !settings_.hold.has_value();
  if (one_wins && result_.winners > 1) {
    Find(result_.violations.second_winners, absl::StrCat(result_.winners, " winners"));
  }
  if (result_.violations.sum() > 0) {
    if (const std::string errors = ReadFile(directory_.path() + "/errors"); !errors.empty()) {
      result_.findings.push_back("a process printed: " + errors.substr(0, errors.find('\n')));
    }
  }
}

void Round::JudgeLaunch(std::uint32_t i) {
  const Launch& launch = launches_[i];
  const int code = WIFEXITED(launch.status) ? WEXITSTATUS(launch.status) : -1;
  if (HasWon(i)) {
    ++result_.winners;
    if (!launch.killed && code != 0) {
      Find(result_.violations.unfinished,
           absl::StrCat(Name(i), " won and ended with wait status ", launch.status));
    }
    if (slot(i).note[0] != '\0') {
      Find(result_.violations.lost_claims, absl::StrCat(Name(i), " held, and: ", slot(i).note));
    }
    return;
  }
  Stage stage = slot(i).stage.load();
  if (mode_ == Mode::kFlock && code == kFlockRefused) {
    ++result_.refused;  // flock(1) does not say by whom
    return;
  }
  if (mode_ == Mode::kCommand) {
    const Refusal refusal =
        ReadRefusal(code, ReadFile(absl::StrCat(directory_.path(), "/out.", i)));
    if (refusal.kind == Refusal::Kind::kDuplicate) stage = Stage::kRefused;
    if (refusal.kind == Refusal::Kind::kUndetermined) stage = Stage::kUndetermined;
    slot(i).cited.store(refusal.cited);
    SetText(slot(i).note, refusal.note);
  }
  if (stage == Stage::kRefused) {
    JudgeRefusal(i);
  } else if (stage == Stage::kUndetermined) {
    Find(result_.violations.undetermined,
         absl::StrCat(Name(i), " was told that nobody can tell: ", slot(i).note));
  } else {
    Find(result_.violations.unfinished,
         absl::StrCat(Name(i), " ended without a verdict, wait status ", launch.status));
  }
}

// A refusal must name a process that had won, and that had not ended before this one asked.
void Round::JudgeRefusal(std::uint32_t i) {
  ++result_.refused;
  const std::int64_t cited = slot(i).cited.load();
  bool known = false;
  for (std::uint32_t j = 0; j < settings_.launches && cited != 0; ++j) {
    if (!HasWon(j)) continue;
    if (cited != launches_[j].pid && cited != slot(j).instance.pid && cited != slot(j).parent.pid) {
      continue;
    }
    known = true;
    // A killed command's claim ends with its guardian, whose end is not seen here.
    const bool end_is_known = mode_ == Mode::kLibrary || !launches_[j].killed;
    const std::int64_t released =
        slot(j).released.load() != 0 ? slot(j).released.load() : launches_[j].reaped;
    if (end_is_known && slot(i).asked.load() > released) {
      Find(result_.violations.wrong_refusals,
           absl::StrCat(Name(i), " was refused because of ", Name(j),
                        ", which had ended before it asked: ", slot(i).note));
    }
  }
  if (!known) {
    Find(result_.violations.wrong_refusals,
         absl::StrCat(Name(i), " was refused because of pid ", cited,
                      ", which never ran: ", slot(i).note));
  }
}

void Round::JudgeIntervals() {
  std::vector<std::uint32_t> winners;
  for (std::uint32_t i = 0; i < settings_.launches; ++i) {
    if (HasWon(i)) winners.push_back(i);
  }
  const auto began_earlier = [this](std::uint32_t a, std::uint32_t b) {
    return std::pair(slot(a).begin.load(), a) < std::pair(slot(b).begin.load(), b);
  };
  std::sort(winners.begin(), winners.end(), began_earlier);
  if (!winners.empty()) result_.first_winner = slot(winners.front()).begin.load() - opened_[0];
  // Which one ran when another began. One that looked may have seen another that began later: then
  // that one marked itself between the clock and the mark of this one, and it is that one's begin
  // that was inside the other's run.
  std::vector<std::optional<std::uint32_t>> other(settings_.launches);
  for (const std::uint32_t i : winners) {
    const std::uint32_t seen = slot(i).overlapped.load();
    if (seen == 0) continue;
    const auto [earlier, later] = std::minmax({i, seen - 1}, began_earlier);
    other[later] = earlier;
  }
  // Of those before, the one that marked the latest end. (Who was killed marked none: there the
  // winners themselves have looked.)
  std::optional<std::uint32_t> last;
  for (const std::uint32_t i : winners) {
    if (!other[i].has_value() && last.has_value() &&
        slot(*last).end.load() > slot(i).begin.load()) {
      other[i] = last;
    }
    if (other[i].has_value()) {
      Find(result_.violations.overlaps,
           absl::StrCat(Name(i), " began while ", Name(*other[i]), " was still running"));
    }
    if (!last.has_value() || slot(*last).end.load() < slot(i).end.load()) last = i;
  }
}

}  // namespace

std::uint64_t Violations::sum() const {
  return overlaps + without_winner + second_winners + wrong_refusals + undetermined + unfinished +
         lost_claims;
}

Violations& Violations::operator+=(const Violations& other) {
  overlaps += other.overlaps;
  without_winner += other.without_winner;
  second_winners += other.second_winners;
  wrong_refusals += other.wrong_refusals;
  undetermined += other.undetermined;
  unfinished += other.unfinished;
  lost_claims += other.lost_claims;
  return *this;
}

RoundResult RunRound(const Settings& settings, Mode mode, std::mt19937_64& random) {
  return Round(settings, mode, random).Run();
}

void HandleSignals() {
  struct sigaction action = {};
  action.sa_handler = &OnSignal;
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) {
    if (sigaction(signal, &action, nullptr) != 0) {
      throw std::system_error(errno, std::system_category(), "sigaction");
    }
  }
}

}  // namespace launch_storm

#include "participant.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>

#include "board.h"
#include <soleguard/guard.h>
#include <soleguard/layer.h>
#include <soleguard/options.h>
#include <soleguard/policy.h>
#include <soleguard/process.h>
#include <soleguard/scope.h>

namespace launch_storm {
namespace {

std::uint32_t OwnSlot(Board& board) {
  // One thread.
  const char* text = std::getenv(kSlotVariable);  // NOLINT(concurrency-mt-unsafe)
  const unsigned long slot = text == nullptr ? board.head().launches : std::stoul(text);
  if (slot >= board.head().launches) throw std::runtime_error("started without a slot");
  return static_cast<std::uint32_t>(slot);
}

// Runs as the instance: marks its begin, looks whether another one runs, holds, marks its end.
//
// The order closes the gap: each marks kRunning first and looks at the others then (both
// sequentially consistent), so of two that overlap at least the later one sees the other.
void RunAsInstance(Board& board, std::uint32_t own) {
  Head& head = board.head();
  Slot& slot = board.slots()[own];
  slot.instance = OwnStamp();
  slot.parent = StampOf(getppid()).value_or(Stamp{});
  const std::int64_t begin = Now();
  slot.verdict.store(begin);
  slot.begin.store(begin);
  slot.stage.store(Stage::kRunning);
  for (std::uint32_t i = 0; i < head.launches; ++i) {
    const Slot& other = board.slots()[i];
    // One that was killed stays marked; then the kernel says whether it runs.
    if (i != own && other.stage.load() == Stage::kRunning && Runs(other.instance)) {
      slot.overlapped.store(i + 1);
      break;
    }
  }
  board.CountVerdict();
  head.winners.fetch_add(1);
  head.bell.Ring();
  const std::int64_t end = head.hold < 0 ? head.deadline : Now() + head.hold;
  (void)head.winners_end.Await(std::min(end, head.deadline));
  slot.end.store(Now());
  slot.stage.store(Stage::kEnded);
  head.bell.Ring();
}

void NoteVerdict(Board& board, Slot& slot, Stage stage, const std::string& note) {
  slot.verdict.store(Now());
  SetText(slot.note, note);
  slot.stage.store(stage);
  board.CountVerdict();
}

std::int64_t Cited(const soleguard::Holder& holder) {
  // Of an unknown holder the record is the last one that was written, by whomever.
  if (holder.standing != soleguard::Standing::kUnknown && holder.record.has_value()) {
    return holder.record->identity.pid;
  }
  return holder.processes.empty() ? 0 : holder.processes.front().pid;
}

std::string Describe(const soleguard::Duplicate& duplicate) {
  return absl::StrCat(duplicate.layers.empty() ? "no layer" : duplicate.layers.back().layer.c_str(),
                      ": ", std::string(ToString(duplicate.holder.standing)), ", ",
                      duplicate.holder.evidence);
}

soleguard::Options OptionsOf(const Head& head) {
  const std::string directory = head.directory;
  soleguard::Options options;
  options.scope =
      *soleguard::Scope::Directory(directory + "/scope")->WithStateDirectory(directory + "/state");
  return options;
}

void ActOn(soleguard::Verdict verdict, Board& board, std::uint32_t own) {
  Head& head = board.head();
  Slot& slot = board.slots()[own];
  if (auto* unique = std::get_if<soleguard::Unique>(&verdict)) {
    RunAsInstance(board, own);
    if (head.verify) {
      const absl::Status verified = unique->guard.Verify();
      if (!verified.ok()) SetText(slot.note, std::string(verified.message()));
    }
    unique->guard.Release();
    slot.released.store(Now());
    return;
  }
  if (const auto* duplicate = std::get_if<soleguard::Duplicate>(&verdict)) {
    slot.cited.store(Cited(duplicate->holder));
    NoteVerdict(board, slot, Stage::kRefused, Describe(*duplicate));
  } else {
    NoteVerdict(board, slot, Stage::kUndetermined,
                std::string(std::get<soleguard::Undetermined>(verdict).status.message()));
  }
  if (head.linger) (void)head.everybody_ends.Await(head.deadline);
}

// Replaces this process by the command. Returns only if it cannot.
void Become(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  (void)execvp(arguments[0], arguments.data());
  throw std::system_error(errno, std::system_category(), words[0]);
}

std::vector<std::string> CommandOf(const Board& board, const Head& head) {
  const std::string directory = head.directory;
  std::vector<std::string> words;
  if (head.mode == Mode::kFlock) {
    words = {"flock", "-n", directory + "/lock"};
  } else {
    words = {head.guardcheck,      "run",     kInstanceName,        "--policy",
             head.policy,          "--scope", directory + "/scope", "--state-dir",
             directory + "/state", "--json"};
    if (head.standby) words.emplace_back("--wait");
    words.emplace_back("--");
  }
  words.insert(words.end(), {std::filesystem::read_symlink("/proc/self/exe"), kHold, board.name()});
  return words;
}

// What a command prints belongs to its launch.
void RedirectTo(const std::string& path, int stream, int flags) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
  if (fd < 0) throw std::system_error(errno, std::system_category(), path);
  (void)dup2(fd, stream);
  (void)close(fd);
}

}  // namespace

int Contend(const std::string& board_name) {
  Board board = Board::Open(board_name);
  Head& head = board.head();
  if (!DieWith(head.referee)) return kInternal;
  const std::uint32_t own = OwnSlot(board);
  Slot& slot = board.slots()[own];
  const std::string directory = head.directory;
  RedirectTo(directory + "/errors", STDERR_FILENO, O_APPEND);

  // All that a program does before it asks comes before the barrier.
  const bool is_command = head.mode == Mode::kCommand || head.mode == Mode::kFlock;
  std::vector<std::string> command;
  soleguard::Options options;
  const soleguard::Policy policy = *soleguard::Policy::Parse(head.policy);
  if (is_command) {
    command = CommandOf(board, head);
    RedirectTo(absl::StrCat(directory, "/out.", own), STDOUT_FILENO, O_TRUNC);
  } else {
    options = OptionsOf(head);
    for (const soleguard::LayerSpec& layer : policy.layers()) {
      if (!layer.kind->observer) continue;
      // It stands at the barrier for longer than the settle time.
      const absl::Status announced = soleguard::Announce(kInstanceName, options);
      if (!announced.ok()) throw std::runtime_error(std::string(announced.message()));
    }
  }

  if (head.arrived.fetch_add(1) + 1 == head.launches) head.bell.Ring();
  if (!head.waves[board.WaveOf(own)].Await(head.deadline)) return kInternal;
  slot.asked.store(Now());
  slot.stage.store(Stage::kAsked);
  if (is_command) Become(command);
  if (head.mode == Mode::kBroken) {
    RunAsInstance(board, own);
  } else {
    if (head.standby) options.wait = absl::InfiniteDuration();
    ActOn(soleguard::Guard::Acquire(kInstanceName, policy, options), board, own);
  }
  return kClean;
}

int Hold(const std::string& board_name) {
  Board board = Board::Open(board_name);
  RunAsInstance(board, OwnSlot(board));
  return kClean;
}

}  // namespace launch_storm

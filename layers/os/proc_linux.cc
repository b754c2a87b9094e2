#include "os/proc_linux.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/error.h"

namespace soleguard::proc {
namespace {

// Enough for a /proc/PID/stat: 52 fields, of which one is a name of at most 64 bytes.
constexpr std::size_t kStatSize = 2048;

constexpr std::size_t kListLimit = std::size_t{16} * 1024 * 1024;

std::optional<TaskStat> ParseTaskStat(std::string_view text) {
  // Field 2 is a name that the process chose, ") R 1 (" if it likes. No later field has a ')'.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  text.remove_prefix(name_end + 1);

  const std::string_view state = NextField(text);
  if (state.size() != 1) return std::nullopt;
  TaskStat stat{.state = state[0]};
  bool valid = true;
  for (int field = 4; field <= 31; ++field) {
    const std::string_view value = NextField(text);
    if (field == 4) valid &= ParseNumber(value, stat.parent_pid);
    if (field == 9) valid &= ParseNumber(value, stat.flags);
    if (field == 14) valid &= ParseNumber(value, stat.user_ticks);
    if (field == 15) valid &= ParseNumber(value, stat.system_ticks);
    if (field == 22) valid &= ParseNumber(value, stat.start_ticks);
    if (field == 31) valid &= ParseNumber(value, stat.pending_signals);
  }
  return valid ? std::optional(stat) : std::nullopt;
}

}  // namespace

std::string_view NextField(std::string_view& line) {
  const std::size_t start = std::min(line.find_first_not_of(" \t"), line.size());
  const std::size_t end = std::min(line.find_first_of(" \t\n", start), line.size());
  const std::string_view field = line.substr(start, end - start);
  line.remove_prefix(end);
  return field;
}

std::optional<std::string_view> LineAfter(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.substr(0, key.size()) == key) return line.substr(key.size());
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

Reading ReadStart(int directory, const char* path, std::span<char> buffer) {
  const UniqueFd fd(
      os::RetryOnEintr([&] { return openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY); }));
  if (!fd) return {.error = errno};
  const ssize_t size =
      os::RetryOnEintr([&] { return read(fd.get(), buffer.data(), buffer.size()); });
  if (size < 0) return {.error = errno};
  return {.text = std::string_view(buffer.data(), static_cast<std::size_t>(size))};
}

LongReading ReadUpTo(int directory, const char* path, std::size_t limit) {
  const UniqueFd fd(
      os::RetryOnEintr([&] { return openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY); }));
  if (!fd) return {.error = errno};
  LongReading reading;
  std::array<char, 4096> buffer;
  while (reading.text.size() < limit) {
    const std::size_t wanted = std::min(buffer.size(), limit - reading.text.size());
    const ssize_t size = os::RetryOnEintr([&] { return read(fd.get(), buffer.data(), wanted); });
    if (size < 0) return {.error = errno};
    if (size == 0) break;
    reading.text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return reading;
}

std::string ReadLink(int directory, const char* path) {
  std::array<char, PATH_MAX + 1> buffer;
  const ssize_t size = readlinkat(directory, path, buffer.data(), buffer.size());
  return size < 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(size));
}

UniqueFd OpenPath(int directory, const char* path) {
  return UniqueFd(
      os::RetryOnEintr([&] { return openat(directory, path, O_PATH | O_DIRECTORY | O_CLOEXEC); }));
}

StatReading ReadTaskStat(int directory, const char* path) {
  std::array<char, kStatSize> buffer;
  const Reading reading = ReadStart(directory, path, buffer);
  if (reading.error != 0) return {.error = reading.error};
  const std::optional<TaskStat> stat = ParseTaskStat(reading.text);
  if (!stat) return {.error = EBADMSG};
  return {.stat = *stat};
}

bool HasEnded(const TaskStat& stat) {
  return stat.state == 'Z' || stat.state == 'X' || stat.state == 'x';
}

bool IsEnding(const TaskStat& stat) {
  constexpr std::uint64_t kExiting = 0x4, kDumpsCore = 0x200, kSignaled = 0x400;  // linux/sched.h
  return HasEnded(stat) || (stat.flags & (kExiting | kDumpsCore | kSignaled)) != 0 ||
         (stat.pending_signals & kSigkill) != 0;
}

std::uint64_t NanosecondsPerTick() {
  static const auto nanoseconds = 1'000'000'000 / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  return nanoseconds;
}

std::vector<std::string> SplitArguments(std::string_view text) {
  std::vector<std::string> arguments;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\0'), text.size());
    arguments.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return arguments;
}

int ChildrenBelow(int directory, std::vector<std::int64_t>& children) {
  int error = 0;
  // Each child is listed with the thread that forked it, or that it was given to (proc(5),
  // Linux 3.5).
  const auto visit = [&](auto, int tasks, const char* name) {
    const LongReading list = ReadUpTo(tasks, absl::StrCat(name, "/children").c_str(), kListLimit);
    if (list.error != 0 && list.error != ESRCH) error = list.error;
    std::string_view text = list.text;
    std::int64_t child = 0;
    while (ParseNumber(NextField(text), child)) children.push_back(child);
    return error == 0;
  };
  const int listed = ForEachNumber(directory, "task", visit);
  return error != 0 ? error : listed;
}

std::vector<std::int64_t> NumbersBelow(int directory) {
  std::vector<std::int64_t> numbers;
  const LongReading status = ReadUpTo(directory, "status", kStatusLimit);
  std::string_view line = LineAfter(status.text, "NSpid:").value_or("");
  std::int64_t number = 0;
  while (ParseNumber(NextField(line), number)) numbers.push_back(number);
  return numbers;
}

}  // namespace soleguard::proc

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <absl/time/clock.h>

#include "show/say.h"
#include "show/terminal.h"
#include "system.h"

namespace guardcheck {
namespace {

// https://systemd.io/JOURNAL_NATIVE_PROTOCOL: lines KEY=VALUE, or for a value with newlines KEY,
// its length as 64 bits in little-endian order, and the value.
constexpr char kJournalSocket[] = "/run/systemd/journal/socket";
// RFC 3164. syslog(3) would wait for a daemon that does not read, and would not say that there is
// none.
constexpr char kSyslogSocket[] = "/dev/log";
constexpr int kUser = 1 << 3;  // the facility of programs (syslog(3): LOG_USER)

struct Voice {
  enum class Where { kStandardError, kJournal, kSyslog, kFile } where = Where::kStandardError;
  Priority least = Priority::kNotice;
  soleguard::UniqueFd fd;
  std::string name;
};

Voice& voice() {
  static Voice voice;
  return voice;
}

sockaddr_un AddressOf(std::string_view path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

// Each time by the path: the daemon may have been started again.
bool Send(const char* path, std::string_view bytes) {
  const sockaddr_un address = AddressOf(path);
  return RetryOnEintr([&] {
           return sendto(voice().fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL,
                         reinterpret_cast<const sockaddr*>(&address), sizeof address);
         }) >= 0;
}

bool SendToJournal(Priority priority, const std::string& text) {
  std::string length;
  for (std::uint64_t rest = text.size(), i = 0; i < sizeof rest; ++i, rest >>= 8) {
    length += static_cast<char>(rest & 0xff);
  }
  return Send(kJournalSocket, absl::StrCat("PRIORITY=", static_cast<int>(priority),
                                           "\nSYSLOG_IDENTIFIER=guardcheck\nSOLEGUARD_NAME=",
                                           voice().name, "\nMESSAGE\n", length, text, "\n"));
}

bool SendToSyslog(Priority priority, const std::string& line) {
  const std::string time = absl::FormatTime("%b %e %H:%M:%S", absl::Now(), absl::LocalTimeZone());
  return Send(kSyslogSocket, absl::StrCat("<", kUser | static_cast<int>(priority), ">", time,
                                          " guardcheck[", getpid(), "]: ", line));
}

const char* NameOf(Priority priority) {
  switch (priority) {
    case Priority::kError:
      return "error";
    case Priority::kWarning:
      return "warning";
    case Priority::kNotice:
      break;
  }
  return "notice";
}

// One write(2) with O_APPEND: the lines of several processes do not mix.
bool AppendToFile(Priority priority, const std::vector<std::string>& lines) {
  const std::string head =
      absl::StrCat(absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6S%Ez", absl::Now(), absl::LocalTimeZone()),
                   " guardcheck[", getpid(), "] ", NameOf(priority), ": ");
  const std::string all = absl::StrJoin(lines, "", [&head](std::string* out, const auto& line) {
    absl::StrAppend(out, head, line, "\n");
  });
  const auto put = RetryOnEintr([&] { return write(voice().fd.get(), all.data(), all.size()); });
  return put == static_cast<ssize_t>(all.size());
}

std::vector<std::string> LinesOf(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipWhitespace());
}

bool Log(Priority priority, const std::string& text) {
  switch (voice().where) {
    case Voice::Where::kStandardError:
      break;
    case Voice::Where::kJournal:
      return SendToJournal(priority, text);
    case Voice::Where::kSyslog:
      for (const std::string& line : LinesOf(text)) {
        if (!SendToSyslog(priority, line)) return false;
      }
      return true;
    case Voice::Where::kFile:
      return AppendToFile(priority, LinesOf(text));
  }
  return false;
}

absl::Status CannotLog(const std::string& log, int error, const char* advice = "") {
  return absl::InvalidArgumentError(absl::StrCat("cannot write ", Escape(log).text(), ": ",
                                                 absl::ErrnoToStatus(error, "").message(), advice));
}

// Whether somebody reads at `path`.
absl::Status OpenSocket(const char* path) {
  constexpr char kAdvice[] = "; give journal, syslog or a file";
  const auto make = [] {
    return soleguard::UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  };
  const soleguard::UniqueFd probe = make();
  const sockaddr_un address = AddressOf(path);
  if (!probe ||
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return CannotLog(path, errno, kAdvice);
  }
  voice().fd = make();
  // Its queue is short (net.unix.max_dgram_qlen), and a refusal has many lines.
  const timeval patience = {.tv_sec = 1, .tv_usec = 0};
  const bool is_ready = voice().fd && setsockopt(voice().fd.get(), SOL_SOCKET, SO_SNDTIMEO,
                                                 &patience, sizeof patience) == 0;
  return is_ready ? absl::OkStatus() : CannotLog(path, errno, kAdvice);
}

absl::Status Open(const std::string& log, Voice::Where& where) {
  if (log == "journal") {
    where = Voice::Where::kJournal;
    return OpenSocket(kJournalSocket);
  }
  if (log == "syslog") {
    where = Voice::Where::kSyslog;
    return OpenSocket(kSyslogSocket);
  }
  where = Voice::Where::kFile;
  absl::StatusOr<soleguard::UniqueFd> opened = OpenLogFile(log);
  if (opened.ok()) voice().fd = *std::move(opened);
  return opened.status();
}

}  // namespace

absl::Status SayInLog(const std::string& log, const std::string& name) {
  Voice::Where where = Voice::Where::kStandardError;
  absl::Status opened = Open(log, where);
  if (!opened.ok()) return opened;
  voice().where = where;
  voice().name = Escape(name).text();
  return absl::OkStatus();
}

void Say(Priority priority, const Shown& text) {
  if (priority > voice().least) return;
  if (Log(priority, text.text())) return;
  if (text.text().ends_with('\n')) return Show(Text("guardcheck: ", text), stderr);
  (void)std::fprintf(stderr, "guardcheck: %s\n", text.text().c_str());
}

// A FIFO without a reader does not answer an open that may block.
absl::StatusOr<soleguard::UniqueFd> OpenLogFile(const std::string& log) {
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  soleguard::UniqueFd file(
      RetryOnEintr([&] { return open(log.c_str(), kFlags, S_IRUSR | S_IWUSR | S_IRGRP); }));
  if (!file) return CannotLog(log, errno);
  return file;
}

void SayNoNotices() { voice().least = Priority::kWarning; }

bool MaySay(absl::Duration patience) {
  return voice().where != Voice::Where::kStandardError || AwaitRoom(stderr, patience);
}

}  // namespace guardcheck

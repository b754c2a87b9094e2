// watch: finds copies that run beside the holder or without a guard, and ends them if told to.
#include <memory>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "command.h"
#include "shown.h"
#include "watcher/symptom.h"
#include "watcher/watcher.h"

namespace guardcheck {
namespace {

class Watch final : public Command {
 public:
  std::vector<Option> Options() override {
    return {
        {.name = "--once",
         .help = "look once; the exit code says what was found",
         .read = Into(settings_.once),
         .is_setting = false},
        {.name = "--interval",
         .value = "DURATION",
         .help = "how long from one look at the process table to the next",
         .read =
             [this](const std::string& text) {
               absl::Status read = Into(settings_.interval)(text);
               if (!read.ok() || settings_.interval >= absl::Milliseconds(100)) return read;
               return absl::InvalidArgumentError("expected at least 100ms, found '" +
                                                 Escape(text).text() + "'");
             },
         .standard = "60s"},
        {.name = "--auto-kill",
         .help = "end what runs without a guard, but for the one that is kept",
         .read = Into(settings_.auto_kill),
         .is_setting = false},
        {.name = "--keep",
         .value = "WHOM",
         .help = "whom --auto-kill keeps: the holder (and nobody else), or the oldest process "
                 "(a holder is never ended)",
         .read = IntoKeep(settings_.keep),
         .standard = "the holder, without one the oldest"},
        {.name = "--grace",
         .value = "DURATION",
         .help = "how long a process may take to end after SIGTERM before it is killed",
         .read = Into(settings_.grace),
         .standard = "5s"},
        {.name = "--log",
         .value = "FILE",
         .help = "follow the instance's log, and tell what its complaints have to do with it",
         .read = Into(settings_.log)},
        {.name = "--pattern",
         .value = "REGEX",
         .help = "what to count in the log (RE2); may be repeated. Without it: nonce errors, "
                 "getUpdates conflicts, 409",
         .read =
             [this](const std::string& text) {
               absl::Status valid = Symptoms().Add(text);
               if (valid.ok()) settings_.patterns.push_back(text);
               return valid;
             },
         .repeats = true},
        {.name = "--on-event",
         .value = "WORD",
         .help = "a command that gets each event as a line of JSON on its standard input; given "
                 "once for each word of it (--on-event=--x for one with dashes)",
         .read = Into(settings_.on_event),
         .repeats = true},
        {.name = "--metrics",
         .value = "FILE",
         .help = "write metrics for Prometheus to FILE after each look",
         .read = Into(settings_.metrics)}};
  }

  int Run(const Call& call) override {
    if (settings_.once) {
      if (call.Says("--log") || call.Says("--pattern")) {
        throw UsageError("watch: --log is followed from its end on; leave out --once");
      }
      // Said for the watch that goes on, by a variable or a file.
      settings_.log.clear();
      settings_.patterns.clear();
    }
    if (!settings_.patterns.empty() && settings_.log.empty()) {
      throw UsageError("watch: --pattern needs --log");
    }
    return Watcher(call, settings_).Run();
  }

 private:
  static Reader IntoKeep(Keep& keep) {
    return [&keep](const std::string& text) {
      if (text != "holder" && text != "oldest") {
        return absl::InvalidArgumentError("expected holder or oldest, found '" +
                                          Escape(text).text() + "'");
      }
      keep = text == "holder" ? Keep::kHolder : Keep::kOldest;
      return absl::OkStatus();
    };
  }

  WatchSettings settings_;
};

}  // namespace

CommandKind WatchCommand() {
  return {.name = "watch",
          .help = "find copies, and end them if told to",
          .operand = "NAME",
          .takes = CommandKind::Takes::kTimes,
          .behind = CommandKind::Behind::kMayBeCommand,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Watch>()); }};
}

}  // namespace guardcheck

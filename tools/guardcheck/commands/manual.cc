// manual: the page guardcheck(1), made from the options that the commands have.
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include "command.h"
#include "exit_code.h"
#include "line/command_line.h"
#include <soleguard/version.h>

namespace guardcheck {
namespace {

using Takes = CommandKind::Takes;

// As text of the man macros (man(7)): no escapes, no requests.
std::string Roff(std::string_view text) {
  std::string escaped =
      absl::StrReplaceAll(std::string(text), {{"\\", "\\e"}, {"-", "\\-"}, {"'", "\\(aq"}});
  return escaped.starts_with('.') ? "\\&" + escaped : escaped;
}

std::string OptionText(const Option& option) {
  std::string text = absl::StrCat(".TP\n.B ", Roff(option.name));
  if (!option.is_flag()) {
    const std::string value = absl::StrCat("\\fI", Roff(option.value), "\\fR");
    absl::StrAppend(&text, option.bare.empty() ? " " : "\\fR[\\fB=", value,
                    option.bare.empty() ? "" : "]");
  }
  absl::StrAppend(&text, "\n", Roff(option.help), ".");
  if (option.repeats) absl::StrAppend(&text, " May be repeated.");
  if (!option.standard.empty()) absl::StrAppend(&text, " Default: ", Roff(option.standard), ".");
  if (option.is_setting) absl::StrAppend(&text, " Environment: ", Roff(option.variable()), ".");
  return text + "\n";
}

std::string Synopsis(const CommandKind& kind) {
  return absl::StrCat("\\fBguardcheck ", Roff(kind.name), "\\fR ", Roff(kind.synopsis()));
}

std::string Manual() {
  std::string page = absl::StrCat(
      ".\\\" Made by guardcheck manual.\n.TH GUARDCHECK 1 \"2026-11-21\" \"soleguard ",
      std::string(soleguard::Version()),
      "\" \"User Commands\"\n.SH NAME\nguardcheck \\- guard a command against running twice\n"
      ".SH SYNOPSIS\n");
  for (const CommandKind& kind : CommandKinds()) {
    absl::StrAppend(&page, &kind == &CommandKinds().front() ? "" : ".br\n", Synopsis(kind), "\n");
  }
  absl::StrAppend(&page, R"(.SH DESCRIPTION
.B guardcheck run
asks several independent mechanisms of the operating system (layers: a file lock, a System V semaphore,
a port of the loopback interface, the process table) whether another instance of NAME runs, and runs
COMMAND only when enough of them confirm that there is none. A policy says how many are enough. The name
is held until the command and all that it has started have ended, and is free again after any end of
them, a SIGKILL included. A start that is refused says who holds the name, and what can be done.
.PP
The other commands look, explain, stop and clean up. Looking takes no lock, not for a moment.
.SH OPTIONS OF MOST COMMANDS
)");
  std::set<std::string> common;
  for (const Option& option : DocumentedCommonOptions()) {
    common.insert(option.name);
    absl::StrAppend(&page, OptionText(option));
  }
  absl::StrAppend(&page, ".SH COMMANDS\n");
  for (const CommandKind& kind : CommandKinds()) {
    absl::StrAppend(&page, ".SS ", Roff(kind.name), "\n", Roff(kind.help), ".\n");
    for (const Option& option : DocumentedOptions(kind)) {
      if (kind.takes != Takes::kNothing && common.contains(option.name)) continue;
      absl::StrAppend(&page, OptionText(option));
    }
  }
  absl::StrAppend(&page, R"(.SH EXIT STATUS
.TP
.I the command\(aqs own
run: once the claim was made; 126 and 127 as in a shell, 128+n for signal n
.TP
.B 0
yes: what the command asks
.TP
.B 1
send: the holder answered that it could not
.TP
.B 3
status, send: not running
.TP
.B 64
usage
.TP
.B 69
a layer could not tell and the policy needs it; explain: not safe; doctor: something is in the way
.TP
.B 70
internal error; the guardian was killed
.TP
.B 75
another instance holds the name
.TP
.B 76
run: the claim was lost while the command ran
.TP
.B 124
run: the command was ended because it ran too long (\-\-max\-runtime) or gave no beat (\-\-on\-no\-beat)
.SH ENVIRONMENT
Each setting may stand in the environment as SOLEGUARD_ and the option in capitals; it is ignored in a
setuid program. For the command there are SOLEGUARD_NAME, SOLEGUARD_TOKEN,
SOLEGUARD_TOKEN_DURABLE (1: the token is larger than all before it; 0: nothing claims an order) and,
with slots, SOLEGUARD_SLOT; these are never read as settings.
.SH FILES
.TP
.I ~/.config/soleguard/config.toml\fR, \fI/etc/soleguard.toml
settings, for all names and under [names.NAME] for one
.TP
.I /run/lock/soleguard\-UID\fR or \fI/tmp/soleguard\-UID
the user scope: locks and records, a directory for each name
.TP
.I /run/soleguard
the system scope
.SH EXAMPLES
.nf
guardcheck run trading_bot \-\- python3 bot.py
guardcheck run trading_bot \-\-wait=10m \-\- python3 bot.py
guardcheck run poller \-\-policy \(aqall(file, scan)\(aq \-\- ./poll
guardcheck status trading_bot
guardcheck stop trading_bot \-\-timeout 30s
guardcheck doctor trading_bot
.fi
.SH SEE ALSO
.BR flock (1),
.BR launch_storm (1),
.BR systemd.service (5)
)");
  return page;
}

class ShowManual final : public Command {
 public:
  int Run(const Call&) override {
    (void)std::fputs(Manual().c_str(), stdout);
    return kYes;
  }
};

}  // namespace

CommandKind ManualCommand() {
  return {.name = "manual",
          .help = "print the manual page: guardcheck manual | man -l -",
          .operand = "",
          .takes = CommandKind::Takes::kNothing,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<ShowManual>()); }};
}

}  // namespace guardcheck

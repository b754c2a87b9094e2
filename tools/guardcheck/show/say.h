// What guardcheck itself says beside its answer: on standard error, or in a log.
#pragma once

#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "shown.h"
#include <soleguard/fd.h>

namespace guardcheck {

// The numbers of syslog(3).
enum class Priority { kError = 3, kWarning = 4, kNotice = 5 };

// Says `text`, one line without its newline or several that end with one, on standard error behind
// "guardcheck: ". What a log does not take is said there too: a full disk, a log daemon that is
// gone or does not read. A log is not waited for, standard error is. Thread-safe.
void Say(Priority priority, const Shown& text);

// From here on Say writes to `log` instead: "journal" (systemd's, where the entries have the fields
// PRIORITY, SYSLOG_IDENTIFIER=guardcheck and SOLEGUARD_NAME), "syslog" (the daemon behind
// /dev/log), or the absolute path of a file, which is made if it is missing, readable for its owner
// and group, and gets a line with time, pid and priority for each line of the text. `name`: the
// instance's. InvalidArgument: it cannot be written. Before other threads begin. What the process
// executes does not inherit the file.
absl::Status SayInLog(const std::string& log, const std::string& name);

// The file `log` as SayInLog opens it, not to block. InvalidArgument: it cannot be written.
absl::StatusOr<soleguard::UniqueFd> OpenLogFile(const std::string& log);

// From here on Say drops notices. As above.
void SayNoNotices();

// Whether Say would not block, now or within `patience`.
bool MaySay(absl::Duration patience);

}  // namespace guardcheck

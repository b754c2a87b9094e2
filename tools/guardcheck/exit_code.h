// guardcheck's exit codes, after sysexits(3) where that has one. docs/guardcheck.md explains them.
#pragma once

namespace guardcheck {

enum ExitCode : int {
  kYes = 0,            // what the command asks
  kAnsweredNo = 1,     // send: the holder answered that it could not
  kNotRunning = 3,     // status, send
  kUsage = 64,         // EX_USAGE
  kUndetermined = 69,  // EX_UNAVAILABLE: a layer could not tell and the policy needs it
  kInternal = 70,      // EX_SOFTWARE
  kTaken = 75,         // EX_TEMPFAIL: another instance holds the name
  kLost = 76,          // the claim was lost while the command ran
  kTooLong = 124,      // run --max-runtime, --on-no-beat: it was ended for that; as timeout(1)
  kCannotExecute = 126,
  kNotFound = 127,
  kSignalled = 128,  // plus the signal's number
};

}  // namespace guardcheck

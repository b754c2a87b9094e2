// doctor: what each layer can see on this machine, and what that means for the policy.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/strings/numbers.h>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/json.h"
#include "show/terminal.h"
#include <soleguard/diagnose.h>
#include <soleguard/finding.h>

namespace guardcheck {
namespace {

using soleguard::Diagnosis;
using soleguard::Finding;
using soleguard::Severity;

// What sudo(8) says of who called it. Advice is all that depends on it.
std::optional<std::uint32_t> InvokingUser() {
  const char* text = secure_getenv("SUDO_UID");
  std::uint32_t user = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &user)) return std::nullopt;
  return user;
}

Shown FindingText(const Finding& finding) {
  Shown text = Text("  ", Said(finding.layer), ": ", Said(finding.what), "\n");
  if (!finding.consequence.empty()) text += Text("      so   ", Said(finding.consequence), "\n");
  if (!finding.fix.empty()) text += Text("      fix  ", Said(finding.fix), "\n");
  return text;
}

// What has to be dealt with first stands first.
Shown DiagnosisText(const Call& call, const Diagnosis& diagnosis) {
  struct Group {
    Severity severity;
    Shown title;
  };
  const std::array<Group, 4> groups = {
      {{Severity::kProblem, "Problems: a start is refused, or a second instance can run"},
       {Severity::kWarning, "Warnings: it works, with less than it could"},
       {Severity::kNote, "Notes: nothing has to be done"},
       {Severity::kOk, "In order"}}};
  Shown text =
      Text(call.operand.empty() ? "A program" : Escape(call.operand),
           diagnosis.healthy() ? Shown(" can be guarded here") : " cannot be guarded reliably here",
           ", under policy ", Escape(call.common.policy.ToString()), " in scope ",
           Escape(call.common.options.scope.ToString()), ".\n");
  for (const Group& group : groups) {
    Shown findings;
    for (const Finding& finding : diagnosis.findings) {
      if (finding.severity == group.severity) findings += FindingText(finding);
    }
    if (!findings.empty()) text += Text("\n", group.title, "\n", findings);
  }
  return text;
}

Json DiagnosisJson(const Call& call, const Diagnosis& diagnosis) {
  return Json::Object({{"schema", 1},
                       {"name", OrNull(Escape(call.operand))},
                       {"scope", Escape(call.common.options.scope.ToString())},
                       {"policy", Escape(call.common.policy.ToString())},
                       {"healthy", diagnosis.healthy()},
                       {"findings", FindingsJson(diagnosis.findings)}});
}

class Doctor final : public Command {
 public:
  int Run(const Call& call) override {
    const absl::StatusOr<Diagnosis> diagnosis =
        soleguard::Diagnose({.name = call.operand, .invoking_user = InvokingUser()},
                            call.common.policy, ToLook(call.common));
    if (!diagnosis.ok()) return CannotLook(diagnosis.status());
    if (call.common.json) {
      Print(DiagnosisJson(call, *diagnosis));
    } else {
      Show(DiagnosisText(call, *diagnosis), stdout);
    }
    return diagnosis->healthy() ? kYes : kUndetermined;
  }
};

}  // namespace

CommandKind DoctorCommand() {
  return {.name = "doctor",
          .help = "what each layer can see on this machine, and what to mend",
          .operand = "[NAME]",
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Doctor>()); }};
}

}  // namespace guardcheck

// doctor: what each layer can see on this machine, and what that means for the policy.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <boost/json.hpp>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "report.h"
#include "terminal.h"
#include <soleguard/diagnose.h>
#include <soleguard/event.h>
#include <soleguard/finding.h>
#include <soleguard/text.h>

namespace guardcheck {
namespace {

namespace json = boost::json;
using soleguard::Diagnosis;
using soleguard::EscapeBytes;
using soleguard::Finding;
using soleguard::Severity;

// What sudo(8) says of who called it. Advice is all that depends on it.
std::optional<std::uint32_t> InvokingUser() {
  const char* text = secure_getenv("SUDO_UID");
  std::uint32_t user = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &user)) return std::nullopt;
  return user;
}

std::string_view IdOf(soleguard::Event event) {
  for (const soleguard::EventInfo& info : soleguard::Events()) {
    if (info.event == event) return info.id;
  }
  return "";
}

std::string FindingText(const Finding& finding) {
  std::string text = absl::StrCat("  ", finding.layer, ": ", finding.what, "\n");
  if (!finding.consequence.empty())
    absl::StrAppend(&text, "      so   ", finding.consequence, "\n");
  if (!finding.fix.empty()) absl::StrAppend(&text, "      fix  ", finding.fix, "\n");
  return text;
}

// What has to be dealt with first stands first.
std::string DiagnosisText(const Call& call, const Diagnosis& diagnosis) {
  struct Group {
    Severity severity;
    std::string_view title;
  };
  constexpr std::array<Group, 4> kGroups = {
      {{Severity::kProblem, "Problems: a start is refused, or a second instance can run"},
       {Severity::kWarning, "Warnings: it works, with less than it could"},
       {Severity::kNote, "Notes: nothing has to be done"},
       {Severity::kOk, "In order"}}};
  const std::string subject = call.operand.empty() ? "A program" : EscapeBytes(call.operand);
  std::string text = absl::StrCat(
      subject, diagnosis.healthy() ? " can be guarded here" : " cannot be guarded reliably here",
      ", under policy ", EscapeBytes(call.common.policy.ToString()), " in scope ",
      EscapeBytes(call.common.options.scope.ToString()), ".\n");
  for (const Group& group : kGroups) {
    std::string findings;
    for (const Finding& finding : diagnosis.findings) {
      if (finding.severity == group.severity) absl::StrAppend(&findings, FindingText(finding));
    }
    if (!findings.empty()) {
      absl::StrAppend(&text, "\n", std::string(group.title), "\n", findings);
    }
  }
  return text;
}

json::value OrNull(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

json::value DiagnosisJson(const Call& call, const Diagnosis& diagnosis) {
  json::array findings;
  for (const Finding& finding : diagnosis.findings) {
    findings.push_back(json::object{
        {"severity", std::string(ToString(finding.severity))},
        {"layer", finding.layer},
        {"what", finding.what},
        {"consequence", OrNull(finding.consequence)},
        {"fix", OrNull(finding.fix)},
        {"event", finding.event.has_value() ? json::value(std::string(IdOf(*finding.event)))
                                            : json::value(nullptr)},
        {"threat", finding.threat}});
  }
  return json::object{{"schema", 1},
                      {"name", OrNull(EscapeBytes(call.operand))},
                      {"scope", EscapeBytes(call.common.options.scope.ToString())},
                      {"policy", EscapeBytes(call.common.policy.ToString())},
                      {"healthy", diagnosis.healthy()},
                      {"findings", std::move(findings)}};
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

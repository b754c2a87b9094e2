#include "incident.h"

#include <absl/strings/str_cat.h>

#include <soleguard/process.h>
#include <soleguard/text.h>

namespace guardcheck {
namespace {

using soleguard::EscapeBytes;
using soleguard::Incident;

// "pid 812 (alice, /usr/bin/bot)", or what can be told.
std::string Who(const soleguard::Holder& holder) {
  if (holder.record.has_value()) {
    const soleguard::HolderRecord& record = *holder.record;
    return absl::StrCat("pid ", record.instance.value_or(record.identity).pid, " (",
                        EscapeBytes(record.user), ", ", EscapeBytes(record.executable), ")");
  }
  if (!holder.processes.empty()) return absl::StrCat("pid ", holder.processes.front().pid);
  return "a process that no record names";
}

std::string Exclusion(const std::string& name, const Incident& incident) {
  if (incident.exclusion_stood) return "no other start could get through meanwhile";
  return absl::StrCat(
      "the name was open for a moment: look for a second instance (guardcheck "
      "report ",
      name, ")");
}

}  // namespace

std::string IncidentText(const std::string& name, const Incident& incident) {
  const std::string shown = EscapeBytes(name);
  const std::string what = absl::StrCat("layer ", EscapeBytes(incident.layer), ": ",
                                        absl::string_view(incident.lost.message()));
  switch (incident.outcome) {
    case Incident::Outcome::kRepaired:
      return absl::StrCat(shown, ": repaired: ", what, "; ", Exclusion(shown, incident));
    case Incident::Outcome::kDegraded:
      return absl::StrCat(shown, ": lost, and not repaired: ", what, " (",
                          absl::string_view(incident.left.message()),
                          "); other layers keep every other start out; it is tried again");
    case Incident::Outcome::kCompromised:
      break;
  }
  if (incident.holder.has_value()) {
    return absl::StrCat(shown, ": COMPROMISED: ", what, "; ", Who(*incident.holder),
                        " has it now: two instances may be running");
  }
  return absl::StrCat(shown, ": COMPROMISED: ", what, " (",
                      absl::string_view(incident.left.message()),
                      "); nothing keeps another instance out any more");
}

}  // namespace guardcheck

#include "show/incident.h"

#include "show/words.h"

namespace guardcheck {
namespace {

using soleguard::Incident;

// "pid 812 (alice, /usr/bin/bot)", or what can be told.
Shown Who(const soleguard::Holder& holder) {
  if (holder.record.has_value()) {
    const soleguard::HolderRecord& record = *holder.record;
    return Text("pid ", record.running().pid, " (", Escape(record.user), ", ",
                Escape(record.executable), ")");
  }
  if (!holder.processes.empty()) return Text("pid ", holder.processes.front().pid);
  return "a process that no record names";
}

Shown Exclusion(const Shown& name, const Incident& incident) {
  if (incident.exclusion_stood) return "no other start could get through meanwhile";
  return Text(
      "the name was open for a moment: look for a second instance (guardcheck "
      "report ",
      name, ")");
}

}  // namespace

Shown IncidentText(const std::string& name, const Incident& incident) {
  const Shown shown = Escape(name);
  const Shown what = Text("layer ", Escape(incident.layer), ": ", Said(incident.lost.message()));
  switch (incident.outcome) {
    case Incident::Outcome::kRepaired:
      return Text(shown, ": repaired: ", what, "; ", Exclusion(shown, incident));
    case Incident::Outcome::kDegraded:
      return Text(shown, ": lost, and not repaired: ", what, " (", Said(incident.left.message()),
                  "); other layers keep every other start out; it is tried again");
    case Incident::Outcome::kCompromised:
      break;
  }
  if (incident.holder.has_value()) {
    return Text(shown, ": COMPROMISED: ", what, "; ", Who(*incident.holder),
                " has it now: two instances may be running");
  }
  return Text(shown, ": COMPROMISED: ", what, " (", Said(incident.left.message()),
              "); nothing keeps another instance out any more");
}

}  // namespace guardcheck

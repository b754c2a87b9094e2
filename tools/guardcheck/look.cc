// status and list: they look, and take no lock, not for a moment.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "command.h"
#include "exit_code.h"
#include "report.h"

namespace guardcheck {
namespace {

int Fail(const absl::Status& status) {
  (void)std::fprintf(stderr, "guardcheck: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? kUsage : kUndetermined;
}

// The command that runs as the instance was not said here.
soleguard::Options ToLook(const Common& common) {
  soleguard::Options options = common.options;
  options.subject.unknown = true;
  return options;
}

}  // namespace

int ShowStatus(const Common& common, const std::string& name) {
  absl::StatusOr<soleguard::Inspection> inspection =
      soleguard::Inspect(name, common.policy, ToLook(common));
  if (!inspection.ok()) return Fail(inspection.status());
  if (common.json) {
    Print(StatusJson(name, common, *inspection));
  } else {
    (void)std::fputs(StatusText(name, *inspection).c_str(), stdout);
  }
  if (inspection->holder() != nullptr) return kYes;
  return inspection->blind() ? kUndetermined : kNotRunning;
}

int ShowList(const Common& common) {
  absl::StatusOr<std::vector<soleguard::InstanceName>> names =
      soleguard::KnownNames(common.options.scope);
  if (absl::IsNotFound(names.status())) names = std::vector<soleguard::InstanceName>();
  if (!names.ok()) return Fail(names.status());

  std::vector<Listed> running;
  bool blind = false;
  for (const soleguard::InstanceName& name : *names) {
    absl::StatusOr<soleguard::Inspection> inspection =
        soleguard::Inspect(name.text(), common.policy, ToLook(common));
    if (!inspection.ok()) return Fail(inspection.status());
    const soleguard::Holder* holder = inspection->holder();
    if (holder != nullptr) running.push_back({.name = name.text(), .holder = *holder});
    if (holder == nullptr && inspection->blind()) {
      blind = true;
      (void)std::fputs(StatusText(name.text(), *inspection).c_str(), stderr);
    }
  }
  if (common.json) {
    Print(ListJson(common, running));
  } else {
    (void)std::fputs(ListText(running).c_str(), stdout);
  }
  return blind ? kUndetermined : kYes;
}

}  // namespace guardcheck

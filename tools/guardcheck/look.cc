// check, status and list: they look, and take no lock, not for a moment.
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

// As a run would: whatever its policy, it locks the name's directory.
soleguard::Options ToLook(const Common& common) {
  soleguard::Options options = common.options;
  options.hand_on = true;
  options.subject.unknown = true;  // which command runs as the instance was not said here
  return options;
}

}  // namespace

int ShowCheck(const CheckRequest& request) {
  soleguard::Options options = ToLook(request.common);
  if (!request.command.empty()) options.subject = {.argv = request.command};
  absl::StatusOr<soleguard::Forecast> forecast =
      soleguard::Check(request.name, request.common.policy, options);
  if (!forecast.ok()) return Fail(forecast.status());
  if (request.common.json) {
    Print(CheckJson(request.name, request.common, *forecast));
  } else {
    (void)std::fputs(CheckText(request.name, request.common, *forecast).c_str(), stdout);
  }
  switch (forecast->decision) {
    case soleguard::Arbiter::Decision::kUnique:
      return kYes;
    case soleguard::Arbiter::Decision::kDuplicate:
      return kTaken;
    case soleguard::Arbiter::Decision::kUndetermined:
      break;
  }
  return kUndetermined;
}

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
    if (inspection->holder() != nullptr) {
      running.push_back({.name = name.text(), .inspection = *std::move(inspection)});
    } else if (inspection->blind()) {
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

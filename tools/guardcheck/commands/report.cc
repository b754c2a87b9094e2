// report: a remote says that two instances run; what is to be seen of that here.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/json.h"
#include "show/words.h"
#include <soleguard/conflict.h>
#include <soleguard/layer.h>
#include <soleguard/options.h>

namespace guardcheck {
namespace {

using soleguard::ConflictReport;
using soleguard::Suspect;

Shown SuspectText(const Suspect& suspect) {
  Shown text = Text("  pid ", suspect.process.pid);
  const auto process = Live(suspect.process);
  if (process.has_value()) {
    text += Text(" (", Escape(process->user), ")  ", CommandLine(process->argv));
  }
  text += "\n";
  for (const std::string& why : suspect.why) text += Text("      why     ", Said(why), "\n");
  for (const std::string& unseen : suspect.unseen) {
    text += Text("      unseen  ", Said(unseen), "\n");
  }
  return text;
}

Shown LayerText(const ConflictReport::LayerState& layer) {
  Shown said = "sees nobody";
  if (const auto* taken = std::get_if<soleguard::Taken>(&layer.sighting)) {
    said = Text("sees an instance: ", Said(taken->holder.evidence));
  } else if (const auto* unavailable = std::get_if<soleguard::Unavailable>(&layer.sighting)) {
    said = Text("cannot tell: ", Said(unavailable->status.message()));
  }
  return Text("  ", Escape(layer.layer), ": ", said, "\n");
}

Shown Heading(const Call& call, const ConflictReport& report) {
  const Shown name = Escape(call.operand);
  switch (report.conclusion) {
    case ConflictReport::Conclusion::kFound:
      return Text("Another instance of ", name, " may be running here.\n");
    case ConflictReport::Conclusion::kNoneHere:
      return Text("No other instance of ", name, " is to be seen on this host.\n");
    case ConflictReport::Conclusion::kCannotTell:
      break;
  }
  return Text("Cannot tell whether another instance of ", name, " runs here.\n");
}

// nullopt: no record says who it is.
std::optional<std::int64_t> HolderPid(const ConflictReport& report) {
  if (!report.holder.has_value() || !report.holder->record.has_value()) return std::nullopt;
  return report.holder->record->running().pid;
}

Shown SuspectsText(const ConflictReport& report) {
  Shown likely;
  Shown others;
  for (const Suspect& suspect : report.search.found) {
    (suspect.is_likely ? likely : others) += SuspectText(suspect);
  }
  Shown text;
  if (!likely.empty()) text += Text("\nSuspects\n", likely);
  if (!others.empty()) text += Text("\nThe same program, told to do something else\n", others);
  return text;
}

Shown UnseenText(const ConflictReport& report) {
  Shown text;
  if (!report.searched.ok()) {
    text += Text("  ", Said(report.searched.message()), "; say behind -- which command it is\n");
  }
  for (const std::string& hidden : report.search.hidden) text += Text("  ", Said(hidden), "\n");
  return text.empty() ? text : Text("\nWhat was not seen\n", text);
}

Shown ReportText(const Call& call, const ConflictReport& report) {
  Shown text = Heading(call, report);
  if (!report.complaint.empty()) {
    text += Text("  the conflict: ", Escape(report.complaint), "\n");
  }
  const std::optional<std::int64_t> holder = HolderPid(report);
  text += holder.has_value() ? Text("  the holder: pid ", *holder, "\n")
                             : "  nobody holds the name here\n";
  text += "\nWhat the layers see\n";
  for (const auto& layer : report.layers) text += LayerText(layer);
  text += Text(SuspectsText(report), UnseenText(report), "\nWhat to do next\n");
  for (const std::string& step : report.next) text += Text("  ", Said(step), "\n");
  return text;
}

Json SaidJson(const std::vector<std::string>& texts) {
  return ArrayOf(texts, [](const std::string& text) { return Json(Said(text)); });
}

Json SuspectJson(const Suspect& suspect) {
  Json object = Json::Object({{"pid", suspect.process.pid},
                              {"likely", suspect.is_likely},
                              {"why", SaidJson(suspect.why)},
                              {"unseen", SaidJson(suspect.unseen)},
                              {"user", nullptr},
                              {"argv", nullptr}});
  if (const auto process = Live(suspect.process)) {
    object.Set("user", Escape(process->user));
    object.Set("argv", WordsJson(MaskSecrets(process->argv)));
  }
  return object;
}

Json ReportJson(const Call& call, const ConflictReport& report) {
  Json object = Head(call.operand, call.common);
  object.Set("complaint", Escape(report.complaint));
  object.Set("conclusion", WordOf(report.conclusion));
  object.Set("holder_pid", HolderPid(report));
  object.Set("layers", SightingsJson(report.layers));
  object.Set("suspects", ArrayOf(report.search.found, &SuspectJson));
  object.Set("hidden", SaidJson(report.search.hidden));
  object.Set("reason", OrNull(Said(report.searched.message())));
  object.Set("next", SaidJson(report.next));
  return object;
}

class Report final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--conflict",
             .value = "TEXT",
             .help = "what the remote said, for the report",
             .read = Into(complaint_),
             .is_setting = false}};
  }

  int Run(const Call& call) override {
    soleguard::Options options = ToLook(call.common);
    if (!call.command.empty()) options.subject = {.argv = call.command};
    const absl::StatusOr<ConflictReport> report =
        soleguard::ReportConflict(call.operand, complaint_, call.common.policy, options);
    if (!report.ok()) return CannotLook(report.status());
    if (call.common.json) {
      Print(ReportJson(call, *report));
    } else {
      (void)std::fputs(ReportText(call, *report).text().c_str(), stdout);
    }
    switch (report->conclusion) {
      case ConflictReport::Conclusion::kNoneHere:
        return kYes;
      case ConflictReport::Conclusion::kFound:
        return kTaken;
      case ConflictReport::Conclusion::kCannotTell:
        break;
    }
    return kUndetermined;
  }

 private:
  std::string complaint_;
};

}  // namespace

CommandKind ReportCommand() {
  return {.name = "report",
          .help = "a remote says that two run: what is to be seen of that here",
          .operand = "NAME",
          .behind = CommandKind::Behind::kMayBeCommand,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Report>()); }};
}

}  // namespace guardcheck

// report: a remote says that two instances run; what is to be seen of that here.
#include <cstdio>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <boost/json.hpp>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "report.h"
#include <soleguard/conflict.h>
#include <soleguard/process.h>
#include <soleguard/text.h>

namespace guardcheck {
namespace {

namespace json = boost::json;
using soleguard::ConflictReport;
using soleguard::EscapeBytes;
using soleguard::Suspect;

std::string CommandLine(const soleguard::ProcessDescription& description) {
  std::vector<std::string> words;
  for (const std::string& word : MaskSecrets(description.argv)) words.push_back(ShellWord(word));
  return absl::StrJoin(words, " ");
}

std::string SuspectText(const Suspect& suspect) {
  std::string text = absl::StrCat("  pid ", suspect.process.pid);
  const auto description = Describe(suspect.process);
  if (description.ok()) {
    absl::StrAppend(&text, " (", EscapeBytes(description->user), ")  ", CommandLine(*description));
  }
  text += '\n';
  for (const std::string& why : suspect.why) absl::StrAppend(&text, "      why     ", why, "\n");
  for (const std::string& unseen : suspect.unseen) {
    absl::StrAppend(&text, "      unseen  ", unseen, "\n");
  }
  return text;
}

std::string LayerText(const ConflictReport::LayerState& layer) {
  std::string said = "sees nobody";
  if (const auto* taken = std::get_if<soleguard::Taken>(&layer.sighting)) {
    said = absl::StrCat("sees an instance: ", taken->holder.evidence);
  } else if (const auto* unavailable = std::get_if<soleguard::Unavailable>(&layer.sighting)) {
    said = absl::StrCat("cannot tell: ", absl::string_view(unavailable->status.message()));
  }
  return absl::StrCat("  ", EscapeBytes(layer.layer), ": ", said, "\n");
}

std::string Heading(const Call& call, const ConflictReport& report) {
  const std::string name = EscapeBytes(call.operand);
  switch (report.conclusion) {
    case ConflictReport::Conclusion::kFound:
      return absl::StrCat("Another instance of ", name, " may be running here.\n");
    case ConflictReport::Conclusion::kNoneHere:
      return absl::StrCat("No other instance of ", name, " is to be seen on this host.\n");
    case ConflictReport::Conclusion::kCannotTell:
      break;
  }
  return absl::StrCat("Cannot tell whether another instance of ", name, " runs here.\n");
}

std::string Text(const Call& call, const ConflictReport& report) {
  std::string text = Heading(call, report);
  if (!report.complaint.empty()) {
    absl::StrAppend(&text, "  the conflict: ", EscapeBytes(report.complaint), "\n");
  }
  if (report.holder.has_value() && report.holder->record.has_value()) {
    const soleguard::HolderRecord& record = *report.holder->record;
    absl::StrAppend(&text, "  the holder: pid ", record.instance.value_or(record.identity).pid,
                    "\n");
  } else {
    text += "  nobody holds the name here\n";
  }
  text += "\nWhat the layers see\n";
  for (const auto& layer : report.layers) text += LayerText(layer);
  std::string likely;
  std::string others;
  for (const Suspect& suspect : report.search.found) {
    (suspect.is_likely ? likely : others) += SuspectText(suspect);
  }
  if (!likely.empty()) absl::StrAppend(&text, "\nSuspects\n", likely);
  if (!others.empty())
    absl::StrAppend(&text, "\nThe same program, told to do something else\n", others);
  if (!report.searched.ok() || !report.search.hidden.empty()) text += "\nWhat was not seen\n";
  if (!report.searched.ok()) {
    absl::StrAppend(&text, "  ", absl::string_view(report.searched.message()),
                    "; say behind -- which command it is\n");
  }
  for (const std::string& hidden : report.search.hidden) absl::StrAppend(&text, "  ", hidden, "\n");
  text += "\nWhat to do next\n";
  for (const std::string& step : report.next) absl::StrAppend(&text, "  ", step, "\n");
  return text;
}

json::array Array(const std::vector<std::string>& texts) {
  json::array array;
  for (const std::string& text : texts) array.emplace_back(Said(text));
  return array;
}

json::value Json(const Call& call, const ConflictReport& report) {
  json::array layers;
  for (const auto& layer : report.layers) {
    layers.push_back(SightingJson(layer.layer, layer.sighting));
  }
  json::array suspects;
  for (const Suspect& suspect : report.search.found) {
    json::object entry{{"pid", suspect.process.pid},
                       {"likely", suspect.is_likely},
                       {"why", Array(suspect.why)},
                       {"unseen", Array(suspect.unseen)},
                       {"user", nullptr},
                       {"argv", nullptr}};
    const auto description = Describe(suspect.process);
    if (description.ok()) {
      entry["user"] = EscapeBytes(description->user);
      json::array argv;
      for (const std::string& word : MaskSecrets(description->argv)) {
        argv.emplace_back(EscapeBytes(word));
      }
      entry["argv"] = std::move(argv);
    }
    suspects.push_back(std::move(entry));
  }
  json::object object{{"schema", 1},
                      {"name", EscapeBytes(call.operand)},
                      {"scope", EscapeBytes(call.common.options.scope.ToString())},
                      {"policy", EscapeBytes(call.common.policy.ToString())},
                      {"complaint", EscapeBytes(report.complaint)},
                      {"conclusion", std::string(ToString(report.conclusion))},
                      {"holder_pid", nullptr},
                      {"layers", std::move(layers)},
                      {"suspects", std::move(suspects)},
                      {"hidden", Array(report.search.hidden)},
                      {"reason", nullptr},
                      {"next", Array(report.next)}};
  if (report.holder.has_value() && report.holder->record.has_value()) {
    const soleguard::HolderRecord& record = *report.holder->record;
    object["holder_pid"] = record.instance.value_or(record.identity).pid;
  }
  if (!report.searched.ok()) {
    object["reason"] = Said(report.searched.message());
  }
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
      Print(Json(call, *report));
    } else {
      (void)std::fputs(Text(call, *report).c_str(), stdout);
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

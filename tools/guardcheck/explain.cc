// explain: what a policy guarantees. Looks at its text alone, at nothing of this system.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/strip.h>
#include <boost/json.hpp>

#include "command.h"
#include "exit_code.h"
#include "report.h"
#include "terminal.h"
#include <soleguard/analysis.h>
#include <soleguard/text.h>

namespace guardcheck {
namespace {

namespace json = boost::json;
using soleguard::Analysis;
using soleguard::Consequence;
using soleguard::EscapeBytes;
using soleguard::EventAnalysis;
using soleguard::LayerSet;
using soleguard::Policy;

// More are counted, not shown: nobody reads them. JSON has all.
constexpr std::size_t kMaxShownSets = 20;

std::vector<std::string> NamesOf(const Policy& policy, LayerSet set) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) {
    if ((set >> i & 1) != 0) names.push_back(EscapeBytes(policy.layers()[i].ToString()));
  }
  return names;
}

std::string Listed(const Policy& policy, LayerSet set) {
  return absl::StrJoin(NamesOf(policy, set), ", ");
}

std::string Count(int number, const std::string& thing) {
  return absl::StrCat(number, " ", thing, number == 1 ? "" : "s");
}

std::string CounterExampleText(const Policy& policy, const Analysis& analysis) {
  if (!analysis.counter_example.has_value()) return "";
  const auto& [a, b] = *analysis.counter_example;
  if (a == b) {
    return absl::StrCat("  ", Listed(policy, a),
                        " meets the policy and excludes nobody: two processes can both have it.\n");
  }
  return absl::StrCat("  A process for which only ", Listed(policy, a),
                      " works and one for which only ", Listed(policy, b),
                      " works\n  share no layer that excludes: both can run.\n");
}

std::string SafetyText(const Policy& policy, const Analysis& analysis) {
  switch (analysis.safety) {
    case Analysis::Safety::kSafe:
      return "SAFE. Every two sets of layers that confirm share a layer that only one process can "
             "hold:\ntwo instances exclude each other, whichever layers fail for the one and not "
             "for the other.\n";
    case Analysis::Safety::kUndecided:
      return "NOT DECIDED, so take it for unsafe: it has too many combinations of layers to try. "
             "Name fewer\nlayers.\n";
    case Analysis::Safety::kUnsafe:
      break;
  }
  std::string text = "UNSAFE. Two instances can run.\n";
  if (!policy.veto()) {
    absl::StrAppend(&text,
                    "  veto=off: one layer's yes may outvote what another layer has seen. Leave it "
                    "out.\n");
  }
  return absl::StrCat(text, CounterExampleText(policy, analysis));
}

std::string SetsText(const Policy& policy, const Analysis& analysis) {
  std::string text = analysis.minimal_sets.size() == 1 ? "\nA start needs all of\n"
                                                       : "\nA start needs one of these sets\n";
  const std::size_t shown = std::min(analysis.minimal_sets.size(), kMaxShownSets);
  for (std::size_t i = 0; i < shown; ++i) {
    absl::StrAppend(&text, "  ", Listed(policy, analysis.minimal_sets[i]), "\n");
  }
  if (const std::size_t more = analysis.minimal_sets.size() - shown; more > 0) {
    absl::StrAppend(&text, "  and ", more, " more", "\n");
  }
  if (!analysis.minimal_sets_complete) {
    absl::StrAppend(&text, "  and others: there are too many, the list was cut\n");
  }
  return text;
}

std::string DestroyedText(std::optional<int> to_destroy) {
  if (!to_destroy.has_value()) return "cannot be told: too many combinations of layers";
  if (*to_destroy == 0) return "none: two can run as it is";
  return Count(*to_destroy - 1, "destroyed claim");
}

std::string SurvivalText(const Analysis& analysis) {
  return absl::StrCat("\nWhat it survives\n  a start:     ",
                      analysis.layers_to_break.has_value()
                          ? Count(*analysis.layers_to_break - 1, "broken layer")
                          : std::string("cannot be told: too many combinations of layers"),
                      "\n  exclusion:   ", DestroyedText(analysis.claims_to_destroy),
                      ", when every layer works for both\n               ",
                      DestroyedText(analysis.claims_to_destroy_at_worst),
                      ", when only the fewest layers work for each\n");
}

std::string EventsText(const Policy& policy, const Analysis& analysis, Consequence consequence,
                       const std::string& title) {
  std::string text;
  for (const EventAnalysis& event : analysis.events) {
    if (event.consequence != consequence) continue;
    if (text.empty()) text = absl::StrCat("\n", title, "\n");
    absl::StrAppend(&text, "  ", std::string(event.event.id), ": ", std::string(event.event.what),
                    "\n     ");
    if (event.blinded != 0) {
      absl::StrAppend(&text, " blinds ", Listed(policy, event.blinded),
                      event.unavailable != 0 ? ";" : "");
    }
    if (event.unavailable != 0) {
      absl::StrAppend(&text, " unavailable: ", Listed(policy, event.unavailable));
    }
    text += '\n';
  }
  return text;
}

std::string ExplanationText(const Policy& policy, const Analysis& analysis) {
  std::string text =
      absl::StrCat("Policy ", EscapeBytes(policy.ToString()), "\n\n", SafetyText(policy, analysis),
                   SetsText(policy, analysis), SurvivalText(analysis));
  absl::StrAppend(&text,
                  EventsText(policy, analysis, Consequence::kDoubled,
                             "Single events after which a second instance can run"),
                  EventsText(policy, analysis, Consequence::kRefused,
                             "Single events after which nobody starts until they are mended"),
                  EventsText(policy, analysis, Consequence::kStarts,
                             "Single events that it takes: a start works, a holder refuses it"));
  if (!analysis.cautions.empty()) text += "\nTo be known\n";
  for (const std::string& caution : analysis.cautions) {
    absl::StrAppend(&text, "  ", caution, ".\n");
  }
  return text;
}

json::array Names(const Policy& policy, LayerSet set) {
  json::array names;
  for (const std::string& name : NamesOf(policy, set)) names.push_back(json::string(name));
  return names;
}

json::value OrNull(const std::optional<int>& number) {
  return number.has_value() ? json::value(*number) : json::value();
}

std::string SafetyName(Analysis::Safety safety) {
  switch (safety) {
    case Analysis::Safety::kSafe:
      return "safe";
    case Analysis::Safety::kUnsafe:
      return "unsafe";
    case Analysis::Safety::kUndecided:
      break;
  }
  return "undecided";
}

json::value ExplanationJson(const Policy& policy, const Analysis& analysis) {
  json::array sets;
  for (const LayerSet set : analysis.minimal_sets) sets.push_back(Names(policy, set));
  json::array events;
  for (const EventAnalysis& event : analysis.events) {
    events.push_back({{"event", std::string(event.event.id)},
                      {"what", std::string(event.event.what)},
                      {"blinds", Names(policy, event.blinded)},
                      {"unavailable", Names(policy, event.unavailable)},
                      {"consequence", std::string(ToString(event.consequence))}});
  }
  json::array cautions;
  for (const std::string& caution : analysis.cautions) cautions.push_back(json::string(caution));
  json::value counter_example;
  if (analysis.counter_example.has_value()) {
    counter_example = json::array{Names(policy, analysis.counter_example->first),
                                  Names(policy, analysis.counter_example->second)};
  }
  return json::object{{"schema", 1},
                      {"policy", EscapeBytes(policy.ToString())},
                      {"safety", SafetyName(analysis.safety)},
                      {"veto", policy.veto()},
                      {"exclusive", Names(policy, ExclusiveLayers(policy))},
                      {"minimal_sets", std::move(sets)},
                      {"minimal_sets_complete", analysis.minimal_sets_complete},
                      {"counter_example", std::move(counter_example)},
                      {"layers_to_break", OrNull(analysis.layers_to_break)},
                      {"claims_to_destroy", OrNull(analysis.claims_to_destroy)},
                      {"claims_to_destroy_at_worst", OrNull(analysis.claims_to_destroy_at_worst)},
                      {"events", std::move(events)},
                      {"cautions", std::move(cautions)}};
}

// How many columns of a terminal `bytes` take once they are escaped, wide characters aside.
std::size_t Width(std::string_view bytes) {
  const std::string shown = EscapeBytes(bytes);
  return static_cast<std::size_t>(std::count_if(shown.begin(), shown.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;  // no continuation of UTF-8
  }));
}

}  // namespace

std::string PolicyError(const std::string& text, const absl::Status& status) {
  std::string error(status.message());
  absl::string_view rest = status.message();
  std::size_t column = 0;
  if (!absl::ConsumePrefix(&rest, "column ") ||
      !absl::SimpleAtoi(rest.substr(0, rest.find(':')), &column) || column < 1 ||
      column > text.size() + 1) {
    return error;
  }
  // Of a long text the part around the column: a line that wraps has no place for a caret.
  constexpr std::size_t kBefore = 60;
  constexpr std::size_t kAfter = 15;
  const std::string_view before = std::string_view(text).substr(0, column - 1);
  const std::size_t begin = before.size() > kBefore ? before.size() - kBefore : 0;
  const std::string_view shown =
      std::string_view(text).substr(begin, before.size() - begin + kAfter);
  const std::string mark = begin > 0 ? "..." : "";
  return absl::StrCat(error, "\n  ", mark, EscapeBytes(shown),
                      begin + shown.size() < text.size() ? "...\n  " : "\n  ",
                      std::string(mark.size() + Width(before.substr(begin)), ' '), "^");
}

namespace {

class Explain final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--json", .help = "print JSON", .read = Into(json_), .is_setting = false}};
  }

  int Run(const Call& call) override {
    absl::StatusOr<Policy> policy = Policy::Parse(call.operand);
    if (!policy.ok()) {
      throw UsageError("POLICY: " + PolicyError(call.operand, policy.status()));
    }
    const Analysis analysis = Analyse(*policy);
    if (json_) {
      Print(ExplanationJson(*policy, analysis));
    } else {
      Show(ExplanationText(*policy, analysis), stdout);
    }
    return analysis.safety == Analysis::Safety::kSafe ? kYes : kUndetermined;
  }

 private:
  bool json_ = false;
};

}  // namespace

CommandKind ExplainCommand() {
  return {.name = "explain",
          .help = "what a policy guarantees, and what it does not",
          .operand = "POLICY",
          .takes = CommandKind::Takes::kNothing,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Explain>()); }};
}

}  // namespace guardcheck

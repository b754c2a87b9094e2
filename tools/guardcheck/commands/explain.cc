// explain: what a policy guarantees. Looks at its text alone, at nothing of this system.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "command.h"
#include "exit_code.h"
#include "show/json.h"
#include "show/policy_error.h"
#include "show/terminal.h"
#include "show/words.h"
#include <soleguard/analysis.h>

namespace guardcheck {
namespace {

using soleguard::Analysis;
using soleguard::Consequence;
using soleguard::EventAnalysis;
using soleguard::LayerSet;
using soleguard::Policy;

// More are counted, not shown: nobody reads them. JSON has all.
constexpr std::size_t kMaxShownSets = 20;

std::vector<Shown> NamesOf(const Policy& policy, LayerSet set) {
  std::vector<Shown> names;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) {
    if ((set >> i & 1) != 0) names.push_back(Escape(policy.layers()[i].ToString()));
  }
  return names;
}

Shown Listed(const Policy& policy, LayerSet set) { return Join(NamesOf(policy, set), ", "); }

Shown CounterExampleText(const Policy& policy, const Analysis& analysis) {
  if (!analysis.counter_example.has_value()) return "";
  const auto& [a, b] = *analysis.counter_example;
  if (a == b) {
    return Text("  ", Listed(policy, a),
                " meets the policy and excludes nobody: two processes can both have it.\n");
  }
  return Text("  A process for which only ", Listed(policy, a), " works and one for which only ",
              Listed(policy, b), " works\n  share no layer that excludes: both can run.\n");
}

Shown SafetyText(const Policy& policy, const Analysis& analysis) {
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
  Shown text = "UNSAFE. Two instances can run.\n";
  if (!policy.veto()) {
    text += "  veto=off: one layer's yes may outvote what another layer has seen. Leave it out.\n";
  }
  return Text(text, CounterExampleText(policy, analysis));
}

Shown SetsText(const Policy& policy, const Analysis& analysis) {
  Shown text = analysis.minimal_sets.size() == 1 ? Shown("\nA start needs all of\n")
                                                 : "\nA start needs one of these sets\n";
  const std::size_t shown = std::min(analysis.minimal_sets.size(), kMaxShownSets);
  for (std::size_t i = 0; i < shown; ++i) {
    text += Text("  ", Listed(policy, analysis.minimal_sets[i]), "\n");
  }
  if (const std::size_t more = analysis.minimal_sets.size() - shown; more > 0) {
    text += Text("  and ", more, " more\n");
  }
  if (!analysis.minimal_sets_complete) {
    text += "  and others: there are too many, the list was cut\n";
  }
  return text;
}

Shown DestroyedText(std::optional<int> to_destroy) {
  if (!to_destroy.has_value()) return "cannot be told: too many combinations of layers";
  if (*to_destroy == 0) return "none: two can run as it is";
  return Count(*to_destroy - 1, "destroyed claim");
}

Shown SurvivalText(const Analysis& analysis) {
  return Text("\nWhat it survives\n  a start:     ",
              analysis.layers_to_break.has_value()
                  ? Count(*analysis.layers_to_break - 1, "broken layer")
                  : Shown("cannot be told: too many combinations of layers"),
              "\n  exclusion:   ", DestroyedText(analysis.claims_to_destroy),
              ", when every layer works for both\n               ",
              DestroyedText(analysis.claims_to_destroy_at_worst),
              ", when only the fewest layers work for each\n");
}

Shown EventsText(const Policy& policy, const Analysis& analysis, Consequence consequence,
                 const Shown& title) {
  Shown text;
  for (const EventAnalysis& event : analysis.events) {
    if (event.consequence != consequence) continue;
    if (text.empty()) text = Text("\n", title, "\n");
    text += Text("  ", Said(event.event.id), ": ", Said(event.event.what), "\n     ");
    if (event.blinded != 0) {
      text +=
          Text(" blinds ", Listed(policy, event.blinded), event.unavailable != 0 ? ";" : Shown());
    }
    if (event.unavailable != 0) {
      text += Text(" unavailable: ", Listed(policy, event.unavailable));
    }
    text += "\n";
  }
  return text;
}

Shown ExplanationText(const Policy& policy, const Analysis& analysis) {
  Shown text = Text("Policy ", Escape(policy.ToString()), "\n\n", SafetyText(policy, analysis),
                    SetsText(policy, analysis), SurvivalText(analysis));
  text += Text(EventsText(policy, analysis, Consequence::kDoubled,
                          "Single events after which a second instance can run"),
               EventsText(policy, analysis, Consequence::kRefused,
                          "Single events after which nobody starts until they are mended"),
               EventsText(policy, analysis, Consequence::kStarts,
                          "Single events that it takes: a start works, a holder refuses it"));
  if (!analysis.cautions.empty()) text += "\nTo be known\n";
  for (const std::string& caution : analysis.cautions) {
    text += Text("  ", Said(caution), ".\n");
  }
  return text;
}

Json Names(const Policy& policy, LayerSet set) {
  return ArrayOf(NamesOf(policy, set), [](const Shown& name) { return Json(name); });
}

Shown SafetyName(Analysis::Safety safety) {
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

Json EventJson(const Policy& policy, const EventAnalysis& event) {
  return Json::Object({{"event", Said(event.event.id)},
                       {"what", Said(event.event.what)},
                       {"blinds", Names(policy, event.blinded)},
                       {"unavailable", Names(policy, event.unavailable)},
                       {"consequence", WordOf(event.consequence)}});
}

Json CounterExampleJson(const Policy& policy, const Analysis& analysis) {
  if (!analysis.counter_example.has_value()) return nullptr;
  Json sets = Json::Array();
  sets.Add(Names(policy, analysis.counter_example->first));
  sets.Add(Names(policy, analysis.counter_example->second));
  return sets;
}

Json ExplanationJson(const Policy& policy, const Analysis& analysis) {
  const auto names = [&policy](LayerSet set) { return Names(policy, set); };
  const auto event = [&policy](const EventAnalysis& one) { return EventJson(policy, one); };
  const auto said = [](const std::string& text) { return Json(Said(text)); };
  return Json::Object({{"schema", 1},
                       {"policy", Escape(policy.ToString())},
                       {"safety", SafetyName(analysis.safety)},
                       {"veto", policy.veto()},
                       {"exclusive", names(ExclusiveLayers(policy))},
                       {"minimal_sets", ArrayOf(analysis.minimal_sets, names)},
                       {"minimal_sets_complete", analysis.minimal_sets_complete},
                       {"counter_example", CounterExampleJson(policy, analysis)},
                       {"layers_to_break", analysis.layers_to_break},
                       {"claims_to_destroy", analysis.claims_to_destroy},
                       {"claims_to_destroy_at_worst", analysis.claims_to_destroy_at_worst},
                       {"events", ArrayOf(analysis.events, event)},
                       {"cautions", ArrayOf(analysis.cautions, said)}});
}

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

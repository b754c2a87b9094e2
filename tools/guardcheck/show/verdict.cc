#include "show/verdict.h"

#include <optional>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include "show/holder.h"
#include "show/say.h"
#include "show/words.h"
#include "soleguard/analysis.h"
#include "soleguard/inspect.h"
#include "soleguard/verdict_text.h"

namespace guardcheck {
namespace {

using Decision = soleguard::Arbiter::Decision;

// Of a duplicate, both of a start and of a forecast.
void SetHolders(Json& object, const Common& common, const soleguard::Holder& holder,
                const std::vector<soleguard::Holder>& others) {
  object.Set("holder", HolderJson(holder));
  object.Set("other_holders", HoldersJson(others));
  object.Set("same_policy", HasSamePolicy(common, holder));
}

// One layer's reason as the arbiter adds it to its own.
std::string AsAdded(const std::string& layer, const absl::Status& reason) {
  return absl::StrCat("; ", Escape(layer).text(), ": ", reason.message());
}

// `why` without `reasons`, which are shown below it, layer by layer.
Shown Without(const std::vector<std::string>& reasons, const absl::Status& why) {
  std::string text(why.message());
  for (const std::string& reason : reasons) absl::StrReplaceAll({{reason, ""}}, &text);
  return Said(text);
}

Shown WhyUndetermined(const soleguard::Undetermined& undetermined) {
  std::vector<std::string> reasons;
  for (const soleguard::LayerReport& report : undetermined.layers) {
    if (!report.status.ok()) reasons.push_back(AsAdded(report.layer, report.status));
  }
  return Without(reasons, undetermined.status);
}

Shown WhyUndetermined(const soleguard::Forecast& forecast) {
  std::vector<std::string> reasons;
  for (const auto& layer : forecast.inspection.layers) {
    const auto* unavailable = std::get_if<soleguard::Unavailable>(&layer.sighting);
    if (unavailable != nullptr) reasons.push_back(AsAdded(layer.layer, unavailable->status));
  }
  return Without(reasons, forecast.status);
}

}  // namespace

Shown RefusalText(const Call& call, const soleguard::Duplicate& duplicate,
                  const SlotLimits& limits) {
  return Text(Escape(call.operand), " is already running", InSlots(duplicate.others),
              Said(WhyRefused(duplicate)), "\n\nWho holds it\n",
              HoldersText(duplicate.holder, duplicate.others),
              PolicyText(call.common, duplicate.holder), "\nWhat the layers say\n",
              EvidenceText(duplicate.layers), "\n", NextSteps(call, limits, duplicate.holder));
}

Shown RefusalLine(const Call& call, const soleguard::Duplicate& duplicate) {
  const std::optional<soleguard::ProcessIdentity> who = RunningProcessOf(duplicate.holder);
  const Shown overdue = OverdueText(duplicate.holder);
  return Text(Escape(call.operand), " is already running", InSlots(duplicate.others),
              who.has_value() ? Text(": ", ProcessLine(*who)) : Shown(),
              overdue.empty() ? Shown() : Text(", ", overdue), Said(WhyRefused(duplicate)));
}

Json RefusalJson(const std::string& name, const Common& common,
                 const soleguard::Duplicate& duplicate) {
  Json object = Head(name, common);
  object.Set("verdict", "duplicate");
  SetHolders(object, common, duplicate.holder, duplicate.others);
  object.Set("layers", LayersJson(duplicate.layers));
  if (!duplicate.not_replaced.ok()) {
    object.Set("not_replaced", Said(duplicate.not_replaced.message()));
  }
  if (!duplicate.not_awaited.ok()) {
    object.Set("not_awaited", Said(duplicate.not_awaited.message()));
  }
  return object;
}

Shown UndeterminedText(const std::string& name, const soleguard::Undetermined& undetermined) {
  return Text("cannot tell whether ", Escape(name), " is running, so it was not started.\n  ",
              WhyUndetermined(undetermined), "\n\nWhat the layers say\n",
              EvidenceText(undetermined.layers));
}

Json UndeterminedJson(const std::string& name, const Common& common,
                      const soleguard::Undetermined& undetermined) {
  Json object = Head(name, common);
  object.Set("verdict", "undetermined");
  object.Set("reason", Said(undetermined.status.message()));
  object.Set("layers", LayersJson(undetermined.layers));
  return object;
}

Json TooSoonJson(const std::string& name, const Common& common, const soleguard::HistoryEvent& last,
                 absl::Time next) {
  Json object = Head(name, common);
  object.Set("verdict", "too_soon");
  object.Set("last_start", Rfc3339(last.time));
  object.Set("next_start", Rfc3339(next));
  return object;
}

Json UniqueJson(const std::string& name, const Common& common, const soleguard::Guard& guard) {
  Json object = Head(name, common);
  object.Set("verdict", "unique");
  object.Set("record", RecordJson(guard.record()));
  object.Set("token_is_durable", guard.token_is_durable());
  object.Set("layers", LayersJson(guard.layers()));
  return object;
}

void MentionUnsafe(const soleguard::Policy& policy) {
  using Safety = soleguard::Analysis::Safety;
  const Safety safety = soleguard::SafetyOf(policy);
  if (safety == Safety::kSafe) return;
  const std::string text = policy.ToString();
  const Shown what = safety == Safety::kUnsafe
                         ? Shown("is UNSAFE: two instances can run")
                         : "has too many layers for a proof, so take it for UNSAFE";
  Say(Priority::kWarning, Text("policy ", Escape(text), " ", what, "; guardcheck explain ",
                               ShellWord(text), " says when"));
}

Shown CheckText(const Call& call, const soleguard::Forecast& forecast, const SlotLimits& limits) {
  const Shown name = Escape(call.operand);
  const Shown layers = Text("What the layers see\n", SightingsText(forecast.inspection));
  switch (forecast.decision) {
    case Decision::kUnique:
      return Text(name, " may start",
                  forecast.slot == 0 ? Shown() : Text(" in slot ", forecast.slot), ".\n\n", layers);
    case Decision::kDuplicate:
      return Text(name, " is already running", InSlots(forecast.others),
                  "; a start would be refused.\n\nWho holds it\n",
                  HoldersText(*forecast.holder, forecast.others),
                  PolicyText(call.common, *forecast.holder), "\n", layers, "\n",
                  NextSteps(call, limits, *forecast.holder));
    case Decision::kUndetermined:
      break;
  }
  return Text("Cannot tell whether ", name, " may start; a start would be refused.\n  ",
              WhyUndetermined(forecast), "\n\n", layers);
}

Json CheckJson(const std::string& name, const Common& common, const soleguard::Forecast& forecast) {
  Json object = Head(name, common);
  switch (forecast.decision) {
    case Decision::kUnique:
      object.Set("verdict", "unique");
      object.Set("slot", forecast.slot);
      break;
    case Decision::kDuplicate:
      object.Set("verdict", "duplicate");
      SetHolders(object, common, *forecast.holder, forecast.others);
      break;
    case Decision::kUndetermined:
      object.Set("verdict", "undetermined");
      object.Set("reason", Said(forecast.status.message()));
      break;
  }
  object.Set("layers", SightingsJson(forecast.inspection.layers));
  return object;
}

}  // namespace guardcheck

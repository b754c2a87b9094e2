#include "soleguard/diagnose.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "members.h"
#include "soleguard/analysis.h"
#include "soleguard/event.h"
#include "soleguard/finding.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr char kPolicy[] = "policy";
// For what is looked at without a name.
constexpr char kNobody[] = "guardcheck-doctor";

// What one event, or several at once, do to the layers of a policy.
struct Damage {
  LayerSet blinded = 0;
  LayerSet unavailable = 0;
  bool carrier = false;  // what lets a claim live on in a child is unavailable

  bool any() const { return (blinded | unavailable) != 0 || carrier; }
};

Damage DamageOf(Event event, const Policy& policy, bool hand_on) {
  Damage damage;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) {
    const LayerSpec& spec = policy.layers()[i];
    const LayerKind* kind = spec.kind;
    const Effect effect =
        kind->effect == nullptr ? Effect::kNone : kind->effect(event, spec.parameters);
    if (effect == Effect::kBlinds) damage.blinded |= LayerSet{1} << i;
    if (effect == Effect::kUnavailable) damage.unavailable |= LayerSet{1} << i;
  }
  // `guardcheck run` must hold that one's object whatever the policy.
  const LayerKind& carrier = CarrierKind();
  damage.carrier =
      hand_on && carrier.effect != nullptr && carrier.effect(event, {}) == Effect::kUnavailable;
  return damage;
}

Consequence ConsequenceOf(const Damage& damage, const Policy& policy) {
  LayerSet all = 0;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) all |= LayerSet{1} << i;
  const LayerSet after = all & ~damage.unavailable;
  if (damage.carrier) return Consequence::kRefused;
  if (MayBothHold(policy, all, after, all & ~damage.blinded)) return Consequence::kDoubled;
  return policy.MetBy(after) ? Consequence::kStarts : Consequence::kRefused;
}

std::string NamesOf(LayerSet set, const Policy& policy) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) {
    if ((set >> i & 1) != 0) names.push_back(EscapeBytes(policy.layers()[i].ToString()));
  }
  return absl::StrJoin(names, ", ");
}

std::string ConsequenceText(const Damage& damage, Consequence consequence, const Policy& policy,
                            bool threat) {
  std::vector<std::string> parts;
  if (damage.unavailable != 0) {
    parts.push_back(absl::StrCat("cannot tell: ", NamesOf(damage.unavailable, policy)));
  }
  if (damage.blinded != 0) {
    parts.push_back(absl::StrCat("no longer meets the other: ", NamesOf(damage.blinded, policy)));
  }
  switch (consequence) {
    case Consequence::kStarts:
      parts.push_back("a start works, and a holder still refuses it");
      break;
    case Consequence::kRefused:
      parts.push_back(damage.carrier ? "guardcheck run refuses to start until it is mended"
                                     : "starts are refused until it is mended");
      break;
    case Consequence::kDoubled:
      parts.push_back("a second instance can run beside a holder");
      break;
  }
  return absl::StrCat(threat ? "if it happens: " : "", absl::StrJoin(parts, "; "));
}

// What the finding is worth under the policy.
void Weigh(Finding& finding, const Policy& policy, bool hand_on) {
  if (!finding.event.has_value()) return;
  const Damage damage = DamageOf(*finding.event, policy, hand_on);
  if (!damage.any()) {
    // Layers that the policy doesn't have, or that stand it.
    if (finding.severity > Severity::kNote) finding.severity = Severity::kNote;
    finding.consequence = absl::StrCat(finding.consequence, finding.consequence.empty() ? "" : "; ",
                                       "no layer of the policy minds");
    return;
  }
  const Consequence consequence = ConsequenceOf(damage, policy);
  const std::string text = ConsequenceText(damage, consequence, policy, finding.threat);
  finding.consequence =
      absl::StrCat(finding.consequence, finding.consequence.empty() ? "" : "; ", text);
  if (consequence == Consequence::kStarts) {
    finding.severity = finding.threat ? Severity::kNote : Severity::kWarning;
  } else {
    finding.severity = finding.threat ? Severity::kWarning : Severity::kProblem;
  }
}

// All that is the case at once: each alone may be survived, and all together not.
std::optional<Finding> Together(const std::vector<Finding>& findings, const Policy& policy,
                                const Options& options, const Damage& unexplained) {
  Damage all = unexplained;
  Consequence worst = Consequence::kStarts;
  for (const Finding& finding : findings) {
    if (!finding.event.has_value() || finding.threat) continue;
    const Damage damage = DamageOf(*finding.event, policy, options.hand_on);
    all.blinded |= damage.blinded;
    all.unavailable |= damage.unavailable;
    all.carrier = all.carrier || damage.carrier;
    worst = std::max(worst, ConsequenceOf(damage, policy));
  }
  if (!all.any()) return std::nullopt;
  const Consequence consequence = ConsequenceOf(all, policy);
  if (consequence == Consequence::kStarts || worst != Consequence::kStarts) return std::nullopt;
  return Finding{
      .severity = Severity::kProblem,
      .layer = kPolicy,
      .what = absl::StrCat("all of the above together, under ", EscapeBytes(policy.ToString())),
      .consequence = ConsequenceText(all, consequence, policy, /*threat=*/false),
      .fix =
          "mend one of the above, or choose a policy that needs fewer layers "
          "(guardcheck explain POLICY)"};
}

Finding PolicyFinding(const Policy& policy) {
  const Analysis analysis = Analyse(policy);
  const std::string text = EscapeBytes(policy.ToString());
  const std::string explain = "guardcheck explain shows how";
  switch (analysis.safety) {
    case Analysis::Safety::kSafe:
      return {.severity = Severity::kOk,
              .layer = kPolicy,
              .what = absl::StrCat(text,
                                   " is safe: every two sets of layers that meet it share "
                                   "one that excludes"),
              .consequence = "",
              .fix = ""};
    case Analysis::Safety::kUndecided:
      return {.severity = Severity::kProblem,
              .layer = kPolicy,
              .what = absl::StrCat(text, " has too many combinations of layers to tell"),
              .consequence = "two instances may run",
              .fix = "choose a smaller policy"};
    case Analysis::Safety::kUnsafe:
      break;
  }
  return {.severity = Severity::kProblem,
          .layer = kPolicy,
          .what = absl::StrCat(text, " is not safe"),
          .consequence = policy.veto() ? "two instances can run when layers fail for the one and "
                                         "not for the other"
                                       : "one layer's yes outvotes what another has seen: two "
                                         "instances can run",
          .fix = absl::StrCat(explain, "; policy default is safe")};
}

// What every start needs, whatever the policy.
std::optional<Finding> DiagnoseSelf() {
  const absl::StatusOr<ProcessDescription> own = DescribeSelf();
  if (own.ok()) return std::nullopt;
  return Finding{.severity = Severity::kProblem,
                 .layer = "process",
                 .what = std::string(own.status().message()),
                 .consequence = "no start can say who it is: each one cannot tell, and is refused",
                 .fix = "mount a /proc of this pid namespace, whole: not with subset=pid"};
}

std::optional<HolderRecord> EstablishedIn(const Sighting& sighting) {
  const auto* taken = std::get_if<Taken>(&sighting);
  if (taken == nullptr || !taken->holder.record.has_value() ||
      taken->holder.standing != Standing::kEstablished) {
    return std::nullopt;
  }
  return taken->holder.record;
}

Finding CannotTell(const Layer& layer, const absl::Status& why) {
  return {.severity = Severity::kWarning,
          .layer = std::string(layer.text()),
          .what = absl::StrCat("cannot tell: ", why.message()),
          .consequence = "it confirms no start",
          .fix = ""};
}

// What the layers themselves say of now, and which of them cannot tell without a finding of
// theirs.
LayerSet Look(const std::vector<std::unique_ptr<Layer>>& layers, std::vector<Finding>& findings,
              std::optional<HolderRecord>& holder) {
  LayerSet cannot_tell = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::vector<Finding> own = layers[i]->Diagnose();
    // As a start would find it.
    const Sighting sighting = layers[i]->Forecast();
    const auto* unavailable = std::get_if<Unavailable>(&sighting);
    const auto is_explained = [](const Finding& finding) {
      return finding.event.has_value() && !finding.threat;
    };
    if (unavailable != nullptr) {
      cannot_tell |= LayerSet{1} << i;
      if (std::none_of(own.begin(), own.end(), is_explained)) {
        own.push_back(CannotTell(*layers[i], unavailable->status));
      }
    }
    if (!holder.has_value()) holder = EstablishedIn(sighting);
    for (Finding& finding : own) {
      finding.layer = EscapeBytes(finding.layer);
      findings.push_back(std::move(finding));
    }
  }
  return cannot_tell;
}

}  // namespace

bool Diagnosis::healthy() const {
  return std::none_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.severity == Severity::kProblem;
  });
}

absl::StatusOr<Diagnosis> Diagnose(const Patient& patient, const Policy& policy,
                                   const Options& options) {
  const absl::StatusOr<InstanceName> name =
      InstanceName::Parse(patient.name.empty() ? std::string_view(kNobody) : patient.name);
  if (!name.ok()) return name.status();
  Diagnosis diagnosis;
  std::vector<Finding>& findings = diagnosis.findings;
  findings = DiagnoseScope(options.scope);
  if (std::optional<Finding> finding = DiagnoseSelf()) findings.push_back(*std::move(finding));

  Options looking = options;
  looking.subject = {.unknown = true};
  const std::vector<std::unique_ptr<Layer>> layers = MakeLayers(policy, looking, *name);
  std::optional<HolderRecord> holder;
  const LayerSet cannot_tell = Look(layers, findings, holder);
  // What `guardcheck run` holds beside the policy's layers may show a holder that they do not.
  Damage unexplained{.unavailable = cannot_tell};
  if (options.hand_on) {
    const std::unique_ptr<Layer> carrier = CarrierKind().make(
        {.scope = options.scope, .name = *name, .parameters = {}, .subject = {}});
    const Sighting sighting = carrier->Forecast();
    if (!holder.has_value()) holder = EstablishedIn(sighting);
    const auto* unavailable = std::get_if<Unavailable>(&sighting);
    const bool is_told =
        std::any_of(policy.layers().begin(), policy.layers().end(), [](const LayerSpec& spec) {
          return spec.kind == &CarrierKind() && spec.parameters.empty();
        });
    if (unavailable != nullptr) {
      unexplained.carrier = true;
      if (!is_told) findings.push_back(CannotTell(*carrier, unavailable->status));
    }
  }
  if (holder.has_value()) {
    if (holder->is_newer()) {
      findings.push_back({.severity = Severity::kNote,
                          .layer = kPolicy,
                          .what = absl::StrCat("the holder is ", NewerSoleguard(*holder),
                                               ", version ", EscapeBytes(holder->version)),
                          .consequence = "it excludes starts as any other; of its record only "
                                         "what never changes is read here",
                          .fix = "update this one"});
    }
    for (Finding& finding : DiagnoseHolder(holder->running())) {
      findings.push_back(std::move(finding));
    }
  }
  if (!patient.name.empty() && patient.invoking_user.has_value() &&
      options.scope.kind() == Scope::Kind::kUser) {
    for (Finding& finding : DiagnoseInvokingUser(*patient.invoking_user, *name)) {
      findings.push_back(std::move(finding));
    }
  }

  for (Finding& finding : findings) Weigh(finding, policy, options.hand_on);
  std::optional<Finding> together = Together(findings, policy, options, unexplained);
  if (together.has_value()) findings.push_back(*std::move(together));
  findings.push_back(PolicyFinding(policy));
  return diagnosis;
}

}  // namespace soleguard

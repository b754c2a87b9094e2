#include "soleguard/inspect.h"

#include <cstddef>
#include <memory>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>

#include "drive.h"
#include "members.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"
#include "soleguard/queue.h"
#include "soleguard/start.h"
#include "soleguard/text.h"

namespace soleguard {

const Holder* Inspection::holder() const {
  const Holder* found = nullptr;
  for (const LayerSighting& layer : layers) {
    const auto* taken = std::get_if<Taken>(&layer.sighting);
    if (taken == nullptr) continue;
    if (taken->holder.standing == Standing::kEstablished) return &taken->holder;
    if (found == nullptr) found = &taken->holder;
  }
  return found;
}

bool Inspection::blind() const {
  for (const LayerSighting& layer : layers) {
    if (std::holds_alternative<Unavailable>(layer.sighting)) return true;
  }
  return false;
}

namespace {

// What a layer that was only looked at gives: nothing is held.
class NoClaim final : public Claim {
 public:
  absl::Status Publish(const HolderRecord&) override { return absl::OkStatus(); }
  absl::Status Verify() const override { return absl::OkStatus(); }
  void Release() override {}
  absl::Status KeepOverExec() override { return absl::OkStatus(); }
};

// A layer for somebody who only looks: what the arbiter tries is looked at.
class OnlyLooked final : public Layer {
 public:
  explicit OnlyLooked(const Layer& layer) : layer_(layer) {}

  std::string_view text() const override { return layer_.text(); }
  Attempt Try(const HolderRecord& candidate) override {
    Attempt attempt = TryFinally(candidate);
    const auto* unavailable = std::get_if<Unavailable>(&attempt);
    // The race: it is seen half-way, as a contender's socket that is bound and does not listen yet.
    // Closed by looking again for as long as a start would try again.
    if (unavailable == nullptr || !absl::IsAborted(unavailable->status)) return attempt;
    Contested contested{.wake = {}, .unsettled = true};
    contested.holder.evidence = std::string(unavailable->status.message());
    return contested;
  }
  Attempt TryFinally(const HolderRecord&) override {
    seen_ = layer_.Forecast();
    if (std::holds_alternative<Free>(*seen_)) {
      if (std::optional<Holder> locker = ForeignLocker(layer_)) seen_ = Taken{*std::move(locker)};
    }
    if (const auto* unavailable = std::get_if<Unavailable>(&*seen_)) return *unavailable;
    const auto* taken = std::get_if<Taken>(&*seen_);
    if (taken == nullptr) return Held{std::make_unique<NoClaim>()};
    Contested contested{.holder = taken->holder, .wake = {}};
    if (taken->holder.standing == Standing::kDying && taken->holder.record.has_value()) {
      absl::StatusOr<UniqueFd> ended = OpenPidfd(taken->holder.record->identity);
      if (ended.ok()) contested.wake.push_back(*std::move(ended));
    }
    return contested;
  }
  Sighting Look() const override { return layer_.Look(); }
  Sighting Forecast() const override { return layer_.Forecast(); }
  std::vector<ProcessIdentity> Suspects() const override { return layer_.Suspects(); }

  // What was seen last; looks if it was not tried.
  Sighting TakeSeen() { return seen_.has_value() ? *std::move(seen_) : Forecast(); }

 private:
  const Layer& layer_;
  std::optional<Sighting> seen_;
};

}  // namespace

absl::Status CheckSlots(const Policy& policy, std::uint32_t slot_count) {
  if (slot_count < 1 || slot_count > kMaxSlots) {
    return absl::InvalidArgumentError(
        absl::StrCat("slots are 1 to ", kMaxSlots, ", found ", slot_count));
  }
  for (const LayerSpec& spec : policy.layers()) {
    const auto is_one_object = spec.kind->is_one_object;
    if (slot_count == 1 || is_one_object == nullptr || !is_one_object(spec.parameters)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "layer ", EscapeBytes(spec.ToString()), " is one object and cannot be one for each of ",
        slot_count, " slots; write ", std::string(spec.kind->name), " without parameters"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Inspection> Inspect(std::string_view name, const Policy& policy,
                                   const Options& options) {
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  return Inspect(*instance, policy, options);
}

Inspection Inspect(const InstanceName& slot, const Policy& policy, const Options& options) {
  Inspection inspection;
  const Layers layers(policy, options, slot);
  for (const Arbiter::Member& member : layers.Members([](Layer& layer) { return &layer; })) {
    inspection.layers.push_back(
        {.layer = std::string(member.layer->text()), .sighting = member.layer->Look()});
  }
  for (Inspection::LayerSighting& layer : inspection.layers) {
    auto* const taken = std::get_if<Taken>(&layer.sighting);
    if (taken == nullptr || taken->holder.standing != Standing::kEstablished) continue;
    AddBeat(options.scope, slot, taken->holder);
    break;  // of Inspection::holder
  }
  return inspection;
}

absl::StatusOr<Forecast> Check(std::string_view name, const Policy& policy,
                               const Options& options) {
  const Clock::time_point begin = Clock::now();
  const Patience patience(options.deadline);
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  absl::Status slots_fit = CheckSlots(policy, options.slot_count);
  if (!slots_fit.ok()) return slots_fit;
  // What a start needs to say who it is.
  if (const auto own = DescribeSelf(); !own.ok()) {
    return Forecast{.decision = Arbiter::Decision::kUndetermined,
                    .status = own.status(),
                    .inspection = *Inspect(name, policy, options)};
  }
  const auto slots = LayersOfSlots(policy, options, *instance);
  std::vector<std::unique_ptr<OnlyLooked>> looked;  // of one slot after the other
  const auto only_looked = [&looked](const Layer& layer) {
    return looked.emplace_back(std::make_unique<OnlyLooked>(layer)).get();
  };
  Start start({.policy = policy,
               .members = slots.front()->Members(only_looked),
               .other_slots = OtherMembers(slots, only_looked),
               .candidate = [] { return HolderRecord{}; },
               .times = {.deadline = options.deadline, .settle = options.settle},
               .queue = MakeQueue(options.scope, *instance)});
  Drive(start, begin, options.stop, options.waiting);

  Forecast forecast{.decision = start.decision(), .status = start.status()};
  if (forecast.decision == Arbiter::Decision::kUnique) forecast.slot = start.slot();
  if (forecast.decision == Arbiter::Decision::kDuplicate) {
    std::vector<Holder> holders = start.holders();
    for (Holder& holder : holders) AddBeat(options.scope, *instance, holder);
    forecast.holder = holders.front();
    forecast.others = BehindTheFirst(holders);
  }
  const std::size_t layers_of_each = looked.size() / slots.size();
  for (std::size_t i = 0; i < layers_of_each; ++i) {
    OnlyLooked& layer = *looked[forecast.slot * layers_of_each + i];
    forecast.inspection.layers.push_back(
        {.layer = std::string(layer.text()), .sighting = layer.TakeSeen()});
  }
  return forecast;
}

}  // namespace soleguard

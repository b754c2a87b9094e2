#include "show/status.h"

#include "look.h"
#include "show/holder.h"
#include "show/words.h"

namespace guardcheck {
using soleguard::Holder;

Listed LookAt(const soleguard::InstanceName& slot, const Common& common) {
  Listed listed{.name = slot,
                .inspection = soleguard::Inspect(slot, common.policy, ToLook(common)),
                .waiters = std::vector<soleguard::Waiter>()};
  if (slot.slot() == 0) listed.waiters = soleguard::WaitersOf(common.options.scope, slot);
  return listed;
}

Shown StatusText(const std::string& name, const std::vector<Listed>& slots) {
  std::vector<Shown> texts;
  for (const auto& [slot, inspection, waiters] : slots) {
    const Holder* holder = inspection.holder();
    Shown text;
    if (holder != nullptr) {
      text = Text(ShownSlot(slot), " is running (", WordOf(holder->standing), ").\n",
                  HolderText(*holder));
    } else if (inspection.blind()) {
      text = Text("Cannot tell whether ", ShownSlot(slot), " is running.\n");
    } else {
      continue;
    }
    texts.push_back(Text(text, SightingsText(inspection)));
  }
  if (texts.empty()) {
    texts.push_back(
        Text(Escape(name), " is not running.\n", SightingsText(slots.front().inspection)));
  }
  const Shown waiting = WaitersText(slots.front().waiters);
  if (!waiting.empty()) texts.push_back(waiting);
  return Join(texts, "\n");
}

Json StatusJson(const std::string& name, const Common& common, const std::vector<Listed>& slots) {
  Json object = Head(name, common);
  const Holder* first = nullptr;
  bool blind = false;
  for (const auto& [slot, inspection, waiters] : slots) {
    if (first == nullptr) first = inspection.holder();
    blind = blind || inspection.blind();
  }
  const bool can_tell = first != nullptr || !blind;
  object.Set("running", can_tell ? Json(first != nullptr) : Json());
  object.Set("holder", HolderOrNull(first));
  object.Set("layers", SightingsJson(slots.front().inspection.layers));
  object.Set("slots", ArrayOf(slots, [](const Listed& listed) {
               return Json::Object({{"slot", listed.name.slot()},
                                    {"holder", HolderOrNull(listed.inspection.holder())},
                                    {"layers", SightingsJson(listed.inspection.layers)}});
             }));
  object.Set("waiting", WaitersJson(slots.front().waiters));
  return object;
}

}  // namespace guardcheck

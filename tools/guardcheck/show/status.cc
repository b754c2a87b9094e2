#include "show/status.h"

#include "show/holder.h"
#include "show/words.h"

namespace guardcheck {
using soleguard::Holder;

Shown StatusText(const std::string& name, const std::vector<Listed>& slots) {
  std::vector<Shown> texts;
  for (const auto& [slot, inspection] : slots) {
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
  if (!texts.empty()) return Join(texts, "\n");
  return Text(Escape(name), " is not running.\n", SightingsText(slots.front().inspection));
}

Json StatusJson(const std::string& name, const Common& common, const std::vector<Listed>& slots) {
  Json object = Head(name, common);
  const Holder* first = nullptr;
  bool blind = false;
  for (const auto& [slot, inspection] : slots) {
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
  return object;
}

}  // namespace guardcheck

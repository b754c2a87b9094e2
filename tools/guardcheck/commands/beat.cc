// beat: the instance says that it gets on with its work.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/time/time.h>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/holder.h"
#include "show/json.h"
#include "show/other_names.h"
#include "show/say.h"
#include "show/terminal.h"
#include "show/words.h"
#include <soleguard/beat.h>
#include <soleguard/coverage.h>
#include <soleguard/inspect.h>
#include <soleguard/name.h>
#include <soleguard/names.h>

namespace guardcheck {
namespace {

using soleguard::Holder;
using soleguard::HolderRecord;
using soleguard::InstanceName;

// Of the guarded command below which this process runs: the number that `variable` has there.
template <typename Number>
std::optional<Number> OwnNumber(const std::string& name, const char* variable) {
  const char* const own_name = std::getenv("SOLEGUARD_NAME");
  const char* const text = std::getenv(variable);
  Number number = 0;
  if (own_name == nullptr || own_name != name || text == nullptr) return std::nullopt;
  return absl::SimpleAtoi(text, &number) ? std::optional(number) : std::nullopt;
}

// Whether this process belongs to the instance of this record. A beat of any other process would
// prove nothing.
bool IsOurs(const std::string& name, const HolderRecord& holder) {
  if (const auto token = OwnNumber<std::uint64_t>(name, "SOLEGUARD_TOKEN")) {
    return *token == holder.token;
  }
  const absl::StatusOr<bool> is_ancestor = soleguard::IsOwnAncestor(holder.running());
  return is_ancestor.ok() && *is_ancestor;
}

class BeatNow final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--every",
             .value = "DURATION",
             .help = "how soon the next beat comes; it is overdue when none came for twice that "
                     "time (default: as run --beat-every or the last beat said)",
             .read = [this](const std::string& text) { return Into(every_.emplace())(text); }},
            {.name = "--slot",
             .value = "K",
             .help = "of the instance in slot K (default: the one that it is called from)",
             .read = Into(slot_, 0, static_cast<int>(soleguard::kMaxSlots) - 1),
             .is_setting = false}};
  }

  int Run(const Call& call) override {
    const InstanceName slot = SlotOf(call);
    const auto inspection = soleguard::Inspect(slot, call.common.policy, ToLook(call.common));
    const Holder* const holder = inspection.holder();
    if (holder == nullptr && inspection.blind()) {
      return NotNoted(call, kUndetermined, Text("cannot tell whether ", ShownSlot(slot), " runs"));
    }
    if (holder == nullptr) {
      const int code = NotNoted(call, kNotRunning, Text(ShownSlot(slot), " is not running"));
      if (!call.common.json) Show(OtherNamesText(call.operand, call.common), stderr);
      return code;
    }
    if (holder->standing != soleguard::Standing::kEstablished || !holder->record.has_value()) {
      return NotNoted(call, kUndetermined,
                      Text("the holder of ", ShownSlot(slot), " is ", WordOf(holder->standing),
                           ": ", Said(holder->evidence)));
    }
    if (!IsOurs(call.operand, *holder->record)) {
      return NotNoted(call, kTaken,
                      Text(ShownSlot(slot), " is held by ", ProcessLine(holder->record->running()),
                           ", and this process does not belong to it: call it from the guarded "
                           "command or below"));
    }
    const soleguard::Scope& scope = call.common.options.scope;
    const absl::Status written = WriteBeat(scope, slot, *holder->record, every_);
    if (!written.ok()) return NotNoted(call, kUndetermined, Said(written.message()));
    if (call.common.json) {
      Json object = Head(call.operand, call.common);
      object.Set("noted", true);
      object.Set("slot", slot.slot());
      const absl::StatusOr<soleguard::Beat> beat = LastBeat(scope, slot, *holder->record);
      object.Set("beat", BeatJson(beat.ok() ? std::optional(*beat) : std::nullopt));
      Print(object);
    }
    return kYes;
  }

 private:
  // The one that was said, that of the guarded command, or the one whose instance has started this
  // process, if any has.
  InstanceName SlotOf(const Call& call) const {
    const auto name = InstanceName::Parse(call.operand);
    if (slot_ >= 0) return name->Slot(static_cast<std::uint32_t>(slot_));
    if (const auto own = OwnNumber<std::uint32_t>(call.operand, "SOLEGUARD_SLOT")) {
      return name->Slot(std::min(*own, soleguard::kMaxSlots - 1));
    }
    const auto slots = soleguard::KnownSlots(call.common.options.scope, *name);
    for (const InstanceName& slot : slots.ok() ? *slots : std::vector<InstanceName>()) {
      const auto inspection = soleguard::Inspect(slot, call.common.policy, ToLook(call.common));
      const Holder* const holder = inspection.holder();
      if (holder != nullptr && holder->record.has_value() &&
          IsOurs(call.operand, *holder->record)) {
        return slot;
      }
    }
    return name->Slot(0);
  }

  static int NotNoted(const Call& call, int code, const Shown& why) {
    if (call.common.json) {
      Json object = Head(call.operand, call.common);
      object.Set("noted", false);
      object.Set("reason", why);
      Print(object);
    }
    Say(Priority::kError, Text("no beat was noted: ", why));
    return code;
  }

  std::optional<absl::Duration> every_;
  int slot_ = -1;  // the caller's
};

}  // namespace

CommandKind BeatCommand() {
  return {.name = "beat",
          .help = "say that the instance gets on with its work (from COMMAND or below)",
          .operand = "NAME",
          .make = [] { return std::unique_ptr<Command>(std::make_unique<BeatNow>()); }};
}

}  // namespace guardcheck

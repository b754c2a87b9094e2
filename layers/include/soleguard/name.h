// The instance name: what must be unique.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>

namespace soleguard {

// 1 to 255 bytes, any encoding, without '/' and control characters (0x00 to 0x1f, 0x7f), and
// neither "." nor "..": this is exactly what can be the name of a directory and be shown on one
// line. Two names that differ in any byte are two instances. Immutable, thread-safe.
class InstanceName {
 public:
  // InvalidArgument says which rule `text` breaks, and at which byte (from 1).
  static absl::StatusOr<InstanceName> Parse(std::string_view text);

  // For people and records: without the slot.
  const std::string& text() const { return text_; }

  // One of several instances that may run under the name, each with objects of its own. Slot 0 is
  // the plain name: it and a start that knows nothing of slots exclude each other.
  InstanceName Slot(std::uint32_t number) const { return InstanceName(text_, number); }
  std::uint32_t slot() const { return slot_; }

  // What its objects are called after: the text, and "NAME/slots/K" for a slot other than 0. No
  // other name or slot has the same key, because a name has no '/'.
  std::string key() const;

  friend bool operator==(const InstanceName&, const InstanceName&) = default;

 private:
  explicit InstanceName(std::string text, std::uint32_t slot = 0)
      : text_(std::move(text)), slot_(slot) {}

  std::string text_;
  std::uint32_t slot_;
};

}  // namespace soleguard

// The instance name: what must be unique.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>

namespace soleguard {

// 1 to 255 bytes, any encoding, without '/' and control characters (0x00 to 0x1f, 0x7f), and
// neither
// "." nor "..": exactly what can be the name of a directory and be shown on one line. Two names
// that differ in any byte are two instances. Immutable, thread-safe.
class InstanceName {
 public:
  // InvalidArgument says which rule `text` breaks, and at which byte (from 1).
  static absl::StatusOr<InstanceName> Parse(std::string_view text);

  const std::string& text() const { return text_; }

  friend bool operator==(const InstanceName&, const InstanceName&) = default;

 private:
  explicit InstanceName(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

}  // namespace soleguard

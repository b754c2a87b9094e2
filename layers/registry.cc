#include "soleguard/registry.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <tuple>

#include <absl/strings/str_cat.h>

#include "kinds.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr std::size_t kMostKinds = 32;

// Never destroyed: a Guard with static storage duration may outlive it otherwise.
struct Registry {
  std::array<LayerKind, kMostKinds> kinds = {
#define SOLEGUARD_LAYER(Kind) Kind##Layer(),
#include "layer_kinds.inc"
#undef SOLEGUARD_LAYER
  };
  static constexpr std::size_t kBuiltIn = 0
#define SOLEGUARD_LAYER(Kind) +1
#include "layer_kinds.inc"
#undef SOLEGUARD_LAYER
      ;
  static_assert(kBuiltIn <= kMostKinds);

  std::mutex mutex;  // of who adds one
  // Raised once the kind is there: who reads it needs no lock.
  std::atomic<std::size_t> count{kBuiltIn};
};

Registry& TheRegistry() {
  static auto* const registry = new Registry;
  return *registry;
}

bool IsWord(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// What stands for something else in policy text.
bool IsTaken(std::string_view name) {
  constexpr std::array<std::string_view, 7> kWords = {"all",     "any",    "at_least", "veto",
                                                      "default", "strict", "available"};
  return std::find(kWords.begin(), kWords.end(), name) != kWords.end();
}

bool IsBuiltIn(const LayerKind& kind) {
  return static_cast<std::size_t>(&kind - TheRegistry().kinds.data()) < Registry::kBuiltIn;
}

}  // namespace

std::span<const LayerKind> LayerKinds() {
  const Registry& registry = TheRegistry();
  return {registry.kinds.data(), registry.count.load(std::memory_order_acquire)};
}

const LayerKind* FindLayerKind(std::string_view name) {
  const std::span<const LayerKind> kinds = LayerKinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const LayerKind& kind) { return kind.name == name; });
  return found == kinds.end() ? nullptr : &*found;
}

bool ComesBefore(const LayerKind& a, const LayerKind& b) {
  const auto rank = [](const LayerKind& kind) {
    const bool built_in = IsBuiltIn(kind);
    return std::tuple(kind.observer, !built_in, built_in ? &kind : nullptr, kind.name);
  };
  return rank(a) < rank(b);
}

const LayerKind& CarrierKind() {
  const std::span<const LayerKind> kinds = LayerKinds();
  return *std::find_if(kinds.begin(), kinds.end(),
                       [](const LayerKind& kind) { return kind.carries; });
}

absl::Status RegisterLayerKind(const LayerKind& kind) {
  const std::string name = EscapeBytes(kind.name);
  if (!IsWord(kind.name) || IsTaken(kind.name)) {
    return absl::InvalidArgumentError(absl::StrCat("a layer cannot be called '", name,
                                                   "': its name is a word of a-z, 0-9 and _ ",
                                                   "that means nothing else in policy text"));
  }
  if (kind.check == nullptr || kind.make == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("layer ", name, " has no check or no make"));
  }
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  if (FindLayerKind(kind.name) != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat("there is a layer ", name, " already"));
  }
  const std::size_t count = registry.count.load(std::memory_order_relaxed);
  if (count == kMostKinds) {
    return absl::ResourceExhaustedError(
        absl::StrCat("layer ", name, " is one too many: there are ", kMostKinds, " kinds"));
  }
  registry.kinds[count] = kind;
  registry.count.store(count + 1, std::memory_order_release);
  return absl::OkStatus();
}

}  // namespace soleguard

// The kinds of layers that there are.
#pragma once

#include <span>
#include <string_view>

#include <absl/status/status.h>

#include "soleguard/layer.h"

namespace soleguard {

// All kinds: those of the library in the canonical order, then those that the program has
// registered. They stay where they are in memory, in one array. Thread-safe.
std::span<const LayerKind> LayerKinds();

// The kind called `name`, or nullptr. Thread-safe.
const LayerKind* FindLayerKind(std::string_view name);

// The canonical order, in which every process tries the layers of a policy; it is part of the
// protocol between processes. The library's exclusive kinds come first, then those that the program
// has registered, by name, so that it does not matter which was registered first. Observers come
// last, because they judge what the others have let pass.
bool ComesBefore(const LayerKind& a, const LayerKind& b);

// The kind that carries what `guardcheck run` holds: the first one that can.
const LayerKind& CarrierKind();

// Adds a kind of the program's own, or of another library's: from then on policy text knows it, and
// so do gc, looks and diagnosis in this process. No named policy changes. The kind stays as long as
// the process lives, and so must the texts and functions that it points to. Call this before a
// policy that names the kind is parsed, and in all programs that share a name. InvalidArgument: the
// name is no word of a-z, 0-9 and _, or means something else in policy text, or `check` or `make`
// is missing. AlreadyExists: there is a kind of that name. ResourceExhausted: there are 32 kinds.
// Thread-safe.
absl::Status RegisterLayerKind(const LayerKind& kind);

}  // namespace soleguard

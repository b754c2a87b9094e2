// Single events that take something away from several layers at once, and what each does to a
// layer. For the analysis of a policy; nothing is decided by it when a program starts.
#pragma once

#include <span>
#include <string_view>

namespace soleguard {

enum class Event : int {
  kLockFileDeleted,
  kScopeDirectoryRemoved,
  kScopeDirectorySquatted,
  kReadOnlyFilesystem,
  kDiskFull,
  kNetworkFilesystem,
  kPrivateTmp,
  kHiddenPlace,
  kMountNamespace,
  kTwoPaths,
  kUserNamespace,
  kHiddenUser,
  kIpcNamespace,
  kNetworkNamespace,
  kIpcAndNetworkNamespaces,
  kPidNamespace,
  kContainer,
  kAnotherHost,
  kServerUnreachable,
  kLeaseLapsed,
  kIpcRemoved,
  kRemoveIpc,
  kSemaphoreUndoUnshared,
  kSemaphoreSquatted,
  kSemaphoresExhausted,
  kPortSquatted,
  kNoLoopback,
  kHidepid,
  kProgramReplaced,
  kDescriptorsClosed,
  kDescriptorsExhausted,
};

// What an event does to a layer.
enum class Effect : int {
  kNone,
  // The layer works for a process that starts after the event (or on the other side of it), but it
  // doesn't meet a claim made before (or on this side): both can hold it.
  kBlinds,
  // The layer cannot tell, for a process that starts after the event.
  kUnavailable,
};
std::string_view ToString(Effect effect);  // "none", "blinds", "unavailable"

struct EventInfo {
  Event event;
  std::string_view id;    // a word of a-z and -
  std::string_view what;  // what happens, for a person
};
// All events, in the order in which they are shown.
std::span<const EventInfo> Events();

}  // namespace soleguard

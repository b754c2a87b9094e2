#include "soleguard/event.h"

#include <array>

namespace soleguard {

std::string_view ToString(Effect effect) {
  switch (effect) {
    case Effect::kNone:
      return "none";
    case Effect::kBlinds:
      return "blinds";
    case Effect::kUnavailable:
      return "unavailable";
  }
  return "none";
}

std::span<const EventInfo> Events() {
  static constexpr std::array kEvents = {
      EventInfo{Event::kLockFileDeleted, "lock-file-deleted",
                "a lock file is deleted or replaced under its holder (rm, a tmp cleaner)"},
      EventInfo{Event::kScopeDirectoryRemoved, "scope-directory-removed",
                "the scope's directory, or the name's in it, is removed or renamed (rm -r)"},
      EventInfo{Event::kScopeDirectorySquatted, "scope-directory-squatted",
                "another user made the scope's directory first"},
      EventInfo{Event::kReadOnlyFilesystem, "read-only-filesystem",
                "the scope's filesystem, or that of a path= lock file, is mounted read-only"},
      EventInfo{Event::kDiskFull, "disk-full",
                "the scope's filesystem is full, and the name is new there"},
      EventInfo{Event::kNetworkFilesystem, "network-filesystem",
                "the scope's directory is on NFS or SMB"},
      EventInfo{Event::kPrivateTmp, "private-tmp",
                "a service has a /tmp of its own (PrivateTmp=), and the scope is a directory below "
                "/tmp"},
      EventInfo{Event::kHiddenPlace, "hidden-place",
                "a sandbox hides the user scope's directory from the newcomer, and that shows (a "
                "/run or /tmp of its own, bubblewrap, PrivateTmp=)"},
      EventInfo{Event::kMountNamespace, "mount-namespace",
                "one of two has other filesystems (chroot, a mount namespace)"},
      EventInfo{Event::kTwoPaths, "two-paths",
                "one scope directory is used by two paths that no symbolic link makes one (a bind "
                "mount)"},
      EventInfo{Event::kUserNamespace, "user-namespace",
                "the newcomer is in a user namespace, which says who it is outside"},
      EventInfo{Event::kHiddenUser, "hidden-user",
                "the newcomer is in a user namespace that hides from it which user it is"},
      EventInfo{Event::kIpcNamespace, "ipc-namespace", "one of two has another ipc namespace"},
      EventInfo{Event::kNetworkNamespace, "network-namespace",
                "one of two has another network namespace"},
      EventInfo{Event::kIpcAndNetworkNamespaces, "ipc-and-network-namespaces",
                "one of two has another ipc and another network namespace (a container that shares "
                "the scope's directory)"},
      EventInfo{Event::kPidNamespace, "pid-namespace", "one of two has another pid namespace"},
      EventInfo{Event::kContainer, "container",
                "one of two runs in a container that shares no namespace and no directory"},
      EventInfo{Event::kAnotherHost, "another-host", "the two run on two hosts"},
      EventInfo{Event::kServerUnreachable, "server-unreachable",
                "the newcomer does not reach the server that decides a layer (a partition, a lost "
                "quorum)"},
      EventInfo{Event::kLeaseLapsed, "lease-lapsed",
                "the holder is cut off from the server, or was suspended or stopped, for longer "
                "than its lease, and its program goes on when its Guard says that it is lost"},
      EventInfo{Event::kIpcRemoved, "ipc-removed", "System V objects of the user removed (ipcrm)"},
      EventInfo{Event::kRemoveIpc, "remove-ipc",
                "the user's last session ends and systemd-logind removes his ipc (RemoveIPC=)"},
      EventInfo{Event::kSemaphoreUndoUnshared, "semaphore-undo-unshared",
                "the holder calls unshare(CLONE_SYSVSEM)"},
      EventInfo{Event::kSemaphoreSquatted, "semaphore-squatted",
                "another user made the name's semaphore or shared memory first"},
      EventInfo{Event::kSemaphoresExhausted, "semaphores-exhausted",
                "the system has no semaphore set left (kernel.sem), and the name is new"},
      EventInfo{Event::kPortSquatted, "port-squatted",
                "a foreign program listens on the port, or on it at all addresses"},
      EventInfo{Event::kNoLoopback, "no-loopback",
                "127.0.0.0/8 is not on lo, or the port needs a privilege "
                "(ip_unprivileged_port_start)"},
      EventInfo{Event::kHidepid, "hidepid", "/proc hides the processes of others (hidepid=)"},
      EventInfo{Event::kProgramReplaced, "program-replaced",
                "the program's file is replaced on disk while it runs (an upgrade)"},
      EventInfo{Event::kDescriptorsClosed, "descriptors-closed",
                "the holder closes all its descriptors (closefrom(3))"},
      EventInfo{Event::kDescriptorsExhausted, "descriptors-exhausted",
                "the newcomer or the system may open no more files (EMFILE, ENFILE)"},
  };
  return kEvents;
}

}  // namespace soleguard

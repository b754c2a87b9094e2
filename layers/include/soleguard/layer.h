// The interface of a layer: one mechanism that at most one process can hold.
//
// To add one to the library: write layers/NAME.cc with a class in an anonymous namespace, name it
// in layers/CMakeLists.txt (one line), add its test and its page (docs/adding-a-layer.md). A
// program or another library can add one of its own: RegisterLayerKind (registry.h). Nothing above
// this header changes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/event.h"
#include "soleguard/fd.h"
#include "soleguard/finding.h"
#include "soleguard/holder.h"
#include "soleguard/name.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"
#include "soleguard/subject.h"
#include "soleguard/watch.h"

namespace soleguard {

enum class Event : int;  // soleguard/event.h
enum class Effect : int;

// A layer that this process holds. Ends at Release, at destruction, at exit and at SIGKILL. After
// fork the claim stays the parent's: the child's copy closes its descriptors at once
// (pthread_atfork(3)) and never does anything. Not thread-safe.
class Claim {
 public:
  virtual ~Claim() = default;

  // Writes `record` where lookers find it, and wakes those who wait for a decision. Does not block.
  virtual absl::Status Publish(const HolderRecord& record) = 0;

  // OK when the claim still stands and excludes others; otherwise what was lost, and how:
  // FailedPrecondition (this process is a forked child of the owner), DataLoss (deleted, replaced,
  // closed by the program). Another code, such as Unavailable: whether it stands is not known,
  // because the process no longer sees what others see, or may not look (chroot, namespaces,
  // dropped privileges). Does not block and disturbs nobody.
  virtual absl::Status Verify() const = 0;

  // Adds to `alarm` where it shows that the claim may be lost. An error says what gives no event;
  // everything else is added all the same. What it adds is valid until Mend or Release. Does not
  // block.
  virtual absl::Status Watch(Alarm& alarm);

  // What Mend has found and done.
  struct Mended {
    // OK: nothing was missing. DataLoss: what was lost or damaged. FailedPrecondition: a forked
    // child of the owner, or released. Another code: not known.
    absl::Status lost;
    // Whether the layer has kept others out all the while, as far as is known. If not, all that can
    // be done with the claim is to release it.
    bool excludes = true;
    // The claim does not exclude processes that see what this one sees, but others may still meet
    // it (it was moved, or a mount hides it). It is kept beside a new claim until the release.
    bool may_exclude = false;
    // What could not be restored, and why.
    absl::Status left;
  };
  // Looks at everything that belongs to the claim, including what Verify leaves out because it only
  // informs others (the record, what wakes waiters). Restores what is missing where that leaves no
  // moment in which another process could take the layer. `record` is what others are told. Does
  // not block.
  virtual Mended Mend(const HolderRecord& record);

  // Frees the layer. Publish kReleasing first. A second call does nothing. Does not block.
  virtual void Release() = 0;

  // Removes what Release leaves behind: files, a semaphore, a segment. The layer stays held until
  // Release, and the next holder makes them again. Call it for all exclusive layers of a name, in
  // reverse canonical order, while all are held, because one layer's files are in the directory of
  // another. `files`: what all held layers have there (LayerKind::files). If something else is in
  // the directory, nothing is removed: FailedPrecondition.
  virtual absl::Status RemoveObjects(const std::vector<std::string>& /*files*/) {
    return absl::OkStatus();
  }

  // The record that was found when the layer was claimed: the last holder's or candidate's.
  virtual std::optional<HolderRecord> Predecessor() const { return std::nullopt; }

  // Duplicates, close-on-exec, of the descriptors that carry the claim: while any process has one
  // of them open the layer stays taken. Empty when the mechanism cannot be handed on. From the
  // first call on, Release gives up this process's share only.
  virtual absl::StatusOr<std::vector<UniqueFd>> Share() { return std::vector<UniqueFd>{}; }

  // Lets the claim survive execve(2) of this process. FailedPrecondition where it cannot.
  virtual absl::Status KeepOverExec() = 0;
};

// The three outcomes of a try, which are always distinct. An error is never read as free or as
// taken.
struct Held {
  std::unique_ptr<Claim> claim;
};
struct Contested {
  Holder holder;
  // Each becomes readable or hangs up when it is worth trying again, because the holder decided,
  // gave up or ended. Empty when the system has no event for it.
  std::vector<UniqueFd> wake;
  // Perhaps no instance has it at all: what the kernel shows may be an instance that has not said
  // so yet, what an ended one leaves for a moment, or a stranger's. The layer is tried again for as
  // long as an instance could need (Arbiter), and then by TryFinally.
  bool unsettled = false;
};
struct Unavailable {
  absl::Status status;
};
using Attempt = std::variant<Held, Contested, Unavailable>;

// What a look shows. Free is a snapshot and not a promise.
struct Free {
  std::optional<HolderRecord> last;  // the last holder's record, if one is left
};
struct Taken {
  Holder holder;
};
using Sighting = std::variant<Free, Taken, Unavailable>;

// One mechanism, bound to one scope, name and set of parameters. It holds nothing until Try.
class Layer {
 public:
  virtual ~Layer() = default;

  // Canonical policy text: "file", "file(path=/run/lock/x.lock)".
  virtual std::string_view text() const = 0;

  // Tries to claim. Never blocks on another process. `candidate` is published as soon as the layer
  // is claimed. Leaves nothing behind unless Held.
  virtual Attempt Try(const HolderRecord& candidate) = 0;

  // As Try, but called when a layer has been unsettled for as long as an instance could need: it
  // says what the layer then is, and never that it is unsettled. Only a layer whose Try says
  // unsettled needs it.
  virtual Attempt TryFinally(const HolderRecord& candidate) { return Try(candidate); }

  // Looks without disturbing anybody: takes no lock, not even for a moment, and creates nothing.
  virtual Sighting Look() const = 0;

  // For a process that gives up a claim which it has lost, and through which it can no longer
  // publish. Writes `record`, its last one, over one that still says that it holds the layer;
  // otherwise that one would refuse others for as long as this process lives. Does not block.
  virtual void Disown(const HolderRecord& /*record*/) {}

  // The processes that the kernel shows with the layer's object. They are evidence for a refusal
  // whose holder no record names. May walk the process table, and sees only what the caller may
  // see.
  virtual std::vector<ProcessIdentity> Suspects() const = 0;

  // What this layer can see here and what stands in its way, for a person. Disturbs as little as
  // Look, but may take as long as a walk over the process table.
  virtual std::vector<Finding> Diagnose() const { return {}; }

  // For an observer: every process that it sees, each as Look would show it, the one that decides
  // first. Other layers see none.
  virtual absl::StatusOr<std::vector<Holder>> LookAtAll() const { return std::vector<Holder>{}; }

  // What Try would answer now, as far as that can be known without trying. It is what Look shows,
  // except that a layer which is free, but which this process could not take (rights, space, a
  // stranger's object), is Unavailable. Disturbs as little as Look.
  virtual Sighting Forecast() const { return Look(); }
};

// What a layer is told of the policy's text: `file(path=/x)` has the key path. A parameter without
// a key (`port(47777)`) has the empty key.
using LayerParameters = std::map<std::string, std::string, std::less<>>;

struct LayerContext;

// A kind of layer.
struct LayerKind {
  std::string_view name;  // a word of [a-z0-9_] that means nothing else in policy text
  // InvalidArgument when a parameter is unknown or has a bad value; foreign text in the message is
  // escaped. Refuses a second spelling of one object, because a policy could otherwise contest
  // itself. Touches nothing.
  absl::Status (*check)(const LayerParameters&) = nullptr;
  std::unique_ptr<Layer> (*make)(const LayerContext&) = nullptr;
  // The kind can only look, and knows candidates by Register: a process that will ask it is
  // registered before the first layer is tried, so that a process which is refused there is known
  // too.
  bool observer = false;
  // A claim of it can be handed on to a child, so it can carry what `guardcheck run` holds.
  bool carries = false;
  // What an event does to the layer with these parameters. A kind without this function counts as
  // affected by no event.
  Effect (*effect)(Event, const LayerParameters&) = nullptr;
  // What a person should know before relying on the layer with these parameters; empty for nothing.
  std::string (*caution)(const LayerParameters&) = nullptr;
  // Whether these parameters name one object, the same for every name and slot. A kind without this
  // function has an object for each.
  bool (*is_one_object)(const LayerParameters&) = nullptr;
  // The files that a claim with these parameters has in the name's directory. A kind without this
  // function has none there.
  std::vector<std::string> (*files)(const LayerParameters&) = nullptr;
  // The names in a scope of which the kind has objects outside the scope's directory: those that
  // are held, and those that killed holders of this user left. Only what certainly belongs to the
  // kind.
  std::vector<InstanceName> (*names)(const Scope&) = nullptr;
};

// What a layer is bound to.
struct LayerContext {
  Scope scope;
  InstanceName name;
  LayerParameters parameters;
  Subject subject;
  // How long a process that cannot be identified may take to say what it is.
  absl::Duration settle = absl::Seconds(1);
  // For an observer: the kinds whose records say whose a process is.
  std::span<const LayerKind> kinds = {};
};

}  // namespace soleguard

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

#include "soleguard/claim.h"
#include "soleguard/event.h"
#include "soleguard/fd.h"
#include "soleguard/finding.h"
#include "soleguard/holder.h"
#include "soleguard/name.h"
#include "soleguard/profile.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"
#include "soleguard/subject.h"

namespace soleguard {

enum class Event : int;  // soleguard/event.h
enum class Effect : int;

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
// Not an outcome: a remote layer was asked and has not answered. The next Try asks for the answer.
struct Pending {
  // One of these becomes readable when there is an answer.
  std::vector<UniqueFd> wake;
};
using Attempt = std::variant<Held, Contested, Unavailable, Pending>;

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

  // Tries to claim. Never blocks on another process or a server: a layer that has to wait for an
  // answer is Pending. `candidate` is published as soon as the layer is claimed. Leaves nothing
  // behind unless Held.
  virtual Attempt Try(const HolderRecord& candidate) = 0;

  // Gives up a try that is Pending. What the server may grant all the same is given back as soon as
  // it says so, and at the latest lapses. Does not block, and needs no memory: a destructor calls
  // it.
  virtual void Cancel() {}

  // As Try, but called when a layer has been unsettled for as long as an instance could need: it
  // says what the layer then is, and never that it is unsettled. Only a layer whose Try says
  // unsettled needs it.
  virtual Attempt TryFinally(const HolderRecord& candidate) { return Try(candidate); }

  // Looks without disturbing anybody: takes no lock, not even for a moment, and creates nothing.
  // This and what follows may wait for a server, at most for Patience::Left(), and say Unavailable
  // then; a policy's Guard calls none of them while it holds a mutex, but Disown.
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
  // A server decides, which processes of other machines ask too. Its records come from other
  // machines (ForOtherMachines, kit/lease.h), and its tries can be Pending.
  bool remote = false;
  // A claim is freed by time and not by the end of its owner: see Claim::valid_until.
  bool leased = false;
  // Its parameter without a key is the name of a profile, which has what is not for policy text.
  bool has_profile = false;
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
  // The profile that the parameters name; without it the layer is Unavailable, and says so.
  std::optional<Profile> profile = std::nullopt;
};

}  // namespace soleguard

// Messages, which a refused start hands to the holder of the name, and the answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/name.h"
#include "soleguard/process_identity.h"
#include "soleguard/scope.h"

namespace soleguard {

// All of it is raw bytes, as the sender chose them.
struct Message {
  std::vector<std::string> argv = {};
  std::string working_directory = {};
  std::string payload = {};
  // With these the holder may bring its window to the front, which a desktop otherwise prevents:
  // what the sender was started with as XDG_ACTIVATION_TOKEN (xdg-activation of Wayland) and
  // DESKTOP_STARTUP_ID (freedesktop.org's Startup Notification, X11). Each is good for one use.
  // Empty: it had none.
  std::string activation_token = {};
  std::string startup_id = {};
};
// The largest size of all but the payload together, with 4 bytes for each; and the largest of a
// payload, and of an answer.
inline constexpr std::size_t kMaxArgumentBytes = std::size_t{64} << 10;
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{1} << 20;

// The sender, as the kernel identifies it.
struct Sender {
  ProcessIdentity identity;
  std::uint32_t uid = 0;
};

struct Answer {
  bool ok = true;  // false: the holder could not do what it was asked; `text` says why
  std::string text = {};
};
using Answerer = std::function<Answer(const Sender&, const Message&)>;

// The place where the holder of a name takes messages: a Unix socket in the name's directory. It is
// made again when its file is deleted, or when the program closes its descriptor. A file of the
// program that gets that descriptor's number is neither read, written nor closed. A file that a
// dead holder left is replaced.
class Inbox {
 public:
  // Only for the holder of the name. `answerer` is called in a thread of the inbox's own, in which
  // all signals are blocked, for one message at a time, and only while the sender waits; an
  // exception that leaves it is an answer that is not ok. It never sees anything that is not a
  // message, nor senders of users other than the scope's. Does not block.
  static absl::StatusOr<std::unique_ptr<Inbox>> Open(const Scope& scope, const InstanceName& name,
                                                     Answerer answerer);

  // As the destructor, except for what takes time and leaves nothing to be seen. Thread-safe; each
  // call blocks as it does.
  virtual void End() = 0;
  // Whether the caller is `answerer`.
  virtual bool IsAnswering() const = 0;

  // Takes no more messages. Blocks until `answerer` has returned, unless `answerer` is the caller.
  // In a forked child of the owner, which has no such thread, it does nothing.
  virtual ~Inbox() = default;
};

// Hands `message` to `holder`, the process that has the name, and returns its answer. Blocks, at
// most `timeout`. Nothing is sent before the kernel has said that the socket is that process's and
// that its user is the scope's. Any error means that it was not delivered, as far as the holder has
// said.
//   DeadlineExceeded    it did not answer in time; if it was frozen, it will not see the message
//   FailedPrecondition  it takes no messages
//   Aborted             it ended, or broke off, before it answered
//   PermissionDenied    the socket is not the holder's; nothing was sent
//   Unavailable         nobody can tell whose it is; nothing was sent
//   InvalidArgument     the message is too large; nothing was sent
// Thread-safe.
absl::StatusOr<Answer> Deliver(const Scope& scope, const InstanceName& name,
                               const ProcessIdentity& holder, const Message& message,
                               absl::Duration timeout);

}  // namespace soleguard

// Messages: what a refused start hands to the holder of the name, who answers.
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

// Raw bytes all of it, as the sender chose them.
struct Message {
  std::vector<std::string> argv = {};
  std::string working_directory = {};
  std::string payload = {};
};
// Of the arguments and the working directory together, with 4 bytes for each; of a payload, and of
// an answer.
inline constexpr std::size_t kMaxArgumentBytes = std::size_t{64} << 10;
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{1} << 20;

// Who sends, as the kernel says it.
struct Sender {
  ProcessIdentity identity;
  std::uint32_t uid = 0;
};

struct Answer {
  bool ok = true;  // false: the holder could not do what it was asked; `text` says why
  std::string text = {};
};
using Answerer = std::function<Answer(const Sender&, const Message&)>;

// The place where the holder of a name takes messages: a Unix socket in the name's directory. Made
// anew when its file is deleted, or the program closes its descriptor, of which it reads, writes
// and closes no file that gets the number; a file that a dead holder left is replaced.
class Inbox {
 public:
  // For the holder of the name, and it alone. `answerer` is called in a thread of the inbox's own,
  // in which all signals are blocked, for one message at a time, and only while the sender waits;
  // an exception that leaves it is an answer that is not ok. What is no message, and senders of
  // other users than the scope's, it never sees. Does not block.
  static absl::StatusOr<std::unique_ptr<Inbox>> Open(const Scope& scope, const InstanceName& name,
                                                     Answerer answerer);

  // As the destructor, but for what takes time and leaves nothing to be seen. Thread-safe; each
  // call blocks as it does.
  virtual void End() = 0;
  // Whether it is `answerer` that calls.
  virtual bool IsAnswering() const = 0;

  // Takes no more messages. Blocks until `answerer` has returned, unless that is who calls. In a
  // forked child of the owner, who has no such thread, it does nothing.
  virtual ~Inbox() = default;
};

// Hands `message` to `holder`, the process that has the name, and returns its answer. Blocks, at
// most `timeout`. Nothing is sent before the kernel has said that the socket is that process's and
// that its user is the scope's. Any error means: not delivered, as far as the holder has told.
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

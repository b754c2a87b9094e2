// One request to the lease server, and its answer: what server_main.cc says. All that knows how the
// server is spoken to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "os/kept_fd.h"
#include "soleguard/fd.h"

namespace soleguard {

struct LeaseServer {
  std::string address;  // not for messages: it may be from a profile
  std::string called;   // "the lease server of profile prod"
};

// Requests as they are sent. Those that a claim may need without memory are made before.
std::string AcquireRequest(std::string_view key, std::string_view lease, absl::Duration time,
                           std::string_view record);
std::string RenewRequest(std::string_view lease);
std::string PublishRequest(std::string_view lease, std::string_view record);
std::string ReleaseRequest(std::string_view lease, std::string_view record);
std::string LookRequest(std::string_view key);
// Answered when the key's record or owner is another than at `revision`, or its owner another than
// the one who got `token`.
std::string AwaitChangeRequest(std::string_view key, std::uint64_t revision);
std::string AwaitEndRequest(std::string_view key, std::uint64_t token);

struct LeaseAnswer {
  std::string word;  // granted, refused, ok, gone, taken or free
  std::optional<std::string> record;
  absl::Duration time;  // of the lease, or what is left of it
  std::uint64_t revision = 0;
  std::uint64_t token = 0;
};

// A connection for one request, or for several whose answers are awaited one after the other: the
// server answers in the order in which it was asked, and frees nothing because a connection is
// closed. A forked child has none of them. For one thread.
class Exchange {
 public:
  // Sends, on a connection that is made if there is none; does not block. Unavailable: the server
  // is not there.
  absl::Status Begin(const LeaseServer& server, std::string_view request);
  // One more, whose answer nobody awaits. Does not block, and needs no memory.
  void Add(std::string_view request) const;
  // The next request is made on another connection, on which no answer to this one can come.
  void Close() { connection_.Close(); }

  // The answer; nullopt: none yet. Unavailable: there will be none. Does not block.
  absl::StatusOr<std::optional<LeaseAnswer>> Take() const;
  // Waits for it. DeadlineExceeded: it did not come.
  absl::StatusOr<LeaseAnswer> Await(absl::Duration at_most) const;

  // Becomes readable with the answer.
  absl::StatusOr<UniqueFd> Event() const { return connection_.Duplicate(); }

 private:
  absl::Status Gone(std::string_view why) const;

  std::string called_;
  os::KeptFd connection_;
};

}  // namespace soleguard

// Messages over a Unix stream socket, SCOPE/names/NAME/inbox.
//
// A frame is 8 bytes that say what it is, the size of the rest in 4 bytes, and the rest. Numbers
// are as the machine has them: both ends are on it.
//
//   message  "SGmsg\0\0\1"  count, then for each argument its size and bytes; the same for the
//            working directory and for the payload; and, if there are any, for the activation token
//            and the startup id
//   answer   "SGans\0\0\1"  one byte, 1 or 0 for ok, and the text
//
// The sender sends one message and keeps the connection open: its end is how the holder learns that
// nobody waits any more, be it that the sender was killed or has given up while this process was
// frozen. A message whose sender does not wait is dropped: whoever was told "not delivered" may do
// the work himself.
#include "soleguard/message.h"

#include <cxxabi.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <list>
#include <mutex>
#include <new>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include <absl/strings/str_cat.h>

#include "kit/name_directory.h"
#include "os/connection.h"
#include "os/kept_fd.h"
#include "os/notify.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/wait.h"
#include "soleguard/fd.h"
#include "soleguard/process.h"
#include "soleguard/text.h"
#include "soleguard/vantage.h"
#include "soleguard/watch.h"

namespace soleguard {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kFile[] = "inbox";
constexpr std::string_view kMessage("SGmsg\0\0\1", 8);
constexpr std::string_view kAnswer("SGans\0\0\1", 8);
constexpr std::size_t kHead = 8 + sizeof(std::uint32_t);
constexpr std::size_t kMaxBody = kMaxArgumentBytes + kMaxPayloadBytes + 64;

std::string Framed(std::string_view kind, std::string_view body) {
  const auto size = static_cast<std::uint32_t>(body.size());
  std::array<char, sizeof size> number{};
  std::memcpy(number.data(), &size, sizeof size);
  std::string frame(kind);
  frame.append(number.data(), number.size());
  frame.append(body);
  return frame;
}

// What has come of a frame. nullopt: more is to come. InvalidArgument: it is none, or is too long.
absl::StatusOr<std::optional<std::string_view>> BodyIn(std::string_view bytes,
                                                       std::string_view kind) {
  if (bytes.substr(0, kind.size()) != kind.substr(0, std::min(bytes.size(), kind.size()))) {
    return absl::InvalidArgumentError("it does not begin as one");
  }
  if (bytes.size() < kHead) return std::optional<std::string_view>();
  std::uint32_t size = 0;
  std::memcpy(&size, bytes.data() + kind.size(), sizeof size);
  if (size > kMaxBody) return absl::InvalidArgumentError("it is too long");
  if (bytes.size() - kHead < size) return std::optional<std::string_view>();
  if (bytes.size() - kHead > size) return absl::InvalidArgumentError("something follows it");
  return std::optional(bytes.substr(kHead));
}

void AppendNumber(std::string& body, std::size_t number) {
  const auto value = static_cast<std::uint32_t>(number);
  std::array<char, sizeof value> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  body.append(bytes.data(), bytes.size());
}

void AppendText(std::string& body, const std::string& text) {
  AppendNumber(body, text.size());
  body += text;
}

absl::StatusOr<std::string> Encode(const Message& message) {
  const bool has_tokens = !message.activation_token.empty() || !message.startup_id.empty();
  std::size_t arguments = message.working_directory.size() + 4;
  if (has_tokens) arguments += message.activation_token.size() + message.startup_id.size() + 8;
  for (const std::string& argument : message.argv) arguments += argument.size() + 4;
  if (arguments > kMaxArgumentBytes) {
    return absl::InvalidArgumentError(absl::StrCat("arguments and working directory have ",
                                                   arguments, " bytes, more than ",
                                                   kMaxArgumentBytes));
  }
  if (message.payload.size() > kMaxPayloadBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the payload has ", message.payload.size(),
                                                   " bytes, more than ", kMaxPayloadBytes));
  }
  std::string body;
  AppendNumber(body, message.argv.size());
  for (const std::string& argument : message.argv) AppendText(body, argument);
  AppendText(body, message.working_directory);
  AppendText(body, message.payload);
  if (has_tokens) {
    AppendText(body, message.activation_token);
    AppendText(body, message.startup_id);
  }
  return Framed(kMessage, body);
}

// Takes the fields of a body from its front; nothing once one was beyond its end.
class Fields {
 public:
  explicit Fields(std::string_view body) : rest_(body) {}

  std::size_t Number() {
    std::uint32_t number = 0;
    const std::string_view bytes = Take(sizeof number);
    if (bytes.size() == sizeof number) std::memcpy(&number, bytes.data(), sizeof number);
    return number;
  }
  std::string Text() { return std::string(Take(Number())); }
  bool complete() const { return whole_ && rest_.empty(); }
  bool whole() const { return whole_; }

 private:
  std::string_view Take(std::size_t size) {
    if (!whole_ || size > rest_.size()) {
      whole_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::string_view rest_;
  bool whole_ = true;
};

std::optional<Message> Decode(std::string_view body) {
  Fields fields(body);
  Message message;
  // Each argument takes 4 bytes at least: a count that is too large ends with the body.
  for (std::size_t left = fields.Number(); left > 0 && fields.whole(); --left) {
    message.argv.push_back(fields.Text());
  }
  message.working_directory = fields.Text();
  message.payload = fields.Text();
  if (!fields.complete()) {
    message.activation_token = fields.Text();
    message.startup_id = fields.Text();
  }
  return fields.complete() && Encode(message).ok() ? std::optional(std::move(message))
                                                   : std::nullopt;
}

std::string Encode(const Answer& answer) {
  if (answer.text.size() > kMaxPayloadBytes) {
    return Encode(Answer{.ok = false,
                         .text = absl::StrCat("the answer has ", answer.text.size(),
                                              " bytes, more than ", kMaxPayloadBytes)});
  }
  std::string body(1, answer.ok ? '\1' : '\0');
  body += answer.text;
  return Framed(kAnswer, body);
}

// One sender.
struct Conversation {
  os::KeptFd socket;
  Sender sender;
  std::string received;
  std::string answer;  // what is left to send; empty: the message is not complete
  Clock::time_point end;
};

// The thread's side. Lives as long as the thread, whoever ends the Inbox.
class Server {
 public:
  Server(const Scope& scope, const InstanceName& name, Answerer answerer)
      : directory_(scope, name), answerer_(std::move(answerer)) {}

  absl::Status Open();
  void Serve();
  // Instead of Serve, where there is no thread for it.
  void Close();
  // Whether it is the thread that calls. Another one can have its id once it is over.
  bool IsCaller() const { return thread_.load() == std::this_thread::get_id() && !over_; }
  // Waits for the thread's end, unless it is the one that calls.
  void StopAndWait() {
    stop_ = true;
    {
      const std::lock_guard lock(wake_mutex_);
      // The race: the program has closed the pipe. That woke the thread, which looks at stop_ after
      // each Restore.
      os::Wake(wake_write_);
    }
    if (!IsCaller()) over_.wait(false);
  }

 private:
  bool Wait();
  // The socket, in the directory that it was made in.
  os::Entry Below() const {
    return {.parent = place_.get(), .name = kFile, .path = directory_.path() + "/" + kFile};
  }
  absl::Status OpenWake();
  absl::Status Listen();
  void Restore();
  void MakeAnew();
  void Accept();
  // Nothing is accepted or opened anew before a while has passed.
  void Pause();
  // False: the conversation is over.
  bool Continue(Conversation& conversation);
  bool Read(Conversation& conversation);
  static bool Write(Conversation& conversation);
  Answer Ask(const Sender& sender, const Message& message) const;

  NameDirectory directory_;
  const Answerer answerer_;
  const Vantage vantage_{Vantage::kFiles | Vantage::kUser};
  std::atomic<bool> stop_ = false;
  std::mutex wake_mutex_;  // of the pipe
  os::KeptFd wake_read_;   // hangs up when the program closes both ends
  os::KeptFd wake_write_;
  os::KeptFd listener_;
  FileIdentity file_;
  os::KeptFd place_;  // the directory
  os::Ownership ownership_;
  os::KeptFd deleted_;   // becomes readable when the socket's file is; empty: nothing tells
  bool closed_ = false;  // the program has closed what is not open again yet
  Clock::time_point paused_until_;
  std::list<Conversation> conversations_;
  std::atomic<std::thread::id> thread_ = {};
  std::atomic<bool> over_ = false;
};

// How long a sender may take for its message, and then for the answer. Its own timeout ends it
// before: the connection is then closed.
constexpr std::chrono::seconds kSlowest(30);
// How long a wait is at most. The race: the program closes the pipe after a look at it and before
// the wait for it, and nothing wakes the thread. A child of a raw clone(2) keeps the pipe from
// hanging up at all.
constexpr std::chrono::minutes kLongest(1);
// Between two tries of what lacks a descriptor, which has no event.
constexpr std::chrono::milliseconds kPause(100);
// More wait in the socket's backlog.
constexpr std::size_t kMostConversations = 64;

// The number, for a call; none when it is another file's by now, or nobody's.
int NumberOf(const os::KeptFd& kept) { return kept.StillOurs() ? kept.get() : -1; }

absl::Status Server::Open() {
  absl::Status opened = OpenWake();
  return opened.ok() ? Listen() : opened;
}

absl::Status Server::OpenWake() {
  const std::lock_guard lock(wake_mutex_);
  if (wake_read_.StillOurs() && wake_write_.StillOurs()) return absl::OkStatus();
  return os::KeepPipe(wake_read_, wake_write_);
}

absl::Status Server::Listen() {
  absl::Status opened = directory_.Open(os::Create::kYes);
  if (!opened.ok()) return opened;
  ownership_ = directory_.ownership();
  const os::Entry entry = directory_.EntryOf(kFile);
  const absl::StatusOr<FileIdentity> file = os::KeepInbox(entry, ownership_, listener_);
  if (file.ok()) {
    file_ = *file;
    (void)os::KeepWatchOf(entry, deleted_);
    (void)place_.Keep("keep a directory open",
                      [this] { return os::DuplicateDescriptor(directory_.fd().get()); });
  }
  directory_.Close();
  return file.status();
}

void Server::Serve() {
  thread_ = std::this_thread::get_id();
  for (bool goes_on = true; goes_on;) {
    try {
      goes_on = Wait();
    } catch (const std::bad_alloc&) {
      // What it was about is tried again, when there may be memory. A wait for nothing needs none.
      (void)WaitForAny({}, absl::FromChrono(kPause));
    }
  }
  Close();
}

void Server::Close() {
  // Below the directory that it was made in, wherever the process looks from by now. The race:
  // somebody else makes his own between the look and the removal. Closed by the claim, which is
  // held still; left open where that was lost. Without the listener another socket may have its
  // inode.
  try {
    const os::Entry entry = Below();
    const absl::StatusOr<bool> same = os::EntryIs(entry, file_);
    if (same.ok() && *same && place_.StillOurs() && listener_.StillOurs()) os::RemoveEntry(entry);
  } catch (const std::bad_alloc&) {  // it stays, as that of one that was killed
  }
  place_.Close();
  conversations_.clear();
  listener_.Close();
  over_ = true;
  over_.notify_all();
  deleted_.Close();  // takes milliseconds (fsnotify waits for readers), and nobody waits for it
}

// Deals with what comes next. False: it was told to stop.
bool Server::Wait() {
  Restore();
  if (stop_) return false;
  const bool paused = Clock::now() < paused_until_;
  const bool accepts = !paused && conversations_.size() < kMostConversations;
  // One end without the other is ready for ever.
  const bool wakes = wake_read_.StillOurs() && wake_write_.StillOurs();
  std::vector<os::Waited> waited = {{.fd = wakes ? wake_read_.get() : -1},
                                    {.fd = NumberOf(deleted_)},
                                    {.fd = accepts ? NumberOf(listener_) : -1}};
  Clock::time_point end = paused ? paused_until_ : Clock::now() + kLongest;
  for (const Conversation& conversation : conversations_) {
    waited.push_back(
        {.fd = NumberOf(conversation.socket), .to_write = !conversation.answer.empty()});
    end = std::min(end, conversation.end);
  }
  os::WaitForReady(waited, absl::FromChrono(end - Clock::now()));
  if (stop_) return false;

  std::size_t next = 3;
  for (auto conversation = conversations_.begin(); conversation != conversations_.end();) {
    const bool ready = waited[next++].ready;
    const bool goes_on = conversation->socket.StillOurs() &&
                         (ready ? Continue(*conversation) : Clock::now() < conversation->end);
    conversation = goes_on ? std::next(conversation) : conversations_.erase(conversation);
  }
  if (waited[2].ready) Accept();
  if (waited[1].ready && deleted_.StillOurs()) MakeAnew();
  return true;
}

// Opens anew what the program has closed.
void Server::Restore() {
  if (Clock::now() < paused_until_) return;
  const bool lacks =
      !wake_read_.StillOurs() || !wake_write_.StillOurs() || (listener_ && !listener_.StillOurs());
  if (lacks && !closed_) {
    // The race: the program goes on closing, and uses the numbers again; what is opened at once
    // would be closed as well, perhaps in the middle of a call with its number. Made improbable by
    // leaving the program the time to get done.
    closed_ = true;
    Pause();
    return;
  }
  if (!closed_) return;
  absl::Status opened = OpenWake();
  // The race: another process has the name by now, and opens its inbox after this look. It makes
  // its own anew when this one replaces it.
  const absl::StatusOr<bool> same = os::PathIs(directory_.path() + "/" + kFile, file_);
  if (!vantage_.Check().ok() || (same.ok() && !*same)) {
    // Whoever has the name has replaced it; or what is made here is not where senders look.
    listener_.Close();
  } else if (!listener_.StillOurs()) {
    opened.Update(Listen());
  }
  closed_ = !opened.ok();
  if (closed_) Pause();
}

void Server::Pause() { paused_until_ = Clock::now() + kPause; }

// Something happened to the socket's file. One that is gone is made anew: nobody finds the old one.
void Server::MakeAnew() {
  deleted_.Close();
  // From elsewhere nothing can be made that senders find, and nothing is known of what they find.
  if (!vantage_.Check().ok()) return;
  const absl::StatusOr<bool> same = os::PathIs(directory_.path() + "/" + kFile, file_);
  if (same.ok() && !*same) {
    (void)Listen();  // without a directory there is no place; Verify of the file layer says so
    return;
  }
  if (!directory_.Open(os::Create::kNo).ok()) return;
  (void)os::KeepWatchOf(directory_.EntryOf(kFile), deleted_);
  directory_.Close();
}

void Server::Accept() {
  if (!listener_.StillOurs()) return;  // an answerer has closed it
  Conversation& conversation = conversations_.emplace_back();
  const absl::Status accepted = os::KeepConnection(listener_, conversation.socket);
  // No descriptor is left, say. The connection waits and keeps the listener ready: tried again at
  // once it would use a processor up.
  const absl::StatusOr<os::PeerProcess> peer =
      accepted.ok() ? os::PeerOf(conversation.socket.get()) : accepted;
  if (!peer.ok() && !absl::IsNotFound(peer.status())) Pause();
  if (!peer.ok() || !os::MayOwn(peer->uid, peer->groups, ownership_)) {
    conversations_.pop_back();
    return;
  }
  conversation.sender = {.identity = peer->identity, .uid = peer->uid};
  conversation.end = Clock::now() + kSlowest;
}

bool Server::Continue(Conversation& conversation) {
  try {
    return conversation.answer.empty() ? Read(conversation) : Write(conversation);
  } catch (const std::bad_alloc&) {
    return false;  // the sender learns that it was broken off
  }
}

bool Server::Read(Conversation& conversation) {
  constexpr std::size_t kAtOnce = std::size_t{64} << 10;
  const absl::StatusOr<std::string> bytes = os::ReceiveSome(conversation.socket.get(), kAtOnce);
  if (!bytes.ok()) return false;
  conversation.received += *bytes;
  const absl::StatusOr<std::optional<std::string_view>> body =
      BodyIn(conversation.received, kMessage);
  if (!body.ok()) return false;
  if (!body->has_value()) return true;
  const std::optional<Message> message = Decode(**body);
  // Whoever does not wait any more was told, or tells others, that this was not delivered.
  if (!message.has_value() || !os::IsConnected(conversation.socket.get())) return false;
  conversation.answer = Encode(Ask(conversation.sender, *message));
  conversation.end = Clock::now() + kSlowest;
  return Write(conversation);
}

bool Server::Write(Conversation& conversation) {
  if (!conversation.socket.StillOurs()) return false;  // the answerer has closed it
  const absl::StatusOr<std::size_t> sent =
      os::SendSome(conversation.socket.get(), conversation.answer);
  if (!sent.ok()) return false;
  conversation.answer.erase(0, *sent);
  return !conversation.answer.empty();
}

Answer Server::Ask(const Sender& sender, const Message& message) const {
  try {
    return answerer_(sender, message);
  } catch (const std::exception& error) {
    return {.ok = false, .text = error.what()};
  } catch (const abi::__forced_unwind&) {
    throw;  // the thread ends (pthread_exit(3)); whoever keeps that ends the program
  } catch (...) {
    return {.ok = false, .text = "the answerer threw what is no std::exception"};
  }
}

class InboxOfName final : public Inbox {
 public:
  explicit InboxOfName(std::shared_ptr<Server> server) : server_(std::move(server)) {}
  ~InboxOfName() override { InboxOfName::End(); }

  void End() override {
    if (owner_.IsCurrent()) server_->StopAndWait();
  }
  bool IsAnswering() const override { return server_->IsCaller(); }

 private:
  const os::ProcessMark owner_;
  const std::shared_ptr<Server> server_;
};

// The sender's side, after it has verified whom it is connected to.
class Exchange {
 public:
  Exchange(UniqueFd socket, Clock::time_point end) : socket_(std::move(socket)), end_(end) {}

  absl::StatusOr<Answer> Of(std::string_view message) {
    std::string received;
    while (true) {
      std::vector<os::Waited> waited = {{.fd = socket_.get()}};
      if (!message.empty()) waited.push_back({.fd = socket_.get(), .to_write = true});
      const absl::Duration left = absl::FromChrono(end_ - Clock::now());
      if (left <= absl::ZeroDuration()) {
        return absl::DeadlineExceededError("it did not answer in time");
      }
      os::WaitForReady(waited, left);
      if (waited.front().ready) {
        absl::StatusOr<std::string> bytes = os::ReceiveSome(socket_.get(), kHead + kMaxBody);
        if (!bytes.ok()) return absl::AbortedError("it ended, or broke off, before it answered");
        received += *bytes;
        absl::StatusOr<std::optional<std::string_view>> body = BodyIn(received, kAnswer);
        if (!body.ok() || (body->has_value() && (*body)->empty())) {
          return absl::AbortedError("what it answered is no answer");
        }
        if (body->has_value()) {
          return Answer{.ok = (*body)->front() == '\1', .text = std::string((*body)->substr(1))};
        }
      }
      if (waited.back().to_write && waited.back().ready) {
        const absl::StatusOr<std::size_t> sent = os::SendSome(socket_.get(), message);
        if (!sent.ok()) return absl::AbortedError("it ended, or broke off, before it answered");
        message.remove_prefix(*sent);
      }
    }
  }

 private:
  const UniqueFd socket_;
  const Clock::time_point end_;
};

absl::Status Verify(const os::PeerProcess& peer, const os::Ownership& ownership,
                    const ProcessIdentity& holder, const std::string& path) {
  if (os::MayOwn(peer.uid, peer.groups, ownership) && peer.identity == holder)
    return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(EscapeBytes(path), " is a socket of pid ", peer.identity.pid, " of ",
                   EscapeBytes(UserName(peer.uid)), ", and not of the holder, pid ", holder.pid,
                   "; nothing was sent. Find out who made it"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Inbox>> Inbox::Open(const Scope& scope, const InstanceName& name,
                                                   Answerer answerer) {
  auto server = std::make_shared<Server>(scope, name, std::move(answerer));
  absl::Status opened = server->Open();
  if (!opened.ok()) return opened;
  // Whatever is missing from here on, the socket does not stay. (The inbox ends after that.)
  std::unique_ptr<Inbox> inbox;
  absl::Status started;
  try {
    inbox = std::make_unique<InboxOfName>(server);
    started = RunInThread([server] { server->Serve(); });
  } catch (const std::bad_alloc&) {
    server->Close();
    throw;
  }
  if (started.ok()) return inbox;
  server->Close();
  return started;
}

absl::StatusOr<Answer> Deliver(const Scope& scope, const InstanceName& name,
                               const ProcessIdentity& holder, const Message& message,
                               absl::Duration timeout) {
  const Clock::time_point end =
      Clock::now() + absl::ToChronoNanoseconds(std::min(timeout, absl::Hours(24 * 365)));
  const absl::StatusOr<std::string> encoded = Encode(message);
  if (!encoded.ok()) return encoded.status();
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return own.status();
  if (own->pid_namespace != holder.pid_namespace) {
    return absl::UnavailableError(
        absl::StrCat("the holder, pid ", holder.pid,
                     " of another pid namespace, cannot be told from another process from here"));
  }
  NameDirectory directory(scope, name);
  absl::Status opened = directory.Open(os::Create::kNo);
  if (!opened.ok() && !absl::IsNotFound(opened)) return opened;
  const os::Entry entry = directory.EntryOf(kFile);
  absl::StatusOr<UniqueFd> socket =
      opened.ok() ? os::ConnectTo(entry, absl::FromChrono(end - Clock::now())) : opened;
  if (absl::IsNotFound(socket.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the holder, pid ", holder.pid, ", takes no messages"));
  }
  if (!socket.ok()) return socket.status();
  const absl::StatusOr<os::PeerProcess> peer = os::PeerOf(socket->get());
  if (absl::IsNotFound(peer.status())) {
    return absl::UnavailableError(
        absl::StrCat(EscapeBytes(entry.path),
                     ": nobody can tell whose socket it is: ", peer.status().message()));
  }
  if (!peer.ok()) return peer.status();
  const absl::Status verified = Verify(*peer, directory.ownership(), holder, entry.path);
  if (!verified.ok()) return verified;
  return Exchange(*std::move(socket), end).Of(*encoded);
}

}  // namespace soleguard

// The seam to the operating system for the layers: errors, locks, kept descriptors, fork. Private
// to layers/; what the world above needs of the process table is in soleguard/process.h.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/fd.h"
#include "soleguard/process.h"
#include "soleguard/scope.h"

namespace soleguard::os {

// Repeats a system call that a signal interrupted. Never used around close(2).
template <typename Call>
auto RetryOnEintr(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

// "cannot lock /x: Permission denied", with the code that fits `error`.
absl::Status ErrnoStatus(int error, std::string_view what);

// flock(2) and OFD locks without waiting: true when locked, false when another has it.
absl::StatusOr<bool> TryFlock(int fd, bool exclusive);
// A write lock on the whole file, owned by the open file description like flock's. fcntl(2),
// Linux 3.15.
absl::StatusOr<bool> TryOfdLock(int fd);
// Whether a write lock of the fcntl family stands on the file. Takes no lock; a read-only
// descriptor will do. Sees no flock(2) lock.
absl::StatusOr<bool> SeesOfdLock(int fd);
void UnlockFlock(int fd);
void UnlockOfd(int fd);

// A POSIX write lock on the whole file, owned by the process: a second one of the same process
// succeeds, a forked child has none, and the process drops it with the close of any descriptor of
// the file. False when another process has a lock of the fcntl family.
absl::StatusOr<bool> TryPosixLock(int fd);
// The process with a POSIX lock on the file, the caller included, in the caller's pid namespace;
// nullopt: nobody has a lock of the fcntl family. 0: an OFD lock, or a process that cannot be seen
// from here. Takes no lock; a read-only descriptor will do.
absl::StatusOr<std::optional<std::int64_t>> PosixLockOwner(int fd);

// The same for some bytes of a file, whether it is that long or not. Two locks of one open file
// description never conflict.
struct Range {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};
absl::StatusOr<bool> TryOfdLock(int fd, Range range);
absl::StatusOr<bool> SeesOfdLock(int fd, Range range);
// One of the locks there, whichever; its size is 0 when it has no end.
absl::StatusOr<std::optional<Range>> FindOfdLock(int fd, Range range);

// Whether flock and fcntl locks on one description are independent, as on local filesystems. On NFS
// and SMB they are emulated by each other and would conflict.
absl::StatusOr<bool> LockFamiliesAreIndependent(int fd);

absl::StatusOr<FileIdentity> IdentityOfFile(int fd);

// A duplicate above the standard descriptors, close-on-exec; -1 with errno.
int DuplicateDescriptor(int fd);

// A system file to be read line by line; nullptr with errno. fopen(3), but above the standard
// descriptors.
using Stream = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
Stream OpenStream(const char* path);

// The effective user of the calling process.
std::uint32_t OwnUid();

// Tells the process that made it from all its forked and cloned children, pid namespaces included.
class ProcessMark {
 public:
  ProcessMark();  // of the calling process
  // One that was noted before, by these two.
  ProcessMark(std::uint64_t generation, std::int64_t pid) : generation_(generation), pid_(pid) {}
  bool IsCurrent() const;

  std::uint64_t generation() const { return generation_; }
  std::int64_t pid() const { return pid_; }

 private:
  std::uint64_t generation_;
  std::int64_t pid_;
};

// A descriptor that carries a claim.
//  - A forked child closes its copy at once (pthread_atfork), so that the claim ends with its
//    owner. A raw clone(2) skips that.
//  - It remembers what it refers to: a program that closed all descriptors and reused the number
//    must not have its own file written or closed.
// Neither movable nor copyable. Thread-safe against fork only.
class KeptFd {
 public:
  KeptFd() = default;
  KeptFd(const KeptFd&) = delete;
  KeptFd& operator=(const KeptFd&) = delete;
  ~KeptFd() { Close(); }

  // Calls `open`, which returns a new descriptor or -1 with errno, and keeps the result instead of
  // what was kept, which stays if that fails. No fork of this process can fall between the two: a
  // child would share the open file description, and with it each lock that is taken on it later.
  absl::Status Keep(std::string_view what, const std::function<int()>& open);

  int get() const { return fd_; }
  const FileIdentity& file() const { return file_; }
  explicit operator bool() const { return fd_ >= 0; }

  // Whether the descriptor still refers to what was kept.
  bool StillOurs() const noexcept;
  // The same with a reason: DataLoss when the program closed it. `path` is for the message.
  absl::Status CheckStillOurs(std::string_view path) const;

  // Whether the file has no name left in any directory: nobody, wherever it looks from, can open it
  // again. False also when it is not ours any more, or does not say.
  bool IsDeleted() const noexcept;

  // A duplicate, close-on-exec, that forked children do keep.
  absl::StatusOr<UniqueFd> Duplicate() const;

  // Gives it a number above `number`. When a process ends the kernel releases its descriptors from
  // the highest number down (Linux 4.4): what others wait for shall not come after what is slow.
  // Not for a POSIX lock, which the close of the old number would drop.
  absl::Status MoveAbove(int number);

  // Lets the descriptor survive execve(2).
  absl::Status KeepOverExec() const;

  // Closes it, unless the number refers to something else by now. Keeps errno.
  void Close() noexcept;

  // pthread_atfork handlers; here because they work on the list of all kept descriptors.
  static void BeforeFork();
  static void AfterForkInParent();
  static void AfterForkInChild();

 private:
  void CloseDescriptor() noexcept;

  int fd_ = -1;
  FileIdentity file_;
  KeptFd* previous_ = nullptr;
  KeptFd* next_ = nullptr;
};

// Who may have made the objects of a scope, for a start and for a look alike: nothing of another
// user's object is believed, counted or acted upon. What he planted, or what a mistake left that
// would let others in, is refused and its owner named; it is never mended.
struct Ownership {
  enum class Rule {
    kOwner,        // `uid` only: directories 0700, files 0600
    kGroup,        // any member of `gid`, and root: directories 2770, files 0660
    kOwnerOrRoot,  // `uid` or root, whatever the mode: files that other programs made
  };
  Rule rule = Rule::kOwner;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string directory = {};  // of a scope that a group shares: where its members show themselves
};

// Whether a user may own what belongs to the scope. In a group's scope that is a member (a process
// that may write the scope's directory), or root. A start leaves the empty file `member.UID` in
// the directory, which only a member can have made: neither the password database nor the groups
// of a process that may have ended show what setpriv(1) or a service's SupplementaryGroups= gave.
bool MayOwn(std::uint32_t uid, const Ownership& ownership);
// The same of a process at the other end of a socket, with all its groups (socket(7)).
bool MayOwn(std::uint32_t uid, const std::vector<std::uint32_t>& groups,
            const Ownership& ownership);
// The rule of the calling user's own scope. FailedPrecondition in a user namespace that does not
// map him: all whom it does not map look alike there.
absl::StatusOr<Ownership> OwnershipOfCaller();

// "trader (uid 1000)"; says where a user namespace hides who it is (user_namespaces(7)).
std::string Who(std::uint32_t uid);

// Whether the number stands for all whom the caller's user namespace does not map (65534), and so
// tells nothing.
bool IsHiddenUser(std::uint32_t uid);
bool IsHiddenGroup(std::uint32_t gid);

// Calls `make`, which makes a file and returns what open(2) does, without a umask: the mode of what
// a group shares is right from its birth, and a process that is killed leaves nothing that only it
// may use. In a thread of its own, which has a umask of its own (unshare(2), CLONE_FS): that of the
// process is all threads'. Where there can be none, `make` is called as it is. Keeps errno.
int WithoutUmask(const std::function<int()>& make);

// kAsIf: as for kYes, and makes nothing; NotFound where something would be made.
enum class Create { kNo, kYes, kAsIf };

// Whether files of such a filesystem are on another machine, where a lock call may block and lie.
bool IsNetworkFilesystem(const std::string& type);
// DeadlineExceeded: `directory` is on a filesystem that another machine or a program serves, and an
// open and a lock in it do not come back in the time of Patience, two seconds at most. A helper
// process tries them, because a thread that hangs in them could keep this process from exiting; its
// lock is given back when it ends, however late. With kYes it makes the directory and a file in it.
// OK at once on other filesystems. The race: the server goes away after it has answered; then the
// caller's own call hangs.
absl::Status AwaitAnswer(const std::string& directory, Create create);

// The scope's directory, opened and checked, created if that is asked for and the scope's rule
// allows it. Says who may own what is inside, whoever asks: in a directory its owner, or the
// members of its group. NotFound when it does not exist. For a start (kYes, kAsIf) also an error
// where the caller may not write it, or where a user to whom it does not belong can move it away:
// two processes would then meet two directories at one path.
absl::StatusOr<Ownership> KeepScopeDirectory(const Scope& scope, Create create, KeptFd& kept);

// The directory, regular file or FIFO `name` inside `parent`, opened and checked against
// `ownership`; `path` is for messages. Never follows a link, never blocks, never changes what it
// refuses.
struct Entry {
  int parent = -1;
  std::string name;
  std::string path;
};
absl::Status KeepDirectory(const Entry& entry, const Ownership& ownership, Create create,
                           KeptFd& kept);
absl::Status KeepFile(const Entry& entry, const Ownership& ownership, Create create, KeptFd& kept);
// Whether KeepFile could open the file for writing, or make it, and the file could have `size`
// bytes then. Finds that out by a file without a name (O_TMPFILE), which nobody sees and the kernel
// drops; on a filesystem that has none by rights and free space.
absl::Status CheckFile(const Entry& entry, const Ownership& ownership, std::size_t size);
// A segment of POSIX shared memory, as a file. A new one appears with its owner, group and mode in
// one step: nobody finds one that is half made. (shm_open(3) gives it the creator's own group.)
absl::Status KeepSegment(const std::string& name, const Ownership& ownership, Create create,
                         KeptFd& kept);
// Whether a start could have the segment, with `size` bytes: opens what is there, makes nothing.
absl::Status CheckSegment(const std::string& name, const Ownership& ownership, std::size_t size);
void RemoveSegment(const std::string& name);
// Where it stands.
std::string SegmentPath(const std::string& name);
// Open for reading and writing, so that the opener counts as a writer.
absl::Status KeepFifo(const Entry& entry, const Ownership& ownership, KeptFd& kept);
// Open for reading: hangs up when the last writer is gone. Nothing when there is no writer.
UniqueFd WatchFifo(const Entry& entry, const Ownership& ownership);

// A pipe of this process. Neither end ever blocks.
absl::Status KeepPipe(KeptFd& read_end, KeptFd& write_end);
// Makes the other end readable; nothing when the program has closed this one.
void Wake(const KeptFd& write_end);

// Removes the file's name, if it has one. Whoever has it open keeps it.
void RemoveEntry(const Entry& entry);
// Removes the directory if it is empty.
absl::Status RemoveDirectory(const std::string& path);

// Whether `path` itself, not what a link points to, is `file` now.
absl::StatusOr<bool> PathIs(const std::string& path, const FileIdentity& file);

// The same of an entry: below its open parent, or without one at its path.
absl::StatusOr<bool> EntryIs(const Entry& entry, const FileIdentity& file);

// Whether nothing is at `path`. False also when it cannot be told: opening it tells why.
bool IsMissing(const std::string& path);

// At most `limit` bytes from the file's begin.
absl::StatusOr<std::string> ReadAt(int fd, std::size_t limit);
// All of `bytes` at the file's begin, in one system call.
absl::Status WriteAt(int fd, std::string_view bytes);

// The bytes of a range, as many as the file has.
absl::StatusOr<std::string> ReadRange(int fd, Range range);
// All of `bytes` at `offset`, in one system call. ResourceExhausted beyond RLIMIT_FSIZE, where the
// kernel would end the process (SIGXFSZ).
absl::Status WriteAt(int fd, std::string_view bytes, std::uint64_t offset);

// Becomes readable when somebody writes to the file that `fd` has open (inotify(7)). A user has 128
// of these by default.
absl::StatusOr<UniqueFd> WatchWrites(int fd);

// Whether everybody may create a directory in `path`, and nobody but root can remove or rename
// somebody else's. Follows links: some systems have /run/lock as one, and /run is root's, so nobody
// else can have made it.
bool IsSharedByEverybody(const char* path);

// The names in a directory, but for "." and "..", unsorted.
absl::StatusOr<std::vector<std::string>> NamesIn(int directory);

struct User {
  std::string name;
  std::uint32_t gid = 0;  // of the primary group
  std::string home;
};
// The entry of `uid` in the password database: /etc/passwd first, then what nsswitch.conf(5) names.
// nullopt: it has none, or it could not be asked.
std::optional<User> FindUser(std::uint32_t uid);

// Where state that outlives a reboot is kept, by rule: /var/lib/soleguard for root, else
// .local/state/soleguard in the home of the password database. $HOME is not asked: it differs under
// sudo and in services. NotFound when the database names no home.
absl::StatusOr<std::string> StateDirectory();

// Creates `directory` with missing parents, mode 0700, but not a missing home or root directory.
absl::Status MakeDirectories(const std::string& directory);

// Whether nobody but this user and root may put anything into `directory`, or replace it. False
// also when it cannot be told.
bool IsOwnersAlone(const std::string& directory);
// The group that may write to `directory`, where others may not.
std::optional<std::uint32_t> GroupThatMayWrite(const std::string& directory);

// Replaces `directory`/`name` with `bytes` so that after a power loss either the old or the new
// content is there, and the new one once this has returned.
enum class Readers { kOwner, kGroup };
absl::Status WriteDurably(const std::string& directory, const std::string& name,
                          std::string_view bytes, Readers readers);

// Since the kernel's start, suspended time included, by a clock that nobody sets; the same in every
// time namespace.
absl::StatusOr<std::uint64_t> MicrosSinceBoot();

// Keeps the directory `path` open to find entries below it, links in the path followed.
absl::Status KeepPlace(const std::string& path, KeptFd& kept);
// Replaces a file by one with `bytes` that everybody may read, in one step: a reader finds the old
// file or the new one. Not durable. FailedPrecondition rather than overwrite what is no such file:
// not regular, or large. Gives the new file, open for reading and writing.
absl::StatusOr<UniqueFd> WriteForOthers(const Entry& entry, std::string_view bytes);
// Removes a file if it is `file`, which is open, and says `bytes` and nothing else. What somebody
// else has put there, or written into it, stays.
void RemoveIfSays(const Entry& entry, const KeptFd& file, std::string_view bytes);
// Whether something is at the entry that is not `file`, or says something else than `bytes`.
bool IsAnothers(const Entry& entry, const KeptFd& file, std::string_view bytes);

// Whether the calling process has no other thread. False also when that cannot be seen.
bool IsOnlyThread();

// A System V semaphore of one value: 0 is free, 1 is taken. A taken one belongs to the process, not
// to a thread; it survives exec, is not inherited by fork, and the kernel gives it back (SEM_UNDO)
// once the process is gone, after its memory is (exit_sem follows exit_mm). Lives in the ipc
// namespace.
//
// The kernel makes one with the caller's own group (semget(2)), and only its maker, or root, can
// give it another or remove it. Who has the scope's group as a supplementary one is killed between
// the two now and then. So what a group shares may stand at any of several keys. One that its maker
// has not given to the group (mode 0) is passed over; whoever takes one looks at the others once it
// has it, and gives it back when another is taken. Of two who do so at one time at most one sees
// the other's free.
class UndoSemaphore {
 public:
  // Of a scope with one owner the first key is the only one.
  static constexpr std::size_t kKeys = 8;
  using Keys = std::array<std::int32_t, kKeys>;

  // The semaphore that decides, made free if that is asked for and there is none. NotFound when it
  // does not exist. FailedPrecondition: a user to whom the scope does not belong made it. One that
  // is taken goes before one that is free.
  static absl::StatusOr<UndoSemaphore> Open(const Keys& keys, const Ownership& ownership,
                                            Create create);

  // Waits for zero and adds one, in one atomic operation that does not block. False when it is
  // taken, or another one that decides is: this is that one then. Aborted when it was removed
  // meanwhile.
  absl::StatusOr<bool> TryTake();
  // Of the process that has taken it, and of no other. The value is set, not taken back: that
  // clears the undo entries of all threads, whichever has taken it. A thread that is alone with its
  // undo list (unshare(2) with CLONE_SYSVSEM) would take it once more at its end.
  absl::Status Give();
  // From the ipc namespace: who waits for it or has opened it learns that it is gone.
  // PermissionDenied: it was made by another user.
  absl::Status RemoveOne();
  // The same with what stands at the other keys.
  absl::Status Remove();

  // Aborted when it was removed meanwhile.
  absl::StatusOr<bool> IsTaken() const;
  // Blocks until it is free or removed. Changes nothing.
  void WaitUntilFree() const;
  // The process that operated on it last, in the caller's pid namespace; 0 for one that is not in
  // it.
  absl::StatusOr<std::int64_t> LastProcess() const;
  // Whether the key still leads to it.
  bool IsAtKey() const;
  std::int32_t key() const { return keys_[at_]; }
  // Whether this user may remove it: its owner, its creator or root.
  bool MayRemove() const;

 private:
  UndoSemaphore(const Keys& keys, const Ownership& ownership)
      : keys_(keys), ownership_(ownership) {}

  std::size_t count() const { return ownership_.rule == Ownership::Rule::kGroup ? kKeys : 1; }
  absl::Status Find(Create create);
  absl::StatusOr<bool> IsAnotherTaken();

  Keys keys_;
  Ownership ownership_;
  std::size_t at_ = 0;
  int id_ = -1;
};

// An IPv4 address and port of this network namespace.
struct Endpoint {
  std::uint32_t address = 0;  // host byte order
  std::uint16_t port = 0;

  std::string ToString() const;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// A TCP socket with SO_REUSEADDR, so that connections of an earlier holder that still time out
// don't refuse this one. Never SO_REUSEPORT, which would let two listen.
absl::Status KeepTcpSocket(KeptFd& kept);
// Binds and listens. False when another socket is in the way: listen decides, as two binds with
// SO_REUSEADDR coexist until one of them listens (tcp(7)).
absl::StatusOr<bool> TryListen(const KeptFd& socket, const Endpoint& endpoint);
// Whether TryListen could bind there. Its socket is bound for a moment, and does not listen: it is
// in the way of nobody who sets SO_REUSEADDR, as all soleguard's sockets do. NotFound: another
// socket is in the way.
absl::Status CheckMayBind(const Endpoint& endpoint);
// Ends the listening, duplicates of the descriptor included. A Unix socket keeps its name, but
// refuses connections.
void StopListening(const KeptFd& socket);
// Whether it listens at `endpoint`.
bool ListensAt(const KeptFd& socket, const Endpoint& endpoint);

// A listening socket that is in the way of `endpoint`: at it, or at the wildcard address of IPv4 or
// IPv6.
struct Listener {
  bool exact = false;  // at the endpoint itself
  std::uint32_t uid = 0;
  FileIdentity socket;  // as its owner's descriptors show it
};
// Asks the kernel (sock_diag(7)); connects to nobody. Ports only show within the network namespace.
absl::StatusOr<std::vector<Listener>> ListenersInTheWay(const Endpoint& endpoint);

// A Unix socket of the abstract name space that nobody accepts on: whoever connects learns from the
// kernel (SO_PEERCRED) who listens, even when that process is stopped. False when the name is
// taken.
absl::StatusOr<bool> KeepCompanion(const std::string& name, KeptFd& kept);
struct Peer {
  std::int64_t pid = 0;  // in the caller's pid namespace; 0: of another one
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> groups;
};
// NotFound: nobody listens. ResourceExhausted: its backlog is full, so that this does not tell who
// it is: those who have asked take its places for as long as it lives.
absl::StatusOr<Peer> CompanionPeer(const std::string& name);
// The user whose process listens there, by sock_diag(7), which connects to nobody (Linux 5.3).
// NotFound: nobody, or the kernel does not say.
absl::StatusOr<std::uint32_t> CompanionOwner(const std::string& name);

// A Unix stream socket that listens at the path of `entry`, in place of whatever stands there: one
// that a dead process left. The address is taken below the open parent, so that the length of the
// path does not matter (sun_path has 108 bytes). Gives the file's identity.
absl::StatusOr<FileIdentity> KeepInbox(const Entry& entry, const Ownership& ownership,
                                       KeptFd& kept);
// Keeps the next connection, which does not block. NotFound: nobody has connected.
absl::Status KeepConnection(const KeptFd& listener, KeptFd& kept);
// Connects; what it returns does not block. NotFound: nobody listens there. DeadlineExceeded: so
// many wait already that there was no place.
absl::StatusOr<UniqueFd> ConnectTo(const Entry& entry, absl::Duration timeout);
// The process behind the other end: who has connected, or, for who has connected, who listens.
struct PeerProcess {
  ProcessIdentity identity;
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> groups;
};
// NotFound: it is gone, or is in another pid namespace.
absl::StatusOr<PeerProcess> PeerOf(int socket);
// How many bytes went out; 0: none for now. Aborted: the other end is closed.
absl::StatusOr<std::size_t> SendSome(int socket, std::string_view bytes);
// What has come in, at most `limit`; empty: nothing yet. Aborted: the other end is closed.
absl::StatusOr<std::string> ReceiveSome(int socket, std::size_t limit);
// Whether the other end is still open.
bool IsConnected(int socket);

// Keeps what becomes readable when the file at the path of `entry` is deleted, moved or changed
// (inotify(7)).
absl::Status KeepWatchOf(const Entry& entry, KeptFd& kept);
// Becomes readable when something is made, renamed or removed in an open directory. Invalid where
// the system gives none.
UniqueFd WatchNamesIn(int directory);

// Blocks until one of them is ready, or `timeout` has passed.
struct Waited {
  int fd = -1;
  bool to_write = false;
  bool ready = false;
};
void WaitForReady(std::vector<Waited>& all, absl::Duration timeout);

// Whether a user belongs to a group, by the password database and /etc/group. Groups that only a
// name service knows are not seen: a program that is linked statically cannot load it.
bool IsMember(std::uint32_t uid, std::uint32_t gid);

// A program's file, with what a copy of it shares.
struct ProgramFile {
  FileIdentity file;
  std::uint64_t size = 0;
};
// The regular file at `path`, links followed. The server of a network filesystem is not asked
// again. NotFound also for what is no regular file.
absl::StatusOr<ProgramFile> ProgramFileAt(const std::string& path);
// The path that execvp(3) would execute for `name` in `directory`, the environment's PATH included.
absl::StatusOr<std::string> FindProgram(const std::string& name, const std::string& directory);
// `path` without links; `path` itself where that cannot be told.
std::string WithoutLinks(const std::string& path);
// The first line of a script after "#!", at most what the kernel reads of it (256 bytes,
// BINPRM_BUF_SIZE, Linux 5.1). nullopt: no script, or the caller may not read it.
absl::StatusOr<std::optional<std::string>> InterpreterLine(const std::string& path);
absl::StatusOr<UniqueFd> OpenForReading(const std::string& path);
// Whether two files have the same content.
absl::StatusOr<bool> SameContent(int a, int b);

// One pass over the process table of the caller's pid namespace: for each process the file that it
// executes, or `error` EACCES where the caller may not see that. A process whose main thread has
// ended counts, zombies, kernel threads and thread ids do not. Processes that come and go meanwhile
// may or may not be seen. FailedPrecondition when /proc shows another pid namespace.
absl::Status ForEachProgram(
    const std::function<void(std::int64_t pid, int error, const ProgramFile& program)>& visit);

// The arguments of `pid` as they stand, a NUL after each; empty where they cannot be read. For a
// first look: whose they are is for ProcessView to say.
std::string CommandLineOf(std::int64_t pid);

// PermissionDenied when /proc hides the processes of other users from the caller (hidepid).
absl::Status CheckProcessTable();

// A process and its parent. NotFound when it is gone.
struct Kin {
  ProcessIdentity process;
  std::int64_t parent = 0;
};
absl::StatusOr<Kin> KinOf(std::int64_t pid);
// The same of the calling process.
absl::StatusOr<Kin> OwnKin();

// A process that is looked at closely. All is read below one open directory, which belongs to that
// very process: when it is gone everything fails, whoever has its pid by then. Strings are foreign
// bytes.
class ProcessView {
 public:
  static absl::StatusOr<ProcessView> Open(std::int64_t pid);
  // The calling process.
  static absl::StatusOr<ProcessView> OfCaller();

  absl::StatusOr<Kin> Kinship() const;
  // Since it was forked: exec(3) does not change that.
  absl::StatusOr<absl::Duration> Age() const;
  absl::StatusOr<std::uint32_t> EffectiveUser() const;
  // Not of one below it.
  absl::StatusOr<bool> IsInOwnPidNamespace() const;
  absl::StatusOr<ProgramFile> Program() const;
  // Open for reading.
  absl::StatusOr<UniqueFd> OpenProgram() const;
  // Of the program's file, as it was when it was started.
  absl::StatusOr<std::string> ProgramPath() const;
  absl::StatusOr<std::vector<std::string>> Arguments() const;
  // NAME=VALUE, as they were at its exec(3).
  absl::StatusOr<std::vector<std::string>> Environment() const;
  // The regular file at `path`, as the process would find it: from its working directory.
  absl::StatusOr<ProgramFile> FileAt(const std::string& path) const;

 private:
  ProcessView(std::int64_t pid, UniqueFd directory) : pid_(pid), directory_(std::move(directory)) {}
  int readable() const { return task_ ? task_.get() : directory_.get(); }

  std::int64_t pid_;
  UniqueFd directory_;
  UniqueFd task_;  // of a thread that lives, when the main thread has ended
};

}  // namespace soleguard::os

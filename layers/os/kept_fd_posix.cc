#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <new>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/file.h"
#include "os/kept_fd.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// Guards the list of kept descriptors, and is held over fork. Never destroyed: a forked child's or
// a late thread's exit handlers may still ask.
std::mutex& ListMutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

KeptFd* g_first = nullptr;  // guarded by ListMutex

// A word that the kernel zeroes in every child that gets a copy of this memory (MADV_WIPEONFORK,
// Linux 4.14), raw clone(2) included, which runs no atfork handler.
std::atomic<std::uint64_t>* WipedWord() {
  static std::atomic<std::uint64_t>* const word = [] {
    const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* page = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw std::bad_alloc();
    // On an older kernel the pid in the mark still tells, but for pid namespaces.
    (void)madvise(page, size, MADV_WIPEONFORK);
    return new (page) std::atomic<std::uint64_t>(0);
  }();
  return word;
}

std::uint64_t Generation() {
  static std::atomic<std::uint64_t> last{
      0};  // copied to a child, which so continues beyond its parent
  std::atomic<std::uint64_t>* const word = WipedWord();
  std::uint64_t current = word->load();
  if (current != 0) return current;
  const std::uint64_t fresh = ++last;
  return word->compare_exchange_strong(current, fresh) ? fresh : current;
}

FileIdentity IdentityIn(const struct stat& status) {
  return {.device = status.st_dev, .inode = status.st_ino};
}

void InstallForkHandlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Fails with ENOMEM only.
    if (pthread_atfork(&KeptFd::BeforeFork, &KeptFd::AfterForkInParent,
                       &KeptFd::AfterForkInChild) != 0) {
      throw std::bad_alloc();
    }
  });
}

absl::Status ClosedByTheProgram(int fd) {
  return absl::DataLossError(absl::StrCat("the program closed descriptor ", fd));
}

}  // namespace

int DuplicateDescriptor(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); }

ProcessMark::ProcessMark() : generation_(Generation()), pid_(getpid()) {}

bool ProcessMark::IsCurrent() const {
  return WipedWord()->load() == generation_ && getpid() == pid_;
}

absl::Status KeptFd::Keep(std::string_view what, const std::function<int()>& open) {
  InstallForkHandlers();
  const std::lock_guard lock(ListMutex());
  UniqueFd fd(RetryOnEintr(open));
  if (!fd) return ErrnoStatus(errno, what);
  absl::StatusOr<FileIdentity> file = IdentityOfFile(fd.get());
  if (!file.ok()) return file.status();
  if (fd_ >= 0) {
    // The same number is of one that the program has closed.
    if (fd_ != fd.get()) CloseDescriptor();
  } else {
    previous_ = nullptr;
    next_ = g_first;
    if (next_ != nullptr) next_->previous_ = this;
    g_first = this;
  }
  file_ = *file;
  fd_ = fd.release();
  return absl::OkStatus();
}

bool KeptFd::StillOurs() const noexcept {
  struct stat status = {};
  return fd_ >= 0 && fstat(fd_, &status) == 0 && IdentityIn(status) == file_;
}

absl::Status KeptFd::CheckStillOurs(std::string_view path) const {
  struct stat status = {};
  const int error = fd_ < 0 ? EBADF : fstat(fd_, &status) != 0 ? errno : 0;
  if (error == 0 && IdentityIn(status) == file_) return absl::OkStatus();
  if (error != 0 && error != EBADF) {
    return ErrnoStatus(error, absl::StrCat("fstat ", EscapeBytes(path)));
  }
  return absl::DataLossError(
      absl::StrCat("the program closed the descriptor of ", EscapeBytes(path)));
}

bool KeptFd::IsDeleted() const noexcept {
  struct stat status = {};
  return fd_ >= 0 && fstat(fd_, &status) == 0 && IdentityIn(status) == file_ &&
         status.st_nlink == 0;
}

absl::StatusOr<UniqueFd> KeptFd::Duplicate() const {
  if (!StillOurs()) return ClosedByTheProgram(fd_);
  UniqueFd copy(DuplicateDescriptor(fd_));
  if (!copy) return ErrnoStatus(errno, absl::StrCat("duplicate descriptor ", fd_));
  return copy;
}

absl::Status KeptFd::MoveAbove(int number) {
  const std::lock_guard lock(ListMutex());
  if (fd_ > number || !StillOurs()) return absl::OkStatus();
  UniqueFd moved(RetryOnEintr([&] { return fcntl(fd_, F_DUPFD_CLOEXEC, number + 1); }));
  if (!moved) return ErrnoStatus(errno, absl::StrCat("move descriptor ", fd_));
  (void)::close(fd_);  // the new one keeps it open
  fd_ = moved.release();
  return absl::OkStatus();
}

absl::Status KeptFd::KeepOverExec() const {
  if (!StillOurs()) return ClosedByTheProgram(fd_);
  if (fcntl(fd_, F_SETFD, 0) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("keep descriptor ", fd_, " over exec"));
}

void KeptFd::Close() noexcept {
  const std::lock_guard lock(ListMutex());
  if (fd_ < 0) return;
  (previous_ != nullptr ? previous_->next_ : g_first) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  CloseDescriptor();
}

void KeptFd::CloseDescriptor() noexcept {
  const int saved = errno;
  struct stat status = {};
  const bool replaced = fstat(fd_, &status) == 0 ? !(IdentityIn(status) == file_) : errno == EBADF;
  // What does not say what it is (ESTALE) is closed too, or a lock could stay that nobody can free.
  if (!replaced) (void)::close(fd_);  // nothing was buffered that could fail to be written
  fd_ = -1;
  errno = saved;
}

void KeptFd::BeforeFork() { ListMutex().lock(); }

void KeptFd::AfterForkInParent() { ListMutex().unlock(); }

// Between fork and exec of a program with threads: fstat(2) and close(2) are async-signal-safe, and
// the lock is this thread's own.
void KeptFd::AfterForkInChild() {
  for (KeptFd* kept = g_first; kept != nullptr; kept = kept->next_) kept->CloseDescriptor();
  g_first = nullptr;
  ListMutex().unlock();
}

}  // namespace soleguard::os

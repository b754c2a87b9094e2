#include "support/traced.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <filesystem>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace soleguard::testing {
namespace {

std::set<std::string> OwnDescriptors() {
  std::set<std::string> numbers;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    numbers.insert(entry.path().filename());
  }
  // Without the one that the listing itself had.
  std::erase_if(numbers,
                [](const std::string& number) { return fcntl(std::stoi(number), F_GETFD) < 0; });
  return numbers;
}

// What this program was started with, such as the log of a test driver, which renames it meanwhile.
const std::set<std::string> kInherited = OwnDescriptors();

[[noreturn]] void Throw(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

// What the child does where `prepare` ends and where `body` ends. The library never calls kill(2).
void Mark() { (void)syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP); }

// Blocks until the child has stopped. False when it has ended.
bool WaitForStop(pid_t pid, int& status) {
  while (waitpid(pid, &status, __WALL) < 0) {
    if (errno != EINTR) Throw("waitpid");
  }
  return WIFSTOPPED(status);
}

// Registers of the child, by the one interface that all architectures have.
template <typename Change>
void ChangeRegisters(pid_t pid, Change change) {
  user_regs_struct registers{};
  iovec area{.iov_base = &registers, .iov_len = sizeof(registers)};
  if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &area) != 0) Throw("PTRACE_GETREGSET");
  change(registers);
  if (ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &area) != 0) Throw("PTRACE_SETREGSET");
}

enum class Takes { kNothing, kDescriptor, kPath, kDescriptorAndPath };

Takes ArgumentsOf(std::uint64_t number) {
  switch (number) {
    case SYS_openat:
    case SYS_mkdirat:
    case SYS_mknodat:
    case SYS_newfstatat:
    case SYS_unlinkat:
    case SYS_readlinkat:
    case SYS_faccessat:
    case SYS_statx:
      return Takes::kDescriptorAndPath;
#ifdef SYS_open  // the old calls, which newer architectures do not have
    case SYS_open:
    case SYS_mkdir:
    case SYS_readlink:
    case SYS_rename:
    case SYS_unlink:
    case SYS_stat:
    case SYS_lstat:
    case SYS_access:
#endif
    case SYS_statfs:
      return Takes::kPath;
    case SYS_read:
    case SYS_write:
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_close:
    case SYS_fstat:
    case SYS_fstatfs:
    case SYS_fchmod:
    case SYS_flock:
    case SYS_fcntl:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_getdents64:
    case SYS_bind:
    case SYS_listen:
    case SYS_connect:
    case SYS_getsockopt:
    case SYS_setsockopt:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_shutdown:
      return Takes::kDescriptor;
    default:
      return Takes::kNothing;
  }
}

}  // namespace

Traced::Traced(const std::function<void()>& prepare, const std::function<void()>& body) {
  pid_ = fork();
  if (pid_ < 0) Throw("fork");
  if (pid_ == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(2);
    prepare();
    Mark();
    body();
    Mark();
    _exit(0);
  }
  int status = 0;
  if (!WaitForStop(pid_, status)) {
    ended_ = true;
    throw std::runtime_error("the child ended before it was prepared");
  }
  constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, pid_, nullptr, kOptions) != 0) Throw("PTRACE_SETOPTIONS");
}

Traced::~Traced() {
  if (ended_) return;
  Kill();
  int status = 0;
  while (waitpid(pid_, &status, __WALL) >= 0 && !WIFEXITED(status) && !WIFSIGNALED(status)) {
  }
}

std::string Traced::Unusable() {
#if !defined(__x86_64__) && !defined(__aarch64__)
  return "system calls are made to fail on x86-64 and AArch64 only";
#endif
  try {
    Traced child([] {});
    return "";
  } catch (const std::exception& error) {
    return std::string("needs ptrace(2): ") + error.what();
  }
}

bool Traced::Resume() {
  int signal = 0;
  while (true) {
    if (ptrace(PTRACE_SYSCALL, pid_, nullptr, signal) != 0) Throw("PTRACE_SYSCALL");
    int status = 0;
    if (!WaitForStop(pid_, status)) {
      ended_ = true;
      over_ = true;
      return false;
    }
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return true;
    signal = WSTOPSIG(status);  // one of the child's own
  }
}

bool Traced::FinishCall() {
  if (!at_call_) return true;
  const bool refuse = failing_ != 0 && number_ != SYS_close;
  if (refuse) Refuse();
  if (!Resume()) return false;
  if (failing_ != 0) SetResult();
  failing_ = 0;
  at_call_ = false;
  return true;
}

std::optional<Traced::Call> Traced::Next() {
  if (over_) return std::nullopt;
  if (!FinishCall() || !Resume()) return std::nullopt;
  __ptrace_syscall_info info{};
  if (ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof(info), &info) < 0) {
    Throw("PTRACE_GET_SYSCALL_INFO");
  }
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY) throw std::logic_error("not at a system call");
  if (info.entry.nr == SYS_kill) {
    over_ = true;
    return std::nullopt;
  }
  at_call_ = true;
  Call call{.number = info.entry.nr};
  std::copy(std::begin(info.entry.args), std::end(info.entry.args), call.arguments.begin());
  number_ = call.number;
  return call;
}

// Not by Next: stopping at each call of a walk through the process table takes long.
void Traced::RunToEnd() {
  if (over_ || !FinishCall()) return;
  int status = 0;
  for (int signal = 0; !over_; signal = WSTOPSIG(status)) {
    if (ptrace(PTRACE_CONT, pid_, nullptr, signal) != 0) Throw("PTRACE_CONT");
    ended_ = !WaitForStop(pid_, status);
    over_ = ended_ || WSTOPSIG(status) == SIGSTOP;  // Mark
  }
}

// The kernel skips a system call that has the number -1.
void Traced::Refuse() const {
#if defined(__x86_64__)
  ChangeRegisters(pid_, [](user_regs_struct& registers) { registers.orig_rax = ~0ULL; });
#elif defined(__aarch64__)
  int none = -1;
  iovec area{.iov_base = &none, .iov_len = sizeof(none)};
  if (ptrace(PTRACE_SETREGSET, pid_, NT_ARM_SYSTEM_CALL, &area) != 0) Throw("PTRACE_SETREGSET");
#endif
}

void Traced::SetResult() const {
  ChangeRegisters(pid_, [this](user_regs_struct& registers) {
    const auto result = static_cast<unsigned long long>(-failing_);
#if defined(__x86_64__)
    registers.rax = result;
#elif defined(__aarch64__)
    registers.regs[0] = result;
#endif
  });
}

void Traced::Kill() {
  if (!ended_) (void)kill(pid_, SIGKILL);
  over_ = true;
}

std::string Traced::TextAt(std::uint64_t address) const {
  std::string text;
  for (bool more = true; more && text.size() < PATH_MAX; address += sizeof(long)) {
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, pid_, address, nullptr);
    if (errno != 0) Throw("PTRACE_PEEKDATA");
    std::string bytes(sizeof(word), '\0');
    std::copy_n(reinterpret_cast<const char*>(&word), sizeof(word), bytes.data());
    const std::size_t end = bytes.find('\0');
    more = end == std::string::npos;
    text += bytes.substr(0, end);
  }
  return text;
}

std::string Traced::FileOf(std::uint64_t fd) const {
  std::error_code error;
  const std::string link = "/proc/" + std::to_string(pid_) + "/fd/" + std::to_string(fd);
  return std::filesystem::read_symlink(link, error).string();
}

std::vector<std::string> Traced::Descriptors() const {
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/fd")) {
    if (kInherited.contains(entry.path().filename())) continue;
    files.push_back(std::filesystem::read_symlink(entry.path()).string());
  }
  return files;
}

std::string Traced::ObjectOf(const Call& call) const {
  const Takes takes = ArgumentsOf(call.number);
  if (takes == Takes::kDescriptor) return FileOf(call.arguments[0]);
  if (takes == Takes::kPath) return TextAt(call.arguments[0]);
  if (takes == Takes::kNothing) return "";
  std::string path = TextAt(call.arguments[1]);
  if (path.starts_with('/')) return path;
  const std::string directory = FileOf(call.arguments[0]);
  return path.empty() ? directory : directory + "/" + path;
}

bool IsOfASanitizer(const Traced::Call& call, const std::string& object) {
  return call.number == SYS_pipe2 || object.starts_with("pipe:[");
}

std::string ToString(const Traced::Call& call, const std::string& object) {
  return "system call " + std::to_string(call.number) + " on \"" + object + "\"";
}

// Whether the call is about a process that has nothing to do with the test, and enough of its kind
// were visited: a walk through the process table has one for each process of the host.
bool CallByCall::IsOneOfMany() {
  constexpr std::string_view kProc = "/proc/";
  constexpr int kEnough = 4;
  if (!object_.starts_with(kProc)) return false;
  pid_t pid = 0;
  const char* const end = object_.data() + object_.size();
  const auto [rest, error] = std::from_chars(object_.data() + kProc.size(), end, pid);
  if (error != std::errc() || getpgid(pid) == getpgrp()) return false;
  return ++of_strangers_[std::to_string(call_.number) + std::string(rest, end)] > kEnough;
}

bool CallByCall::RunToNext(Traced& child) {
  int reached = 0;
  for (std::optional<Traced::Call> call = child.Next(); call.has_value(); call = child.Next()) {
    call_ = *call;
    object_ = child.ObjectOf(call_);
    if (!matters_(call_, object_) || reached++ < next_) continue;
    ++next_;
    if (IsOneOfMany()) continue;
    ++visited_;
    return true;
  }
  return false;
}

}  // namespace soleguard::testing

#include "support/child.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <system_error>

namespace soleguard::testing {
namespace {

std::string Run(const std::function<std::string()>& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    return error.what();
  }
}

void WriteAll(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t put = write(fd, text.data() + done, text.size() - done);
    if (put <= 0) _exit(1);
    done += static_cast<std::size_t>(put);
  }
}

std::string ReadAll(int fd) {
  std::string all;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return all;
    all.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

void WaitFor(pid_t pid) {
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void Stay() {
  while (true) pause();
}

}  // namespace

Child::Child(const std::function<std::string()>& body) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category());
  pid_ = fork();
  if (pid_ == 0) {
    // Ends with the test, however that ends.
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)close(ends[0]);
    WriteAll(ends[1], Run(body));
    (void)close(ends[1]);
    Stay();
  }
  (void)close(ends[1]);
  if (pid_ < 0) throw std::system_error(errno, std::system_category(), "fork");
  answer_ = ReadAll(ends[0]);
  (void)close(ends[0]);
}

void Child::Kill() {
  if (gone_) return;
  gone_ = true;
  (void)kill(pid_, SIGKILL);
  WaitFor(pid_);
}

std::string InChild(const std::function<std::string()>& body) { return Child(body).answer(); }

std::string InNewPidNamespace(const std::function<std::string()>& body) {
  return InChild([&]() -> std::string {
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) return "skip: needs root to make a pid namespace";
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return "skip: no pipe";
    const pid_t init = fork();
    if (init == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::string answer = "skip: needs the right to mount /proc";
      if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
          mount("proc", "/proc", "proc", 0, nullptr) == 0) {
        answer = Run(body);
      }
      WriteAll(ends[1], answer);
      _exit(0);
    }
    (void)close(ends[1]);
    std::string answer = ReadAll(ends[0]);
    WaitFor(init);
    return answer;
  });
}

}  // namespace soleguard::testing

// A terminal with a program in it.
#pragma once

#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "soleguard/fd.h"

namespace soleguard::testing {

// The program leads a session of its own, whose terminal this is. Killed and waited for at the end.
class Terminal {
 public:
  explicit Terminal(std::vector<std::string> argv) {
    std::vector<char*> arguments;
    for (std::string& word : argv) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    int master = -1;
    pid_ = forkpty(&master, nullptr, nullptr, nullptr);
    if (pid_ < 0) throw std::system_error(errno, std::system_category(), "forkpty");
    if (pid_ == 0) {
      (void)signal(SIGPIPE, SIG_DFL);  // as a login gives it, whatever this process does
      (void)execvp(arguments[0], arguments.data());
      _exit(127);
    }
    master_ = UniqueFd(master);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    master_.reset();  // hangs up
    if (!over_) {
      (void)kill(pid_, SIGKILL);
      (void)Wait();
    }
  }

  pid_t pid() const { return pid_; }

  // As typed.
  void Type(const std::string& keys) {
    if (write(master_.get(), keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) {
      throw std::system_error(errno, std::system_category(), "write to the terminal");
    }
  }

  // Closes it, as a window or a connection does. The kernel has sent its signals when this returns.
  void HangUp() { master_.reset(); }
  // Gives it another size.
  void Resize() {
    winsize size = {};
    if (ioctl(master_.get(), TIOCGWINSZ, &size) != 0) return;
    ++size.ws_col;
    (void)ioctl(master_.get(), TIOCSWINSZ, &size);
  }

  // Blocks until `text` was shown, and returns all that was shown since the last call, up to and
  // with it.
  std::string ReadUntil(const std::string& text) {
    while (true) {
      const std::size_t found = shown_.find(text);
      if (found != std::string::npos) {
        std::string result = shown_.substr(0, found + text.size());
        shown_.erase(0, result.size());
        return result;
      }
      std::array<char, 4096> buffer{};
      const ssize_t got = read(master_.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw std::runtime_error("the terminal never showed '" + text + "': " + shown_);
      shown_.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  // The word behind `text`, up to the end of the line.
  std::string ReadAfter(const std::string& text) {
    (void)ReadUntil(text);
    std::string line = ReadUntil("\n");
    return line.substr(0, line.find_first_of("\r\n"));
  }

  int Wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0) {
      if (errno != EINTR) throw std::system_error(errno, std::system_category(), "waitpid");
    }
    over_ = true;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  UniqueFd master_;
  pid_t pid_ = -1;
  bool over_ = false;
  std::string shown_;
};

}  // namespace soleguard::testing

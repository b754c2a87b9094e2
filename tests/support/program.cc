#include "program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include <absl/strings/str_cat.h>
#include <boost/asio/io_context.hpp>
#include <boost/process/v2.hpp>
#include <boost/process/v2/src.hpp>  // its compiled part, needed once per program

namespace soleguard::testing {
namespace {

namespace process = boost::process::v2;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends = {};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category());
    read = ends[0];
    write = ends[1];
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  void CloseRead() { Close(read); }
  void CloseWrite() { Close(write); }

  int read = -1;
  int write = -1;

 private:
  static void Close(int& fd) {
    if (fd >= 0) (void)close(fd);
    fd = -1;
  }
};

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

std::vector<std::string> Environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) all.push_back(text);
  }
  for (const auto& [key, value] : added) all.push_back(absl::StrCat(key, "=", value));
  return all;
}

std::string Executable(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  std::string found = process::environment::find_executable(name).string();
  if (found.empty()) throw std::runtime_error("no program " + name + " in PATH");
  return found;
}

}  // namespace

std::string Beside(const std::string& name) {
  static const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe");
  return own.parent_path() / name;
}

class Program::Impl {
 public:
  explicit Impl(const Setup& setup)
      : process_(context_, Executable(setup.argv.at(0)),
                 std::vector<std::string>(setup.argv.begin() + 1, setup.argv.end()),
                 process::process_stdio{in_.read, out_.write, err_.write},
                 process::process_environment(Environment(setup.environment)),
                 process::process_start_dir(setup.directory)),
        pid_(process_.id()) {
    process_.detach();  // waited for here, where stops and signals can be seen too
    in_.CloseRead();
    out_.CloseWrite();
    err_.CloseWrite();
  }
  ~Impl() {
    if (!code_.has_value()) {
      (void)kill(pid_, SIGKILL);
      Wait();
    }
  }

  int Wait() {
    if (code_.has_value()) return *code_;
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0) {
      if (errno != EINTR) throw std::system_error(errno, std::system_category(), "waitpid");
    }
    code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return *code_;
  }

  void WaitUntilStopped() const {
    siginfo_t info = {};
    while (waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WEXITED | WNOWAIT) != 0) {
      if (errno != EINTR) throw std::system_error(errno, std::system_category(), "waitid");
    }
    if (info.si_code != CLD_STOPPED)
      throw std::runtime_error("the program ended instead of stopping");
  }

  static std::optional<std::string> ReadLine(int fd) {
    std::string line;
    char c = 0;
    while (true) {
      const ssize_t got = read(fd, &c, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return line.empty() ? std::nullopt : std::optional(line);
      if (c == '\n') return line;
      line += c;
    }
  }

  boost::asio::io_context context_;
  Pipe in_;
  Pipe out_;
  Pipe err_;
  process::process process_;
  const pid_t pid_;
  std::optional<int> code_;
};

Program::Program(const Setup& setup) : impl_(std::make_unique<Impl>(setup)) {}
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

pid_t Program::pid() const { return impl_->pid_; }

void Program::Signal(int signal) {
  // Not after Wait: the pid may be another's by then.
  if (impl_->code_.has_value()) throw std::logic_error("signalled after it was waited for");
  if (kill(pid(), signal) != 0) throw std::system_error(errno, std::system_category(), "kill");
}

void Program::WriteLine(const std::string& line) {
  const std::string text = line + "\n";
  if (write(impl_->in_.write, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::system_error(errno, std::system_category(), "write to the program");
  }
}

void Program::CloseInput() { impl_->in_.CloseWrite(); }
std::optional<std::string> Program::ReadLine() { return Impl::ReadLine(impl_->out_.read); }
std::optional<std::string> Program::ReadErrorLine() { return Impl::ReadLine(impl_->err_.read); }
std::string Program::Output() { return ReadAll(impl_->out_.read); }
std::string Program::Errors() { return ReadAll(impl_->err_.read); }
int Program::Wait() { return impl_->Wait(); }
void Program::WaitUntilStopped() { impl_->WaitUntilStopped(); }

Finished RunProgram(const Program::Setup& setup) {
  Program program(setup);
  program.CloseInput();
  Finished finished;
  std::thread errors([&] { finished.errors = program.Errors(); });  // neither pipe may fill up
  finished.output = program.Output();
  errors.join();
  finished.code = program.Wait();
  return finished;
}

}  // namespace soleguard::testing

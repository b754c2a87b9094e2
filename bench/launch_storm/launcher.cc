#include "launcher.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/process/v2.hpp>
#include <boost/process/v2/posix/vfork_launcher.hpp>
#include <boost/process/v2/src.hpp>  // its compiled part, needed once per program

namespace launch_storm {

namespace process = boost::process::v2;

class Launcher::Impl {
 public:
  explicit Impl(std::vector<std::string> arguments)
      : program_(std::filesystem::read_symlink("/proc/self/exe").string()),
        arguments_(std::move(arguments)) {
    for (char** entry = environ; *entry != nullptr; ++entry) environment_.emplace_back(*entry);
    environment_.emplace_back();  // the variable's place
  }

  int Start(const std::string& variable, const std::string& value) {
    environment_.back() = variable + "=" + value;
    // vfork: a fork would copy the page tables of this process for each of a thousand children. And
    // a context for each: in the child, that is in this very memory, Boost 1.81 tells the context's
    // services that they were forked. One that has an epoll already makes a new one, as a
    // descriptor that the parent does not have (observed: the next start fails with EINVAL).
    boost::asio::io_context context;
    process::posix::vfork_launcher launch;
    process::process child = launch(context.get_executor(), program_, arguments_,
                                    process::process_environment(environment_));
    const int pid = child.id();
    child.detach();  // waited for by the caller, who sees stops too
    return pid;
  }

 private:
  const std::string program_;
  const std::vector<std::string> arguments_;
  std::vector<std::string> environment_;
};

Launcher::Launcher(std::vector<std::string> arguments)
    : impl_(std::make_unique<Impl>(std::move(arguments))) {}
Launcher::~Launcher() = default;

int Launcher::Start(const std::string& variable, const std::string& value) {
  return impl_->Start(variable, value);
}

}  // namespace launch_storm

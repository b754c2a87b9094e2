// A process that looks around with one layer, and is what others look for. Arguments:
//   SCOPE NAME SETTLE LAYER DIRECTORY [ARGV...]
// SCOPE is as in --scope, LAYER the text of a policy of one layer, DIRECTORY and ARGV the subject;
// without ARGV it is this process. With LOOKER_THREAD=1 the main thread ends at once.
//
// Prints "ready", then obeys:
//   try, look      held | contested STANDING PID EVIDENCE | free | taken STANDING PID | unavailable
//                  WHY
//   register       ok | WHY
//   wait           woken | no wake   what the last try said to wait for, up to 30 s
//   waits          how many descriptors that is
//   suspects       their pids
//   verify         ok | WHY
//   verify-forked  the same in a forked child
//   spawn ARGV...  PID of a child that dies with this process
//   fork           PID of a child that lives until the standard input ends
//   registered PID yes | no
//   closefrom      closed: every descriptor but the first three
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <absl/time/time.h>

#include "process/registration.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"
#include "soleguard/registration.h"
#include "soleguard/registry.h"
#include "support/forked.h"

namespace {

using namespace soleguard;  // NOLINT(google-build-using-namespace): one small program

class Looker {
 public:
  explicit Looker(const std::vector<std::string>& words)
      : scope_(*Scope::Parse(words.at(1))), name_(*InstanceName::Parse(words.at(2))) {
    LayerContext context{.scope = scope_, .name = name_, .kinds = LayerKinds()};
    if (!absl::ParseDuration(words.at(3), &context.settle)) std::abort();
    const Policy policy = *Policy::Parse(words.at(4));
    context.parameters = policy.layers().at(0).parameters;
    context.subject.working_directory = words.at(5);
    context.subject.argv.assign(words.begin() + 6, words.end());
    layer_ = policy.layers().at(0).kind->make(context);
  }

  std::string Obey(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "try") return Try();
    if (command == "look") return Look();
    if (command == "register") return Say(Register(scope_));
    if (command == "waits") return std::to_string(wake_.size());
    if (command == "wait") return WaitForAny(wake_, absl::Seconds(30)) ? "woken" : "no wake";
    if (command == "suspects") return Suspects();
    if (command == "verify") return Say(claim_->Verify());
    if (command == "verify-forked") return VerifyForked();
    if (command == "spawn") return Spawn(words);
    if (command == "fork") return Fork();
    if (command == "registered") return IsRegistered(words);
    if (command == "closefrom") {
      closefrom(3);
      return "closed";
    }
    return "unknown command " + command;
  }

 private:
  static std::string Say(const absl::Status& status) {
    return status.ok() ? "ok" : status.ToString();
  }
  static std::string Say(const Holder& holder) {
    std::int64_t pid = holder.record.has_value() ? holder.record->identity.pid : 0;
    if (!holder.processes.empty()) pid = holder.processes.front().pid;
    return std::string(ToString(holder.standing)) + " " + std::to_string(pid);
  }

  std::string Try() {
    wake_.clear();
    Attempt attempt = layer_->Try({});
    if (auto* held = std::get_if<Held>(&attempt)) {
      claim_ = std::move(held->claim);
      return "held";
    }
    if (auto* contested = std::get_if<Contested>(&attempt)) {
      wake_ = std::move(contested->wake);
      return "contested " + Say(contested->holder) + " " + contested->holder.evidence;
    }
    return "unavailable " + std::get<Unavailable>(attempt).status.ToString();
  }

  std::string Look() const {
    const Sighting sighting = layer_->Look();
    if (const auto* taken = std::get_if<Taken>(&sighting)) return "taken " + Say(taken->holder);
    if (const auto* blind = std::get_if<Unavailable>(&sighting)) {
      return "unavailable " + blind->status.ToString();
    }
    return "free";
  }

  std::string Suspects() const {
    std::string pids;
    for (const ProcessIdentity& process : layer_->Suspects()) {
      pids += " " + std::to_string(process.pid);
    }
    return pids;
  }

  std::string VerifyForked() const {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) return "no pipe";
    const pid_t child = fork();
    if (child == 0) {
      const std::string said = Say(claim_->Verify());
      claim_->Release();
      (void)!write(ends[1], said.data(), said.size());
      _exit(0);
    }
    std::string said(1024, '\0');
    const ssize_t got = read(ends[0], said.data(), said.size());
    said.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    (void)waitpid(child, nullptr, 0);
    return said;
  }

  static std::string Fork() {
    const pid_t child = soleguard::testing::ForkAndWait(soleguard::testing::Until::kForkReturned);
    if (child == 0) {
      char byte = 0;
      while (read(STDIN_FILENO, &byte, 1) > 0) {
      }
      _exit(0);
    }
    return std::to_string(child);
  }

  static std::string Spawn(std::istringstream& words) {
    std::vector<std::string> argv;
    for (std::string word; words >> word;) argv.push_back(word);
    std::vector<char*> pointers;
    for (std::string& word : argv) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    std::array<int, 2> executed{};  // its end is closed by exec
    if (pipe2(executed.data(), O_CLOEXEC) != 0) return "no pipe";
    const pid_t child = fork();
    if (child == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      (void)execvp(pointers[0], pointers.data());
      _exit(127);
    }
    (void)close(executed[1]);
    char byte = 0;
    (void)!read(executed[0], &byte, 1);
    return std::to_string(child);
  }

  std::string IsRegistered(std::istringstream& words) const {
    std::int64_t pid = 0;
    words >> pid;
    Registrations registrations;
    if (!registrations.Open(scope_).ok()) return "cannot open";
    const auto process = IdentityOf(pid);
    if (!process.ok()) return process.status().ToString();
    const absl::StatusOr<bool> has = registrations.Has(*process);
    if (!has.ok()) return has.status().ToString();
    return *has ? "yes" : "no";
  }

  const Scope scope_;
  const InstanceName name_;
  std::unique_ptr<Layer> layer_;
  std::unique_ptr<Claim> claim_;
  std::vector<UniqueFd> wake_;
};

void Live(const std::vector<std::string>& words) {
  Looker looker(words);
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << looker.Obey(line) << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  if (words.size() < 6) return 64;
  if (getenv("LOOKER_THREAD") == nullptr) {
    Live(words);
    return 0;
  }
  std::thread([words] {
    Live(words);
    _exit(0);
  }).detach();
  pthread_exit(nullptr);
}

#include "soleguard/suspect.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/machine.h"
#include "os/process_view.h"
#include "os/user.h"
#include "process/program.h"
#include "process/records.h"
#include "soleguard/coverage.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

// In what a process is like the instance.
struct Resemblance {
  std::string how;
  bool is_likely = false;
};

Resemblance With(std::string how, bool same_arguments) {
  return {.how = absl::StrCat(
              how, same_arguments ? " with the same arguments" : " with other arguments"),
          .is_likely = same_arguments};
}

std::optional<Resemblance> CompareScripts(const Script& ours, const Script& theirs) {
  const bool same_arguments = ours.arguments == theirs.arguments;
  if (ours.file.file == theirs.file.file) {
    return With(absl::StrCat("runs the same script, ", EscapeBytes(theirs.path), ","),
                same_arguments);
  }
  // A copy, as each container has one.
  if (!same_arguments || BaseName(ours.path) != BaseName(theirs.path)) return std::nullopt;
  return With(absl::StrCat("runs another script of that name, ", EscapeBytes(theirs.path), ","),
              true);
}

std::optional<Resemblance> Compare(const Program& ours, const Program& theirs) {
  if (ours.script.has_value()) {
    if (theirs.script.has_value()) return CompareScripts(*ours.script, *theirs.script);
    // Its script cannot be found from here, in another mount namespace.
    if (!SameCommandLine(ours.argv, theirs.argv)) return std::nullopt;
    return Resemblance{.how = "has the same command line", .is_likely = true};
  }
  // An interpreter without a script says nothing by itself: python3 -m bot.
  if (ours.interpreter != nullptr) {
    if (!SameCommandLine(ours.argv, theirs.argv)) return std::nullopt;
    return Resemblance{.how = "has the same command line", .is_likely = true};
  }
  const bool same_arguments = SameArguments(ours.argv, theirs.argv);
  if (ours.file.file == theirs.file.file) {
    // One file may be many programs (busybox): then they are what they are called.
    if (!same_arguments && !ours.argv.empty() && !theirs.argv.empty() &&
        BaseName(ours.argv[0]) != BaseName(theirs.argv[0])) {
      return std::nullopt;
    }
    return With(absl::StrCat("runs the same executable, ", EscapeBytes(theirs.path), ","),
                same_arguments);
  }
  if (!same_arguments || BaseName(ours.path) != BaseName(theirs.path)) return std::nullopt;
  return With(absl::StrCat("runs another executable of that name, ", EscapeBytes(theirs.path), ","),
              true);
}

// The instance's process as this one sees it.
std::optional<std::int64_t> PidHere(const ProcessIdentity& process) {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (own.ok() && own->pid_namespace == process.pid_namespace) return process.pid;
  return os::PidFromHere(process);
}

class Search {
 public:
  Search(const Scope& scope, const InstanceName& name, const Pattern& pattern)
      : scope_(scope), pattern_(pattern), coverage_(scope, name) {}

  absl::StatusOr<SuspectSearch> Run() {
    absl::Status known = LearnPatterns();
    if (!known.ok()) return known;
    absl::StatusOr<os::Kin> own = os::OwnKin();
    if (!own.ok()) return own.status();
    absl::StatusOr<std::vector<ProcessIdentity>> line = family_.LineOf(*std::move(own));
    if (!line.ok()) return line.status();
    own_line_ = *std::move(line);
    const absl::StatusOr<std::vector<std::int64_t>> pids = AllPids();
    if (!pids.ok()) return pids.status();
    for (const std::int64_t pid : *pids) LookAt(pid);
    Confess();
    std::stable_sort(search_.found.begin(), search_.found.end(),
                     [](const Suspect& a, const Suspect& b) { return a.is_likely > b.is_likely; });
    return std::move(search_);
  }

 private:
  // What the instance runs, and the namespaces that it lives in.
  absl::Status LearnPatterns() {
    namespaces_ = os::NamespacesOf(0);
    for (const ProcessIdentity& process : pattern_.instance) {
      const std::optional<std::int64_t> pid = PidHere(process);
      if (!pid.has_value()) continue;
      instance_.push_back(*pid);
      const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(*pid);
      absl::StatusOr<Program> program = view.ok() ? ProgramOf(*view) : view.status();
      if (!program.ok()) continue;
      programs_.push_back(*std::move(program));
      if (auto theirs = os::NamespacesOf(*pid); !theirs.empty()) namespaces_ = std::move(theirs);
    }
    if (!programs_.empty()) return absl::OkStatus();
    if (pattern_.subject.unknown) {
      return absl::FailedPreconditionError(
          "nothing tells what runs as the instance: no holder can be looked into");
    }
    absl::StatusOr<Program> program = ProgramOf(pattern_.subject);
    if (!program.ok()) return program.status();
    programs_.push_back(*std::move(program));
    return absl::OkStatus();
  }

  // One that ends meanwhile is nobody.
  void LookAt(std::int64_t pid) {
    const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
    if (!view.ok()) return;
    std::optional<Resemblance> resemblance = ResemblanceOf(*view);
    if (!resemblance.has_value()) return;
    const absl::StatusOr<os::Kin> kin = view->Kinship();
    if (!kin.ok()) return;
    const absl::StatusOr<std::vector<ProcessIdentity>> line = family_.LineOf(*kin);
    if (!line.ok() || soleguard::Has(own_line_, kin->process) || IsInstance(*line)) return;
    Suspect suspect{.process = kin->process,
                    .is_likely = resemblance->is_likely,
                    .why = {std::move(resemblance->how)},
                    .unseen = {}};
    SayWhyUnseen(*view, suspect);
    search_.found.push_back(std::move(suspect));
  }

  bool IsInstance(const std::vector<ProcessIdentity>& line) const {
    return std::any_of(line.begin(), line.end(), [this](const ProcessIdentity& process) {
      return std::find(instance_.begin(), instance_.end(), process.pid) != instance_.end();
    });
  }

  std::optional<Resemblance> ResemblanceOf(const os::ProcessView& view) {
    const absl::StatusOr<Program> theirs = ProgramOf(view);
    if (absl::IsNotFound(theirs.status())) return std::nullopt;
    const absl::StatusOr<std::vector<std::string>> argv = view.Arguments();
    for (const Program& ours : programs_) {
      if (theirs.ok()) {
        if (std::optional<Resemblance> resemblance = Compare(ours, *theirs)) return resemblance;
        continue;
      }
      if (!argv.ok() || argv->empty() || !SameCommandLine(ours.argv, *argv)) continue;
      return Resemblance{
          .how = "has the same command line; which program it is this user may not see",
          .is_likely = true};
    }
    if (!theirs.ok() && !argv.ok()) ++unreadable_;
    return std::nullopt;
  }

  void SayWhyUnseen(const os::ProcessView& view, Suspect& suspect) const {
    struct Kind {
      const char* name;
      const char* what;
    };
    constexpr std::array<Kind, 4> kKinds = {
        {{"net", "is in another network namespace: port does not see it"},
         {"ipc", "is in another ipc namespace: mutex does not see it"},
         {"mnt",
          "is in another mount namespace: file does not see it, unless both have the scope's "
          "directory mounted"},
         {"pid", "is in another pid namespace: scan does not count it"}}};
    const auto theirs = os::NamespacesOf(suspect.process.pid);
    for (const Kind& kind : kKinds) {
      const auto mine = namespaces_.find(kind.name);
      const auto other = theirs.find(kind.name);
      if (mine == namespaces_.end() || other == theirs.end()) continue;
      if (mine->second != other->second) suspect.unseen.emplace_back(kind.what);
    }
    const absl::StatusOr<std::uint32_t> user = view.EffectiveUser();
    if (scope_.kind() == Scope::Kind::kUser && user.ok() && *user != os::OwnUid()) {
      suspect.unseen.push_back(absl::StrCat("runs as ", EscapeBytes(UserName(*user)),
                                            ": each user has a user scope of its own"));
    }
    const absl::StatusOr<Coverage::Whose> whose = coverage_.Of(suspect.process);
    if (absl::IsFailedPrecondition(whose.status())) {
      suspect.unseen.push_back(
          absl::StrCat("is guarded, but not by this name: ", whose.status().message()));
    } else if (whose.ok() && *whose == Coverage::Whose::kOfTheName) {
      suspect.why.emplace_back("a record of this very name covers it");
      suspect.is_likely = true;
    } else if (whose.ok() && suspect.unseen.empty()) {
      suspect.unseen.emplace_back(
          "never asked: it was started without guardcheck and without the "
          "library, or in another scope");
    }
  }

  // What this look is worth.
  void Confess() {
    const absl::Status table = os::CheckProcessTable();
    if (!table.ok()) {
      search_.hidden.emplace_back(table.message());
      search_.is_blind = true;
    }
    if (unreadable_ > 0) {
      search_.hidden.push_back(absl::StrCat("neither program nor arguments of ", unreadable_,
                                            " processes may be read by this user"));
      search_.is_blind = true;
    }
    const auto own = os::NamespacesOf(0);
    const auto pid = own.find("pid");
    if (pid != own.end() && !os::IsInitialPidNamespace(pid->second)) {
      search_.hidden.emplace_back(
          "this is a container, or another pid namespace than the host's: "
          "nothing outside of it can be seen");
    }
  }

  const Scope& scope_;
  const Pattern& pattern_;
  const Coverage coverage_;
  Family family_;
  std::vector<ProcessIdentity> own_line_;
  std::vector<std::int64_t> instance_;
  std::vector<Program> programs_;
  std::map<std::string, std::uint64_t> namespaces_;
  int unreadable_ = 0;
  SuspectSearch search_;
};

}  // namespace

absl::StatusOr<SuspectSearch> FindSuspects(const Scope& scope, const InstanceName& name,
                                           const Pattern& pattern) {
  return Search(scope, name, pattern).Run();
}

}  // namespace soleguard

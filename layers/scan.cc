// The scan layer: looks through the process table for an instance that never asked.
//
// Lives in    the pid namespace; in user scope among the processes of the caller's uid.
// Released by nothing: it holds nothing. It confirms and vetoes, it does not exclude: two processes
//             that look at the same time see each other as candidates, and both are confirmed.
// Faked by    any process that runs the same program with the same arguments.
// Blinded by  a program that was replaced on disk while it runs, that rewrites its arguments, or
//             that another program runs for it (another interpreter, an emulator); another pid
//             namespace. hidepid and an unreadable /proc make it unavailable.
// Covered by  file, mutex and port, which exclude. See docs/layer-scan.md.
//
// Whoever asks is registered first, and stays so (registration.h): the layers before this one have
// decided between candidates, so they are not counted here, nor is what a claim of another name
// covers. What is left and older than the settle time bypassed the guard. Something younger may be
// on its way to Register, so it is waited for.
#include <re2/re2.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "kinds.h"
#include "kit/claim.h"
#include "kit/holder.h"
#include "os/file.h"
#include "os/process_view.h"
#include "os/program.h"
#include "os/user.h"
#include "process/program.h"
#include "process/records.h"
#include "process/registration.h"
#include "soleguard/event.h"
#include "soleguard/finding.h"
#include "soleguard/layer.h"
#include "soleguard/process.h"
#include "soleguard/registration.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

// Bytes, not UTF-8: a process chooses its arguments freely, and a dot shall match each of them.
RE2::Options PatternOptions() {
  RE2::Options options(RE2::Latin1);
  options.set_log_errors(false);
  options.set_dot_nl(true);
  constexpr std::int64_t kMemory = std::int64_t{1} << 20;
  options.set_max_mem(kMemory);
  return options;
}

// What is looked for: the program that runs as the instance or, if parameters are given, whatever
// they describe.
class Likeness {
 public:
  static absl::StatusOr<Likeness> Of(const LayerContext& context);

  // A process that looks like it, and in which way.
  struct Match {
    os::Kin kin;
    std::string how;
  };
  // One pass over the process table.
  absl::StatusOr<std::vector<Match>> Find();

 private:
  Likeness() = default;

  absl::StatusOr<std::vector<Match>> FindByProgram();
  absl::StatusOr<std::vector<Match>> FindByParameters();
  // Below: a process that has ended meanwhile is nobody; whatever else cannot be looked at may hide
  // an instance, and is an error.
  absl::Status AddIfSame(std::int64_t pid, std::vector<Match>& matches) const;
  // Whether the program of process `pid`, another file, counts as the same.
  absl::StatusOr<bool> IsAlike(std::int64_t pid, const os::ProgramFile& file);
  absl::StatusOr<bool> Compare(std::int64_t pid, const os::ProgramFile& file) const;
  absl::StatusOr<bool> IsCopy(const os::ProcessView& view, const os::ProgramFile& file) const;
  absl::StatusOr<UniqueFd> OpenProgram() const;
  // Whether the last arguments are the same, at one read: among many processes of one program or
  // interpreter most are other jobs.
  bool MayHaveCommonArguments(std::int64_t pid) const;
  // What a process has in common, nullopt: not enough.
  absl::StatusOr<std::optional<std::string>> CommonArguments(const os::ProcessView& view) const;
  absl::StatusOr<bool> HasParameters(const os::ProcessView& view) const;
  // Adds the process unless it is out of sight by rule.
  absl::Status Add(const os::ProcessView& view, std::string how, std::vector<Match>& matches) const;
  absl::StatusOr<bool> Concerns(const os::ProcessView& view) const;
  // Whether a process shows no program, and the same arguments.
  absl::StatusOr<bool> MayHideInstance(std::int64_t pid) const;

  bool of_one_user_ = false;
  bool is_own_program_ = false;
  std::optional<Program> program_;
  std::string last_arguments_;  // of the script or program, as they end a command line
  std::shared_ptr<const RE2> pattern_;
  std::optional<std::string> variable_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, bool> alike_;  // by device and inode
};

// A NUL before each and one at the end. Empty without arguments: then nothing is sure of the end,
// as a program may write a title over it.
std::string LastArguments(const Program& program) {
  std::string text;
  const auto append = [&text](const std::string& argument) { text += '\0' + argument; };
  if (program.script.has_value()) {
    std::for_each(program.script->arguments.begin(), program.script->arguments.end(), append);
  } else if (!program.argv.empty()) {
    std::for_each(program.argv.begin() + 1, program.argv.end(), append);
  }
  return text.empty() ? text : text + '\0';
}

absl::StatusOr<Likeness> Likeness::Of(const LayerContext& context) {
  Likeness likeness;
  likeness.of_one_user_ = context.scope.kind() == Scope::Kind::kUser;
  const auto pattern = context.parameters.find("cmdline");
  if (pattern != context.parameters.end()) {
    likeness.pattern_ = std::make_shared<const RE2>(pattern->second, PatternOptions());
  }
  const auto variable = context.parameters.find("env");
  if (variable != context.parameters.end()) likeness.variable_ = variable->second;
  if (!context.parameters.empty()) return likeness;

  if (context.subject.unknown) {
    return absl::FailedPreconditionError("it was not said what runs as the instance");
  }
  likeness.is_own_program_ = context.subject.argv.empty() && !context.subject.process.has_value();
  absl::StatusOr<Program> program = ProgramOf(context.subject);
  // A command that does not exist cannot run; whoever executes it will say so.
  if (absl::IsNotFound(program.status()) && !likeness.is_own_program_) return likeness;
  if (!program.ok()) return program.status();
  likeness.program_ = *std::move(program);
  likeness.last_arguments_ = LastArguments(*likeness.program_);
  return likeness;
}

bool Likeness::MayHaveCommonArguments(std::int64_t pid) const {
  if (last_arguments_.empty()) return true;
  const std::string line = os::CommandLineOf(pid);
  return line.empty() || line.ends_with(last_arguments_);  // empty: its main thread has ended
}

absl::StatusOr<std::vector<Likeness::Match>> Likeness::Find() {
  if (pattern_ != nullptr || variable_.has_value()) return FindByParameters();
  if (program_.has_value()) return FindByProgram();
  return std::vector<Match>();
}

absl::StatusOr<UniqueFd> Likeness::OpenProgram() const {
  const absl::StatusOr<os::ProcessView> self = os::ProcessView::OfCaller();
  if (is_own_program_) return self.ok() ? self->OpenProgram() : self.status();
  return os::OpenForReading(program_->path);
}

absl::StatusOr<bool> Likeness::IsCopy(const os::ProcessView& view,
                                      const os::ProgramFile& file) const {
  if (file.size != program_->file.size) return false;
  const absl::StatusOr<UniqueFd> theirs = view.OpenProgram();
  const absl::StatusOr<UniqueFd> ours = OpenProgram();
  for (const absl::Status& opened : {theirs.status(), ours.status()}) {
    // A program that may be executed but not read cannot be compared.
    if (absl::IsPermissionDenied(opened)) return false;
    if (!opened.ok()) return opened;
  }
  return os::SameContent(theirs->get(), ours->get());
}

absl::StatusOr<bool> Likeness::IsAlike(std::int64_t pid, const os::ProgramFile& file) {
  if (program_->interpreter == nullptr && file.size != program_->file.size) return false;
  const auto known = alike_.find({file.file.device, file.file.inode});
  if (known != alike_.end()) return known->second;
  absl::StatusOr<bool> alike = Compare(pid, file);
  if (absl::IsNotFound(alike.status())) return false;  // another process of the file may tell
  if (alike.ok()) alike_[{file.file.device, file.file.inode}] = *alike;
  return alike;
}

absl::StatusOr<bool> Likeness::Compare(std::int64_t pid, const os::ProgramFile& file) const {
  const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
  if (!view.ok()) return view.status();
  if (program_->interpreter != nullptr) {
    const absl::StatusOr<std::string> path = view->ProgramPath();
    if (!path.ok()) return path.status();
    if (InterpreterAt(*path) == program_->interpreter) return true;
  }
  return IsCopy(*view, file);
}

// For a program that is what it is called, as those of busybox are: whether both are called so.
bool SameCalling(const Program& program, const std::vector<std::string>& argv) {
  if (program.interpreter != nullptr) return true;
  if (program.argv.empty() || argv.empty()) return false;
  const std::string_view called = BaseName(program.argv[0]);
  return called == BaseName(program.path) || called == BaseName(argv[0]);
}

absl::StatusOr<std::optional<std::string>> Likeness::CommonArguments(
    const os::ProcessView& view) const {
  const absl::StatusOr<std::vector<std::string>> argv = view.Arguments();
  if (!argv.ok()) return argv.status();
  if (program_->script.has_value()) {
    const absl::StatusOr<std::optional<Script>> found =
        ScriptOf(*program_->interpreter, *argv, FindFileOf(view));
    // Another user's, which may well be another script unless it is called just so.
    if (absl::IsPermissionDenied(found.status()) && !SameCommandLine(program_->argv, *argv)) {
      return std::nullopt;
    }
    if (!found.ok()) return found.status();
    const std::optional<Script>& script = *found;
    if (!script.has_value() || !(script->file.file == program_->script->file.file) ||
        script->arguments != program_->script->arguments) {
      return std::nullopt;
    }
    return absl::StrCat("runs the script ", EscapeBytes(script->path), " with the same arguments");
  }
  if (!SameArguments(program_->argv, *argv) || !SameCalling(*program_, *argv)) return std::nullopt;
  return absl::StrCat("runs ", EscapeBytes(program_->path), " with the same arguments");
}

absl::StatusOr<bool> Likeness::Concerns(const os::ProcessView& view) const {
  if (of_one_user_) {
    const absl::StatusOr<std::uint32_t> user = view.EffectiveUser();
    if (!user.ok()) return user.status();
    if (*user != os::OwnUid()) return false;
  }
  // One below ours is another world, with other instances. (An error: whoever may not see the
  // namespace may not see the program either, and that was said.)
  const absl::StatusOr<bool> here = view.IsInOwnPidNamespace();
  return !here.ok() || *here;
}

absl::Status Likeness::Add(const os::ProcessView& view, std::string how,
                           std::vector<Match>& matches) const {
  const absl::StatusOr<bool> concerns = Concerns(view);
  if (!concerns.ok()) return concerns.status();
  if (!*concerns) return absl::OkStatus();
  absl::StatusOr<os::Kin> kin = view.Kinship();
  if (!kin.ok()) return kin.status();
  matches.push_back({.kin = *std::move(kin), .how = std::move(how)});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Likeness::Match>> Likeness::FindByProgram() {
  std::vector<std::int64_t> same;
  std::vector<std::int64_t> unseen;
  absl::Status compared;
  const absl::Status walked =
      os::ForEachProgram([&](std::int64_t pid, int error, const os::ProgramFile& file) {
        if (error != 0) {
          unseen.push_back(pid);
          return;
        }
        absl::StatusOr<bool> alike = file.file == program_->file.file;
        if (!*alike) alike = IsAlike(pid, file);
        if (!alike.ok()) {
          compared = alike.status();
        } else if (*alike) {
          same.push_back(pid);
        }
      });
  if (!walked.ok()) return walked;
  if (!compared.ok()) return compared;

  std::vector<Match> matches;
  for (const std::int64_t pid : same) {
    if (!MayHaveCommonArguments(pid)) continue;
    const absl::Status added = AddIfSame(pid, matches);
    if (!added.ok() && !absl::IsNotFound(added)) return added;
  }
  for (const std::int64_t pid : unseen) {
    if (!MayHaveCommonArguments(pid)) continue;
    const absl::StatusOr<bool> hides = MayHideInstance(pid);
    if (absl::IsNotFound(hides.status())) continue;
    if (!hides.ok()) return hides.status();
    if (!*hides) continue;
    return absl::PermissionDeniedError(absl::StrCat(
        "process ", pid, " has the same arguments, and this user may not see which program it is"));
  }
  return matches;
}

absl::Status Likeness::AddIfSame(std::int64_t pid, std::vector<Match>& matches) const {
  const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
  if (!view.ok()) return view.status();
  absl::StatusOr<std::optional<std::string>> common = CommonArguments(*view);
  if (!common.ok()) return common.status();
  return common->has_value() ? Add(*view, **std::move(common), matches) : absl::OkStatus();
}

// Another user's, or one that is not dumpable: only the arguments can be seen.
absl::StatusOr<bool> Likeness::MayHideInstance(std::int64_t pid) const {
  const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
  if (!view.ok()) return view.status();
  const absl::StatusOr<std::vector<std::string>> argv = view->Arguments();
  if (!argv.ok()) return argv.status();
  if (!SameCommandLine(program_->argv, *argv)) return false;
  return Concerns(*view);
}

absl::StatusOr<bool> Likeness::HasParameters(const os::ProcessView& view) const {
  if (pattern_ != nullptr) {
    const absl::StatusOr<std::vector<std::string>> argv = view.Arguments();
    if (!argv.ok()) return argv.status();
    if (argv->empty() || !RE2::PartialMatch(absl::StrJoin(*argv, " "), *pattern_)) return false;
  }
  if (!variable_.has_value()) return true;
  const absl::StatusOr<std::vector<std::string>> environment = view.Environment();
  // Another user's, or of one that is not dumpable: out of sight.
  if (absl::IsPermissionDenied(environment.status())) return false;
  if (!environment.ok()) return environment.status();
  return std::find(environment->begin(), environment->end(), *variable_) != environment->end();
}

absl::StatusOr<std::vector<Likeness::Match>> Likeness::FindByParameters() {
  const absl::StatusOr<std::vector<std::int64_t>> pids = AllPids();
  if (!pids.ok()) return pids.status();
  std::vector<Match> matches;
  for (const std::int64_t pid : *pids) {
    const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
    absl::StatusOr<bool> has = view.ok() ? HasParameters(*view) : view.status();
    absl::Status looked = has.status();
    if (has.ok() && *has) {
      looked = Add(*view, pattern_ != nullptr ? "matches cmdline" : "matches env", matches);
    }
    if (!looked.ok() && !absl::IsNotFound(looked)) return looked;
  }
  return matches;
}

// Tells what a match is: by what has registered and been recorded until now.
class Judge {
 public:
  explicit Judge(const LayerContext& context) : context_(context) {}

  absl::Status Open() {
    absl::StatusOr<os::Kin> own = os::OwnKin();
    if (!own.ok()) return own.status();
    own_ = own->process;
    absl::StatusOr<std::vector<ProcessIdentity>> line = family_.LineOf(*std::move(own));
    if (!line.ok()) return line.status();
    own_line_ = *std::move(line);
    return registrations_.Open(context_.scope);
  }

  // nullopt: it does not count.
  absl::StatusOr<std::optional<Holder>> Tell(const Likeness::Match& match);

  const Registrations& registrations() const { return registrations_; }

 private:
  absl::StatusOr<bool> IsRegistered(const std::vector<ProcessIdentity>& line);
  Holder Unregistered(const Likeness::Match& match) const;
  // The record of this name that covers the line, an established one first.
  const HolderRecord* OwnRecord(const std::vector<ProcessIdentity>& line);
  bool IsOfAnotherName(const std::vector<ProcessIdentity>& line);

  const LayerContext& context_;
  Family family_;
  ProcessIdentity own_;
  std::vector<ProcessIdentity> own_line_;
  Registrations registrations_;
  std::map<std::int64_t, bool> registered_;  // by pid
  std::optional<Records> own_records_;
  std::optional<Records> other_records_;
};

const HolderRecord* Judge::OwnRecord(const std::vector<ProcessIdentity>& line) {
  if (!own_records_.has_value())
    own_records_ = RecordsOf(context_.kinds, context_.scope, context_.name);
  const HolderRecord* found = nullptr;
  for (const HolderRecord& record : own_records_->found) {
    const bool is_own = record.name == context_.name.text() && record.slot == context_.name.slot();
    if (!is_own || !Covers(record, line)) continue;
    if (found == nullptr || record.state == RecordState::kEstablished) found = &record;
  }
  return found;
}

bool Judge::IsOfAnotherName(const std::vector<ProcessIdentity>& line) {
  if (!other_records_.has_value()) {
    other_records_ = RecordsOfOthers(context_.kinds, context_.scope, context_.name);
  }
  return std::any_of(other_records_->found.begin(), other_records_->found.end(),
                     [&line](const HolderRecord& record) {
                       return record.state != RecordState::kReleasing && Covers(record, line);
                     });
}

absl::StatusOr<bool> Judge::IsRegistered(const std::vector<ProcessIdentity>& line) {
  for (const ProcessIdentity& process : line) {
    const auto [known, fresh] = registered_.try_emplace(process.pid, false);
    if (fresh) {
      absl::StatusOr<bool> has = registrations_.Has(process);
      if (!has.ok()) return has.status();
      known->second = *has;
    }
    if (known->second) return true;
  }
  return false;
}

Holder Judge::Unregistered(const Likeness::Match& match) const {
  Holder holder;
  holder.processes = {match.kin.process};
  const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(match.kin.process.pid);
  const absl::StatusOr<absl::Duration> age = view.ok() ? view->Age() : view.status();
  if (LivenessOf(match.kin.process) == Liveness::kDying) {
    holder.standing = Standing::kDying;
  } else if (age.ok() && *age >= context_.settle) {
    holder.standing = Standing::kUnguarded;
  }
  holder.evidence =
      absl::StrCat("pid ", match.kin.process.pid, " ", match.how, " and has not asked for a name",
                   holder.standing == Standing::kUnknown ? " yet" : "");
  return holder;
}

absl::StatusOr<std::optional<Holder>> Judge::Tell(const Likeness::Match& match) {
  const absl::StatusOr<std::vector<ProcessIdentity>> known_line = family_.LineOf(match.kin);
  if (!known_line.ok()) return known_line.status();
  const std::vector<ProcessIdentity>& line = *known_line;
  if (Has(own_line_, match.kin.process) || Has(line, own_)) return std::nullopt;

  const HolderRecord* record = OwnRecord(line);
  std::optional<Holder> recorded;
  if (record != nullptr) {
    recorded = JudgeHolder(*record, absl::StrCat("pid ", match.kin.process.pid, " ", match.how));
    recorded->processes = {match.kin.process};
    if (recorded->standing == Standing::kEstablished) return recorded;
  }
  const absl::StatusOr<bool> registered = IsRegistered(line);
  if (!registered.ok()) return registered.status();
  if (*registered) return std::nullopt;
  // One that asked under a policy without scan, and is not decided.
  if (recorded.has_value() && recorded->standing != Standing::kUnknown) return recorded;
  if (IsOfAnotherName(line) || LivenessOf(match.kin.process) == Liveness::kGone) {
    return std::nullopt;
  }
  // An innocent job of another name must not be called a bypasser for want of its record.
  for (const Records* records : {&*own_records_, &*other_records_}) {
    if (IsTransient(records->unread)) return records->unread;
  }
  return Unregistered(match);
}

// How much a holder says: what decides comes first.
int Weight(Standing standing) {
  switch (standing) {
    case Standing::kEstablished:
      return 5;
    case Standing::kUnguarded:
      return 4;
    case Standing::kDying:
    case Standing::kLapsing:
      return 3;
    case Standing::kReleasing:
    case Standing::kCandidate:
      return 2;
    case Standing::kUnknown:
      break;
  }
  return 1;
}

// Holds nothing: it says who looked.
class ScanClaim final : public OwnedClaim {
 public:
  explicit ScanClaim(const Scope& scope) : scope_(scope) { taken_ = true; }

  absl::Status Publish(const HolderRecord&) override { return CheckOwner(); }
  absl::Status Verify() const override { return CheckOwner(); }
  absl::Status Watch(Alarm&) override { return CheckOwner(); }  // there is nothing to lose
  void Release() override {
    if (IsOwner()) taken_ = false;
  }
  absl::Status KeepOverExec() override {
    absl::Status owner = CheckOwner();
    return owner.ok() ? KeepRegistrationOverExec(scope_) : owner;
  }

 private:
  const Scope scope_;
};

class ScanLayerImpl final : public Layer {
 public:
  explicit ScanLayerImpl(const LayerContext& context) : context_(context), text_("scan") {
    if (context_.parameters.empty()) return;
    std::vector<std::string> parameters;
    for (const auto& [key, value] : context_.parameters) {
      parameters.push_back(absl::StrCat(key, "=", QuotePolicyValue(value)));
    }
    absl::StrAppend(&text_, "(", absl::StrJoin(parameters, ", "), ")");
  }

  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord& candidate) override;
  Sighting Look() const override;
  Sighting Forecast() const override;
  std::vector<ProcessIdentity> Suspects() const override;
  std::vector<Finding> Diagnose() const override;
  absl::StatusOr<std::vector<Holder>> LookAtAll() const override;

 private:
  struct Found {
    Likeness::Match match;
    Holder holder;
  };
  // All that counts, what decides first.
  absl::StatusOr<std::vector<Found>> LookAround() const;
  // Whether what was found young is so still; then what wakes who waits for it.
  std::optional<Contested> StillYoung(const Likeness::Match& match) const;
  Sighting LookByRecords() const;

  const LayerContext context_;
  std::string text_;
  std::optional<Likeness::Match> waited_for_;
};

absl::StatusOr<std::vector<ScanLayerImpl::Found>> ScanLayerImpl::LookAround() const {
  if (context_.kinds.empty()) {
    return absl::FailedPreconditionError("it was not said which kinds of layers have records");
  }
  absl::Status table = os::CheckProcessTable();
  if (!table.ok()) return table;
  absl::StatusOr<Likeness> likeness = Likeness::Of(context_);
  if (!likeness.ok()) return likeness.status();
  absl::StatusOr<std::vector<Likeness::Match>> matches = likeness->Find();
  if (!matches.ok()) return matches.status();
  std::vector<Found> found;
  if (matches->empty()) return found;

  Judge judge(context_);
  absl::Status opened = judge.Open();
  if (!opened.ok()) return opened;
  for (Likeness::Match& match : *matches) {
    absl::StatusOr<std::optional<Holder>> holder = judge.Tell(match);
    if (!holder.ok()) return holder.status();
    if (!holder->has_value()) continue;
    found.push_back({.match = std::move(match), .holder = **std::move(holder)});
  }
  std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return Weight(a.holder.standing) > Weight(b.holder.standing);
  });
  return found;
}

std::optional<Contested> ScanLayerImpl::StillYoung(const Likeness::Match& match) const {
  Judge judge(context_);
  if (!judge.Open().ok()) return std::nullopt;
  // The watch is opened before the registrations are read: one that comes in between is then seen
  // there, a later one wakes.
  absl::StatusOr<UniqueFd> registration = judge.registrations().Watch();
  absl::StatusOr<std::optional<Holder>> holder = judge.Tell(match);
  if (!holder.ok() || !holder->has_value() || (*holder)->standing != Standing::kUnknown) {
    return std::nullopt;
  }
  Contested contested{.holder = **std::move(holder), .wake = {}};
  absl::StatusOr<UniqueFd> end = OpenPidfd(match.kin.process);
  // Without both the arbiter looks again after a while.
  if (registration.ok() && end.ok()) {
    contested.wake.push_back(*std::move(registration));
    contested.wake.push_back(*std::move(end));
  }
  return contested;
}

Attempt ScanLayerImpl::Try(const HolderRecord&) {
  absl::Status registered = Register(context_.scope);
  if (!registered.ok()) return Unavailable{registered};
  constexpr int kMaxRounds = 4;  // each ends in a registration or an end of what was waited for
  for (int round = 1;; ++round) {
    if (waited_for_.has_value()) {
      if (std::optional<Contested> contested = StillYoung(*waited_for_)) {
        return *std::move(contested);
      }
      waited_for_.reset();
    }
    absl::StatusOr<std::vector<Found>> found = LookAround();
    if (!found.ok()) return Unavailable{found.status()};
    if (found->empty()) return Held{std::make_unique<ScanClaim>(context_.scope)};
    Found& first = found->front();
    Contested contested{.holder = std::move(first.holder), .wake = {}};
    if (contested.holder.standing == Standing::kUnknown && round < kMaxRounds) {
      waited_for_ = std::move(first.match);
      continue;
    }
    const Standing standing = contested.holder.standing;
    if (standing == Standing::kDying || standing == Standing::kUnguarded ||
        standing == Standing::kEstablished) {
      absl::StatusOr<UniqueFd> end = OpenPidfd(first.match.kin.process);
      if (end.ok()) contested.wake.push_back(*std::move(end));
    }
    return contested;
  }
}

Sighting ScanLayerImpl::LookByRecords() const {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return Unavailable{own.status()};
  std::optional<HolderRecord> last;
  Records records = RecordsOf(context_.kinds, context_.scope, context_.name);
  for (HolderRecord& record : records.found) {
    Holder holder = JudgeHolder(record, absl::StrCat("pid ", record.identity.pid, " runs"));
    const Liveness liveness = LivenessOf(record.identity);
    const bool established = holder.standing == Standing::kEstablished;
    if (liveness != Liveness::kUnknown && established) return Taken{std::move(holder)};
    // One of another pid namespace is out of sight by rule.
    const bool in_sight = record.identity.pid_namespace == own->pid_namespace;
    if (liveness == Liveness::kUnknown && established && in_sight) {
      records.Miss(absl::UnavailableError(absl::StrCat(
          "cannot tell whether process ", record.identity.pid, ", the last holder, lives")));
    }
    last = std::move(record);
  }
  if (!records.unread.ok()) return Unavailable{records.unread};
  return Free{std::move(last)};
}

Sighting ScanLayerImpl::Look() const {
  if (context_.subject.unknown && context_.parameters.empty()) return LookByRecords();
  absl::StatusOr<std::vector<Found>> found = LookAround();
  if (!found.ok()) return Unavailable{found.status()};
  if (found->empty()) return Free{};
  return Taken{std::move(found->front().holder)};
}

Sighting ScanLayerImpl::Forecast() const {
  const absl::Status registers = CheckMayRegister(context_.scope);
  if (!registers.ok()) return Unavailable{registers};
  return Look();
}

std::vector<ProcessIdentity> ScanLayerImpl::Suspects() const {
  std::vector<ProcessIdentity> suspects;
  absl::StatusOr<std::vector<Found>> found = LookAround();
  if (!found.ok()) return suspects;
  for (const Found& each : *found) suspects.push_back(each.match.kin.process);
  return suspects;
}

absl::StatusOr<std::vector<Holder>> ScanLayerImpl::LookAtAll() const {
  absl::StatusOr<std::vector<Found>> found = LookAround();
  if (!found.ok()) return found.status();
  std::vector<Holder> everybody;
  for (Found& each : *found) everybody.push_back(std::move(each.holder));
  return everybody;
}

std::vector<Finding> ScanLayerImpl::Diagnose() const {
  const absl::Status table = os::CheckProcessTable();
  if (table.ok()) {
    return {{.severity = Severity::kOk,
             .layer = text_,
             .what = "/proc shows the processes of this pid namespace",
             .consequence = "",
             .fix = ""}};
  }
  return {{.severity = Severity::kProblem,
           .layer = text_,
           .what = std::string(table.message()),
           .consequence = "",
           .fix = "mount -o remount,hidepid=0 /proc, or hidepid=2,gid=GROUP with this user in "
                  "GROUP",
           .event = Event::kHidepid}};
}

absl::Status CheckPattern(const std::string& text) {
  const RE2 pattern(text, PatternOptions());
  if (text.empty()) return absl::InvalidArgumentError("cmdline is empty, and would match all");
  if (pattern.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("cmdline is no regular expression (RE2): ", EscapeBytes(pattern.error())));
}

absl::Status CheckVariable(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals != std::string::npos && equals > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("env is \"", EscapeBytes(text), "\", expected \"NAME=VALUE\""));
}

absl::Status CheckParameters(const LayerParameters& parameters) {
  for (const auto& [key, value] : parameters) {
    if (key != "cmdline" && key != "env") {
      return absl::InvalidArgumentError(absl::StrCat(
          "scan has no parameter ", key.empty() ? "without a key" : absl::StrCat("\"", key, "\""),
          "; it takes cmdline=\"REGEX\" and env=\"NAME=VALUE\""));
    }
    absl::Status checked = key == "env" ? CheckVariable(value) : CheckPattern(value);
    if (!checked.ok()) return checked;
  }
  return absl::OkStatus();
}

std::unique_ptr<Layer> MakeScanLayer(const LayerContext& context) {
  return std::make_unique<ScanLayerImpl>(context);
}

Effect EffectOf(Event event, const LayerParameters&) {
  switch (event) {
    case Event::kMountNamespace:
    case Event::kPidNamespace:
    case Event::kContainer:
    case Event::kAnotherHost:
    case Event::kProgramReplaced:
      return Effect::kBlinds;
    // From within, the programs of those outside cannot be read (ptrace(2)).
    case Event::kUserNamespace:
    // It registers in the scope's directory.
    case Event::kHiddenPlace:
    case Event::kHiddenUser:
    case Event::kScopeDirectorySquatted:
    case Event::kReadOnlyFilesystem:
    case Event::kDiskFull:
    case Event::kNetworkFilesystem:
    case Event::kHidepid:
    case Event::kDescriptorsExhausted:
      return Effect::kUnavailable;
    default:
      return Effect::kNone;
  }
}

std::string CautionOf(const LayerParameters& parameters) {
  std::string caution =
      "it confirms and vetoes, it doesn't exclude: two starts at one time don't see each other";
  if (!parameters.empty()) return caution;
  return absl::StrCat(caution, "; another job with the same program and arguments refuses a start");
}

}  // namespace

LayerKind ScanLayer() {
  return {.name = "scan",
          .check = &CheckParameters,
          .make = &MakeScanLayer,
          .observer = true,
          .effect = &EffectOf,
          .caution = &CautionOf};
}

}  // namespace soleguard

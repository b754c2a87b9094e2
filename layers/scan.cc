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

#include "holder.h"
#include "kinds.h"
#include "name_directory.h"
#include "os/os.h"
#include "program.h"
#include "registration.h"
#include "soleguard/layer.h"
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
  // Whether the program of process `pid`, another file, counts as the same.
  bool IsAlike(std::int64_t pid, const os::ProgramFile& file);
  bool IsCopy(const os::ProcessView& view, const os::ProgramFile& file) const;
  absl::StatusOr<UniqueFd> OpenProgram() const;
  // Whether the last arguments are the same, at one read: among many processes of one program or
  // interpreter most are other jobs.
  bool MayHaveCommonArguments(std::int64_t pid) const;
  // What a process has in common, nullopt: not enough.
  std::optional<std::string> CommonArguments(const os::ProcessView& view) const;
  bool HasParameters(const os::ProcessView& view) const;
  // Adds the process unless it is out of sight by rule. What has ended meanwhile is passed over.
  absl::Status Add(const os::ProcessView& view, std::string how, std::vector<Match>& matches) const;
  bool Concerns(const os::ProcessView& view) const;

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
  likeness.is_own_program_ = context.subject.argv.empty();
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

bool Likeness::IsCopy(const os::ProcessView& view, const os::ProgramFile& file) const {
  if (file.size != program_->file.size) return false;
  // A program that may be executed but not read cannot be compared.
  const absl::StatusOr<UniqueFd> theirs = view.OpenProgram();
  const absl::StatusOr<UniqueFd> ours = OpenProgram();
  if (!theirs.ok() || !ours.ok()) return false;
  const absl::StatusOr<bool> same = os::SameContent(theirs->get(), ours->get());
  return same.ok() && *same;
}

bool Likeness::IsAlike(std::int64_t pid, const os::ProgramFile& file) {
  if (program_->interpreter == nullptr && file.size != program_->file.size) return false;
  const auto [known, fresh] = alike_.try_emplace({file.file.device, file.file.inode}, false);
  if (!fresh) return known->second;
  const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
  if (!view.ok()) {
    alike_.erase(known);  // it ended: another process may tell
    return false;
  }
  known->second = (program_->interpreter != nullptr &&
                   InterpreterAt(view->ProgramPath()) == program_->interpreter) ||
                  IsCopy(*view, file);
  return known->second;
}

std::string_view NameOf(const std::vector<std::string>& argv) {
  if (argv.empty()) return "";
  const std::string_view path = argv[0];
  return path.substr(path.rfind('/') + 1);
}

// For a program that is what it is called, as those of busybox are: whether both are called so.
bool SameCalling(const Program& program, const std::vector<std::string>& argv) {
  if (program.interpreter != nullptr) return true;
  const std::string_view file = std::string_view(program.path).substr(program.path.rfind('/') + 1);
  return NameOf(program.argv) == file || NameOf(program.argv) == NameOf(argv);
}

bool SameArguments(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return !a.empty() && !b.empty() && std::equal(a.begin() + 1, a.end(), b.begin() + 1, b.end());
}

bool SameCommandLine(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return SameArguments(a, b) && NameOf(a) == NameOf(b);
}

std::optional<std::string> Likeness::CommonArguments(const os::ProcessView& view) const {
  const absl::StatusOr<std::vector<std::string>> argv = view.Arguments();
  if (!argv.ok()) return std::nullopt;
  if (program_->script.has_value()) {
    const std::optional<Script> script = ScriptOf(*program_->interpreter, *argv, FindFileOf(view));
    if (!script.has_value() || !(script->file.file == program_->script->file.file) ||
        script->arguments != program_->script->arguments) {
      return std::nullopt;
    }
    return absl::StrCat("runs the script ", EscapeBytes(script->path), " with the same arguments");
  }
  if (!SameArguments(program_->argv, *argv) || !SameCalling(*program_, *argv)) return std::nullopt;
  return absl::StrCat("runs ", EscapeBytes(program_->path), " with the same arguments");
}

bool Likeness::Concerns(const os::ProcessView& view) const {
  if (of_one_user_) {
    const absl::StatusOr<std::uint32_t> user = view.EffectiveUser();
    if (!user.ok() || *user != os::OwnUid()) return false;
  }
  // One below ours is another world, with other instances. (An error: whoever may not see the
  // namespace may not see the program either, and that was said.)
  const absl::StatusOr<bool> here = view.IsInOwnPidNamespace();
  return !here.ok() || *here;
}

absl::Status Likeness::Add(const os::ProcessView& view, std::string how,
                           std::vector<Match>& matches) const {
  if (!Concerns(view)) return absl::OkStatus();
  absl::StatusOr<os::Kin> kin = view.Kinship();
  if (absl::IsNotFound(kin.status())) return absl::OkStatus();
  if (!kin.ok()) return kin.status();
  matches.push_back({.kin = *std::move(kin), .how = std::move(how)});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Likeness::Match>> Likeness::FindByProgram() {
  std::vector<std::int64_t> same;
  std::vector<std::int64_t> unseen;
  const absl::Status walked =
      os::ForEachProgram([&](std::int64_t pid, int error, const os::ProgramFile& file) {
        if (error != 0) {
          unseen.push_back(pid);
        } else if (file.file == program_->file.file || IsAlike(pid, file)) {
          same.push_back(pid);
        }
      });
  if (!walked.ok()) return walked;

  std::vector<Match> matches;
  for (const std::int64_t pid : same) {
    if (!MayHaveCommonArguments(pid)) continue;
    const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
    if (!view.ok()) continue;  // ended meanwhile
    std::optional<std::string> common = CommonArguments(*view);
    if (!common.has_value()) continue;
    const absl::Status added = Add(*view, *std::move(common), matches);
    if (!added.ok()) return added;
  }
  // Another user's, or one that is not dumpable: only the arguments can be seen.
  for (const std::int64_t pid : unseen) {
    if (!MayHaveCommonArguments(pid)) continue;
    const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
    if (!view.ok()) continue;
    const absl::StatusOr<std::vector<std::string>> argv = view->Arguments();
    if (!argv.ok() || !SameCommandLine(program_->argv, *argv) || !Concerns(*view)) continue;
    return absl::PermissionDeniedError(absl::StrCat(
        "process ", pid, " has the same arguments, and this user may not see which program it is"));
  }
  return matches;
}

bool Likeness::HasParameters(const os::ProcessView& view) const {
  if (pattern_ != nullptr) {
    const absl::StatusOr<std::vector<std::string>> argv = view.Arguments();
    if (!argv.ok() || argv->empty() || !RE2::PartialMatch(absl::StrJoin(*argv, " "), *pattern_)) {
      return false;
    }
  }
  if (!variable_.has_value()) return true;
  const absl::StatusOr<std::vector<std::string>> environment = view.Environment();
  return environment.ok() &&
         std::find(environment->begin(), environment->end(), *variable_) != environment->end();
}

absl::StatusOr<std::vector<Likeness::Match>> Likeness::FindByParameters() {
  const absl::StatusOr<std::vector<std::int64_t>> pids = AllPids();
  if (!pids.ok()) return pids.status();
  std::vector<Match> matches;
  for (const std::int64_t pid : *pids) {
    const absl::StatusOr<os::ProcessView> view = os::ProcessView::Open(pid);
    if (!view.ok() || !HasParameters(*view)) continue;
    const absl::Status added =
        Add(*view, pattern_ != nullptr ? "matches cmdline" : "matches env", matches);
    if (!added.ok()) return added;
  }
  return matches;
}

// Who descends from whom, as of one look.
class Family {
 public:
  // A process and its ancestors. One that ends meanwhile ends the line.
  std::vector<ProcessIdentity> LineOf(os::Kin kin) {
    std::vector<ProcessIdentity> line = {kin.process};
    constexpr std::size_t kMaxDepth = 10000;
    while (kin.parent > 0 && line.size() < kMaxDepth) {
      const std::optional<os::Kin>& parent = Find(kin.parent);
      // The race: the parent ended, and its pid is another's. Whoever started later is no parent.
      if (!parent.has_value() || parent->process.start_ticks > kin.process.start_ticks) break;
      kin = *parent;
      line.push_back(kin.process);
    }
    return line;
  }

 private:
  const std::optional<os::Kin>& Find(std::int64_t pid) {
    const auto [known, fresh] = known_.try_emplace(pid);
    if (fresh) {
      absl::StatusOr<os::Kin> kin = os::KinOf(pid);
      if (kin.ok()) known->second = *std::move(kin);
    }
    return known->second;
  }

  std::map<std::int64_t, std::optional<os::Kin>> known_;
};

bool Has(const std::vector<ProcessIdentity>& line, const ProcessIdentity& process) {
  return std::find(line.begin(), line.end(), process) != line.end();
}

// Whether the record's holder, or the command it was handed on to, is in the line.
bool Covers(const HolderRecord& record, const std::vector<ProcessIdentity>& line) {
  return Has(line, record.identity) || (record.instance.has_value() && Has(line, *record.instance));
}

// The records of a name, of every layer that has one here. Valid only where the holder lives.
std::vector<HolderRecord> RecordsOf(const Scope& scope, const InstanceName& name) {
  std::vector<HolderRecord> records;
  NameDirectory directory(scope, name);
  if (!directory.Open(os::Create::kNo).ok()) return records;
  const absl::StatusOr<std::vector<std::string>> files = os::NamesIn(directory.fd().get());
  for (const std::string& file : files.ok() ? *files : std::vector<std::string>()) {
    os::KeptFd kept;
    if (!file.starts_with("record") ||
        !os::KeepFile(directory.EntryOf(file), {.rule = os::Ownership::Rule::kAnyone},
                      os::Create::kNo, kept)
             .ok()) {
      continue;
    }
    absl::StatusOr<DecodedRecord> decoded =
        ReadRecord([&] { return os::ReadAt(kept.get(), kRecordSize); });
    if (decoded.ok()) records.push_back(std::move(decoded->record));
  }
  // Other layers keep theirs elsewhere.
  for (const LayerKind& kind : LayerKinds()) {
    if (kind.observer) continue;
    const Sighting sighting =
        kind.make({.scope = scope, .name = name, .parameters = {}, .subject = {}})->Look();
    const auto* taken = std::get_if<Taken>(&sighting);
    if (taken != nullptr && taken->holder.record.has_value()) {
      records.push_back(*taken->holder.record);
    }
  }
  return records;
}

// Tells what a match is: by what has registered and been recorded until now.
class Judge {
 public:
  explicit Judge(const LayerContext& context) : context_(context) {}

  absl::Status Open() {
    absl::StatusOr<os::Kin> own = os::OwnKin();
    if (!own.ok()) return own.status();
    own_ = own->process;
    own_line_ = family_.LineOf(*std::move(own));
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
  std::optional<std::vector<HolderRecord>> own_records_;
  std::optional<std::vector<HolderRecord>> other_records_;
};

const HolderRecord* Judge::OwnRecord(const std::vector<ProcessIdentity>& line) {
  if (!own_records_.has_value()) own_records_ = RecordsOf(context_.scope, context_.name);
  const HolderRecord* found = nullptr;
  for (const HolderRecord& record : *own_records_) {
    if (record.name != context_.name.text() || !Covers(record, line)) continue;
    if (found == nullptr || record.state == RecordState::kEstablished) found = &record;
  }
  return found;
}

bool Judge::IsOfAnotherName(const std::vector<ProcessIdentity>& line) {
  if (!other_records_.has_value()) {
    other_records_.emplace();
    const absl::StatusOr<std::vector<InstanceName>> names = KnownNames(context_.scope);
    for (const InstanceName& name : names.ok() ? *names : std::vector<InstanceName>()) {
      if (name == context_.name) continue;
      for (HolderRecord& record : RecordsOf(context_.scope, name)) {
        other_records_->push_back(std::move(record));
      }
    }
  }
  return std::any_of(other_records_->begin(), other_records_->end(),
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
  const std::vector<ProcessIdentity> line = family_.LineOf(match.kin);
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
class ScanClaim final : public Claim {
 public:
  explicit ScanClaim(const Scope& scope) : scope_(scope) {}

  absl::Status Publish(const HolderRecord&) override { return CheckOwner(); }
  absl::Status Verify() const override { return CheckOwner(); }
  void Release() override {
    if (owner_.IsCurrent()) released_ = true;
  }
  absl::Status KeepOverExec() override {
    absl::Status owner = CheckOwner();
    return owner.ok() ? KeepRegistrationOverExec(scope_) : owner;
  }

 private:
  absl::Status CheckOwner() const { return soleguard::CheckOwner(owner_, released_); }

  const Scope scope_;
  const os::ProcessMark owner_;
  bool released_ = false;
};

// A value in the text of a policy, quoted as there.
std::string TextOf(const std::string& value) {
  const auto is_plain = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f && std::string_view(",()=\"").find(c) == std::string::npos;
  };
  if (!value.empty() && std::all_of(value.begin(), value.end(), is_plain)) return value;
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

class ScanLayerImpl final : public Layer {
 public:
  explicit ScanLayerImpl(const LayerContext& context) : context_(context), text_("scan") {
    if (context_.parameters.empty()) return;
    std::vector<std::string> parameters;
    for (const auto& [key, value] : context_.parameters) {
      parameters.push_back(absl::StrCat(key, "=", TextOf(value)));
    }
    absl::StrAppend(&text_, "(", absl::StrJoin(parameters, ", "), ")");
  }

  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord& candidate) override;
  Sighting Look() const override;
  std::vector<ProcessIdentity> Suspects() const override;

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
  std::optional<HolderRecord> last;
  for (HolderRecord& record : RecordsOf(context_.scope, context_.name)) {
    Holder holder = JudgeHolder(record, absl::StrCat("pid ", record.identity.pid, " runs"));
    const bool lives = LivenessOf(record.identity) == Liveness::kAlive;
    if (lives && holder.standing == Standing::kEstablished) return Taken{std::move(holder)};
    last = std::move(record);
  }
  return Free{std::move(last)};
}

Sighting ScanLayerImpl::Look() const {
  if (context_.subject.unknown && context_.parameters.empty()) return LookByRecords();
  absl::StatusOr<std::vector<Found>> found = LookAround();
  if (!found.ok()) return Unavailable{found.status()};
  if (found->empty()) return Free{};
  return Taken{std::move(found->front().holder)};
}

std::vector<ProcessIdentity> ScanLayerImpl::Suspects() const {
  std::vector<ProcessIdentity> suspects;
  absl::StatusOr<std::vector<Found>> found = LookAround();
  if (!found.ok()) return suspects;
  for (const Found& each : *found) suspects.push_back(each.match.kin.process);
  return suspects;
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

}  // namespace

LayerKind ScanLayer() {
  return {.name = "scan", .check = &CheckParameters, .make = &MakeScanLayer, .observer = true};
}

}  // namespace soleguard

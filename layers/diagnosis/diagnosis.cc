// What can be seen of a scope and of the machine, whatever the layers. Each layer says of itself
// what it sees (Layer::Diagnose).
#include "soleguard/diagnosis.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "diagnosis/cleaner.h"
#include "diagnosis/filesystem.h"
#include "kit/record_area.h"
#include "kit/state_directory.h"
#include "kit/token.h"
#include "os/denied.h"
#include "os/kept_fd.h"
#include "os/machine.h"
#include "os/mount.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/user.h"
#include "os/view.h"
#include "soleguard/event.h"
#include "soleguard/process.h"
#include "soleguard/scope_view.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr char kScope[] = "scope";
constexpr char kMachine[] = "machine";
constexpr char kHolder[] = "holder";

// Escaped where it was made.
std::string Text(const absl::Status& status) { return std::string(status.message()); }

// Who made it, and whether it can be used.
Finding LookOfDirectory(const Scope& scope) {
  const std::string path = EscapeBytes(scope.directory());
  const absl::Status place = CheckPlace(scope);
  if (!place.ok()) {
    return {.severity = Severity::kProblem,
            .layer = kScope,
            .what = Text(place),
            .consequence = "",
            .fix = "start it outside of the sandbox, or let all use --scope DIRECTORY",
            .event = CheckIdentified(scope).ok() ? Event::kHiddenPlace : Event::kHiddenUser};
  }
  os::KeptFd directory;
  const absl::StatusOr<os::Ownership> opened =
      os::KeepScopeDirectory(scope, os::Create::kNo, directory);
  const absl::Status& status = opened.status();
  if (opened.ok()) {
    const absl::StatusOr<os::FileAccess> access = os::AccessTo(directory.get());
    if (access.ok() && !access->writable) {
      return {
          .severity = Severity::kProblem,
          .layer = kScope,
          .what = absl::StrCat(path, " cannot be written by ", EscapeBytes(UserName(os::OwnUid())),
                               " (it belongs to ", EscapeBytes(UserName(access->uid)), ")"),
          .consequence = "",
          .fix = "start as its owner or as a member of its group, or choose another scope",
          .event = Event::kScopeDirectorySquatted};
    }
    if (access.ok() && access->open_to_all) {
      return {.severity = Severity::kProblem,
              .layer = kScope,
              .what = absl::StrCat(path, " lets other users move what is in it"),
              .consequence = "",
              .fix = absl::StrCat("chmod o-w ", path),
              .event = Event::kScopeDirectorySquatted};
    }
    return {.severity = Severity::kOk,
            .layer = kScope,
            .what = absl::StrCat(path, " is there, and belongs to ",
                                 access.ok() ? EscapeBytes(UserName(access->uid)) : "its owner"),
            .consequence = "",
            .fix = ""};
  }
  if (absl::IsNotFound(status)) {
    if (scope.kind() == Scope::Kind::kSystem) {
      return {.severity = Severity::kProblem,
              .layer = kScope,
              .what = absl::StrCat(path, " does not exist"),
              .consequence = "",
              .fix = absl::StrCat("install -d -m 2770 -g GROUP ", path,
                                  ", for the group that shares it"),
              .event = Event::kScopeDirectorySquatted};
    }
    return {.severity = Severity::kOk,
            .layer = kScope,
            .what = absl::StrCat(path, " does not exist yet: the first start makes it"),
            .consequence = "",
            .fix = ""};
  }
  return {.severity = Severity::kProblem,
          .layer = kScope,
          .what = Text(status),
          .consequence = "",
          .fix = "find out who made it, then remove it or choose another scope",
          .event = Event::kScopeDirectorySquatted};
}

// As a start opens it, which makes what is not there.
Finding DirectoryFinding(const Scope& scope) {
  Finding finding = LookOfDirectory(scope);
  if (finding.severity == Severity::kProblem) return finding;
  os::KeptFd directory;
  const absl::Status may_start =
      os::KeepScopeDirectory(scope, os::Create::kAsIf, directory).status();
  if (may_start.ok() || absl::IsNotFound(may_start)) return finding;
  return {.severity = Severity::kProblem,
          .layer = kScope,
          .what = Text(may_start),
          .consequence = "",
          .fix = "mend what it names, or choose another scope",
          .event = Event::kScopeDirectorySquatted};
}

// The mount of a service's own /tmp (systemd.exec(5), PrivateTmp=) shows where it comes from.
std::optional<Finding> PrivateTmpFinding(const Scope& scope, const os::Filesystem& filesystem) {
  const bool below_tmp =
      scope.directory().starts_with("/tmp/") || scope.directory().starts_with("/var/tmp/");
  if (!CheckPlace(scope).ok()) return std::nullopt;  // that says it
  if (!below_tmp || !absl::StrContains(filesystem.root, "systemd-private-")) return std::nullopt;
  return Finding{.severity = Severity::kWarning,
                 .layer = kScope,
                 .what = absl::StrCat("this process has a /tmp of its own (PrivateTmp=): it is ",
                                      EscapeBytes(filesystem.root), " outside"),
                 .consequence = "",
                 .fix = "PrivateTmp=no, or --scope with a directory outside of /tmp and /var/tmp",
                 .event = Event::kPrivateTmp};
}

// Who outside of this user namespace has this scope.
std::optional<Finding> UserNamespaceFinding(const Scope& scope) {
  const absl::StatusOr<os::OutsideUser> user = os::FindOutsideUser();
  if (!user.ok() || !os::IsInUserNamespace()) return std::nullopt;
  return Finding{.severity = Severity::kNote,
                 .layer = kMachine,
                 .what = absl::StrCat("this is a user namespace: the caller, uid ", os::OwnUid(),
                                      " here, is uid ", user->uid, " outside",
                                      user->certain ? "" : ", as far as can be told"),
                 .consequence = scope.kind() == Scope::Kind::kUser && CheckIdentified(scope).ok()
                                    ? "the scope user is that of the uid outside"
                                    : "",
                 .fix = "",
                 .event = Event::kUserNamespace};
}

std::optional<Finding> TwoPathsFinding(const Scope& scope) {
  if (scope.kind() != Scope::Kind::kDirectory) return std::nullopt;
  const std::vector<std::string> others = os::OtherPathsTo(scope.directory());
  if (others.empty()) return std::nullopt;
  return Finding{
      .severity = Severity::kWarning,
      .layer = kScope,
      .what = absl::StrCat(EscapeBytes(scope.directory()), " is also ", EscapeBytes(others.front()),
                           " (a bind mount): two scopes to layers that go by its path"),
      .consequence = "",
      .fix = "let every start write it the same way",
      .event = Event::kTwoPaths,
      .threat = true};
}

// Where the ceilings of fencing tokens and the histories are.
Finding StateFinding(const Scope& scope) {
  const absl::StatusOr<std::string> place = SharedStateDirectory(scope);
  const std::string consequence =
      "a fencing token may repeat: without a place that lasts and all share, none is larger for "
      "certain; nor is there a history of a name that lasts (guardcheck history)";
  const std::string fix =
      "--state-dir with a directory on a disk, the same for every start; of a group's scope one "
      "of that group (install -d -m 2770 -g GROUP DIRECTORY)";
  if (!place.ok()) {
    return {.severity = Severity::kWarning,
            .layer = kScope,
            .what = Text(place.status()),
            .consequence = consequence,
            .fix = fix};
  }
  const std::string path = EscapeBytes(*place);
  const absl::StatusOr<os::Filesystem> filesystem = os::FilesystemAt(*place);
  if (filesystem.ok() && (filesystem->type == "tmpfs" || filesystem->type == "ramfs")) {
    return {.severity = Severity::kWarning,
            .layer = kScope,
            .what = absl::StrCat("the state directory ", path, " is on ", filesystem->type,
                                 ", which a reboot empties"),
            .consequence = consequence,
            .fix = fix};
  }
  if (filesystem.ok() && (filesystem->read_only || filesystem->full)) {
    return {.severity = Severity::kWarning,
            .layer = kScope,
            .what = absl::StrCat("the state directory ", path, " is on a filesystem that is ",
                                 filesystem->read_only ? "read-only" : "full"),
            .consequence = consequence,
            .fix = fix};
  }
  if (!os::MayWriteBelow(*place)) {
    return {.severity = Severity::kWarning,
            .layer = kScope,
            .what = absl::StrCat("the caller may not write to the state directory ", path),
            .consequence = consequence,
            .fix = fix};
  }
  return {.severity = Severity::kOk,
          .layer = kScope,
          .what = absl::StrCat("fencing tokens and histories outlive a reboot: ", path,
                               os::Exists(*place) ? "" : " (the first start makes it)"),
          .consequence = "",
          .fix = ""};
}

std::vector<Finding> CallerFindings() {
  std::vector<Finding> findings;
  if (os::OwnRealUid() != os::OwnUid()) {
    findings.push_back(
        {.severity = Severity::kNote,
         .layer = kMachine,
         .what = absl::StrCat("the caller is ", EscapeBytes(UserName(os::OwnRealUid())),
                              " and acts as ", EscapeBytes(UserName(os::OwnUid())),
                              " (a setuid program)"),
         .consequence = "the scope user is that of the user it acts as, and the environment is "
                        "ignored",
         .fix = ""});
  }
  const absl::StatusOr<os::DescriptorUse> descriptors = os::CountDescriptors();
  constexpr std::uint64_t kNeeded = 40;  // of a start with four layers and its looks, rounded up
  if (descriptors.ok() && descriptors->used + kNeeded > descriptors->limit) {
    findings.push_back(
        {.severity = Severity::kProblem,
         .layer = kMachine,
         .what = absl::StrCat("only ", descriptors->limit, " descriptors may be open, and ",
                              descriptors->used, " are; a start needs about ", kNeeded),
         .consequence = "",
         .fix = "ulimit -n 1024, or LimitNOFILE= of the service",
         .event = Event::kDescriptorsExhausted});
  }
  if (!os::MayWatchFiles()) {
    findings.push_back(
        {.severity = Severity::kNote,
         .layer = kMachine,
         .what = "this user has no inotify instance left (fs.inotify.max_user_instances)",
         .consequence = "who waits asks again every 25 ms instead of being woken",
         .fix = "sysctl fs.inotify.max_user_instances=512"});
  }
  const auto namespaces = os::NamespacesOf(0);
  const auto pid = namespaces.find("pid");
  if (pid != namespaces.end() && !os::IsInitialPidNamespace(pid->second)) {
    findings.push_back(
        {.severity = Severity::kNote,
         .layer = kMachine,
         .what = "this is a container, or another pid namespace than the host's",
         .consequence = "only what shares its scope directory, its ipc or its network namespace is "
                        "excluded; the others are not seen",
         .fix = "to exclude other containers, mount one directory into all and say --scope "
                "DIRECTORY, with policy file"});
  }
  return findings;
}

}  // namespace

std::vector<Finding> DiagnoseScope(const Scope& scope) {
  std::vector<Finding> findings = {DirectoryFinding(scope)};
  const absl::StatusOr<os::Filesystem> filesystem = os::FilesystemAt(scope.directory());
  if (filesystem.ok()) {
    for (Finding& finding : DiagnoseFilesystem(kScope, scope.directory(), *filesystem)) {
      findings.push_back(std::move(finding));
    }
    std::optional<Finding> private_tmp = PrivateTmpFinding(scope, *filesystem);
    if (private_tmp.has_value()) findings.push_back(*std::move(private_tmp));
  }
  for (std::optional<Finding>& finding :
       std::array{UserNamespaceFinding(scope), TwoPathsFinding(scope)}) {
    if (finding.has_value()) findings.push_back(*std::move(finding));
  }
  for (Finding& finding : DiagnoseCleaners(kScope, scope.directory(), /*locked=*/true)) {
    findings.push_back(std::move(finding));
  }
  findings.push_back(StateFinding(scope));
  for (Finding& finding : CallerFindings()) findings.push_back(std::move(finding));
  return findings;
}

absl::Status CheckStateDirectory(const Scope& scope) {
  const absl::StatusOr<std::string> place = SharedStateDirectory(scope);
  return place.ok() ? os::CheckMayMakeBelow(*place) : place.status();
}

std::vector<Finding> DiagnoseHolder(const ProcessIdentity& holder) {
  constexpr const char* kOnePidNamespace = "look from the host, or start both in one pid namespace";
  std::vector<Finding> findings;
  const auto ours = os::NamespacesOf(0);
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  std::int64_t pid = holder.pid;
  if (own.ok() && own->pid_namespace != holder.pid_namespace) {
    findings.push_back(
        {.severity = Severity::kWarning,
         .layer = kHolder,
         .what = absl::StrCat("the holder, pid ", holder.pid,
                              " there, runs in another pid namespace (", holder.pid_namespace,
                              ", here ", own->pid_namespace, "): these two cannot see each other"),
         .consequence = "",
         .fix = kOnePidNamespace,
         .event = Event::kPidNamespace});
    const std::optional<std::int64_t> here = os::PidFromHere(holder);
    if (!here.has_value()) return findings;
    pid = *here;
  }
  struct Kind {
    std::string_view name;
    std::string_view what;
    std::optional<Event> event;
    std::string_view fix;
  };
  constexpr std::array<Kind, 6> kKinds = {
      {{"pid", "pid", Event::kPidNamespace, kOnePidNamespace},
       {"net", "network", Event::kNetworkNamespace,
        "start both in one network namespace (docker run --network=host, podman pod)"},
       {"ipc", "ipc", Event::kIpcNamespace,
        "start both in one ipc namespace (docker run --ipc=host)"},
       {"mnt", "mount", std::nullopt, ""},
       {"user", "user", std::nullopt, ""},
       {"time", "time", std::nullopt, ""}}};
  const auto theirs = os::NamespacesOf(pid);
  for (const Kind& kind : kKinds) {
    const auto mine = ours.find(std::string(kind.name));
    const auto other = theirs.find(std::string(kind.name));
    if (mine == ours.end() || other == theirs.end() || mine->second == other->second) continue;
    // Said above where `holder` has the number of its own namespace; a record that was read has
    // the one of here (SeenFromHere).
    if (kind.name == "pid" && !findings.empty()) continue;
    Finding finding{
        .severity = Severity::kWarning,
        .layer = kHolder,
        .what = absl::StrCat("the holder, pid ", pid, ", lives in another ", std::string(kind.what),
                             " namespace (", other->second, ", here ", mine->second, ")"),
        .consequence = "",
        .fix = std::string(kind.fix),
        .event = kind.event};
    if (kind.event.has_value()) {
      finding.what += kind.name == "pid" ? ": from there the processes of this one cannot be seen"
                                         : ": these two cannot see each other there";
    } else {
      finding.severity = Severity::kNote;
      finding.consequence = kind.name == "mnt"
                                ? "this process sees its record, so the scope's directory is one "
                                  "to both; a program may be found at another path"
                                : "this alone lets nobody in";
    }
    findings.push_back(std::move(finding));
  }
  if (theirs.empty()) {
    findings.push_back({.severity = Severity::kNote,
                        .layer = kHolder,
                        .what = absl::StrCat("the namespaces of the holder, pid ", pid,
                                             ", cannot be read by this user"),
                        .consequence = "whether the two see each other cannot be told",
                        .fix = "ask as its user, or as root"});
  } else if (findings.empty()) {
    findings.push_back(
        {.severity = Severity::kOk,
         .layer = kHolder,
         .what = absl::StrCat("the holder, pid ", pid, ", lives in the same namespaces"),
         .consequence = "",
         .fix = ""});
  }
  return findings;
}

std::vector<Finding> DiagnoseInvokingUser(std::uint32_t user, const InstanceName& name) {
  if (user == os::OwnUid()) return {};
  // The directory of that user's scope, by the same rule as the caller's own.
  const std::string own = Scope::User().directory();
  const std::string theirs = absl::StrCat(own.substr(0, own.rfind('-')), "-", user);
  const std::string path = absl::StrCat(theirs, "/names/", name.text(), "/record");
  os::KeptFd file;
  const absl::Status opened =
      os::KeepFile({.parent = -1, .name = path, .path = path},
                   {.rule = os::Ownership::Rule::kOwner, .uid = user}, os::Create::kNo, file);
  if (!opened.ok()) return {};
  const absl::StatusOr<DecodedRecord> decoded = ReadRecord(file);
  if (!decoded.ok() || decoded->record.state == RecordState::kReleasing) return {};
  const HolderRecord& record = decoded->record;
  const ProcessIdentity& instance = record.running();
  if (LivenessOf(record.identity) == Liveness::kGone && LivenessOf(instance) == Liveness::kGone) {
    return {};
  }
  const std::string who = EscapeBytes(UserName(user));
  return {
      {.severity = Severity::kProblem,
       .layer = kHolder,
       .what = absl::StrCat("sudo: ", who, " has ", EscapeBytes(name.text()), " running as pid ",
                            instance.pid, ", in the scope ", EscapeBytes(theirs)),
       .consequence = absl::StrCat("a start as ", EscapeBytes(UserName(os::OwnUid())),
                                   " is in another scope, and runs beside it"),
       .fix = absl::StrCat("start it as ", who, " (sudo -u ", who,
                           "), or let both use --scope system or one directory")}};
}

}  // namespace soleguard

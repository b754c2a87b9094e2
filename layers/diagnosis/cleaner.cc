#include "diagnosis/cleaner.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "os/machine.h"
#include "soleguard/event.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

struct Line {
  char type = 0;
  std::string path;
  std::string age;  // empty: its content does not grow old
  std::string file;
};

std::optional<Line> ParseLine(std::string_view text, const std::string& file) {
  constexpr std::size_t kPath = 1;
  constexpr std::size_t kAge = 5;
  const std::vector<std::string> fields =
      absl::StrSplit(std::string(text), absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (fields.size() <= kPath || fields[0].starts_with('#') || !fields[kPath].starts_with('/')) {
    return std::nullopt;
  }
  Line line{.type = fields[0][0], .path = fields[kPath], .file = file};
  while (line.path.size() > 1 && line.path.ends_with('/')) line.path.pop_back();
  constexpr std::string_view kWithAge = "dDevqQC";
  if (kWithAge.find(line.type) != std::string_view::npos && fields.size() > kAge &&
      fields[kAge] != "-") {
    line.age = fields[kAge];
  }
  return line;
}

// A file hides one of the same name in a later directory (tmpfiles.d(5)).
std::vector<Line> ReadLines(const std::vector<std::string>& directories) {
  std::map<std::string, std::string> files;  // in the order of their names
  for (const std::string& directory : directories) {
    for (std::string& name : os::FilesIn(directory, ".conf")) {
      std::string path = absl::StrCat(directory, "/", name);
      files.try_emplace(std::move(name), std::move(path));
    }
  }
  std::vector<Line> lines;
  for (const auto& [name, path] : files) {
    const absl::StatusOr<std::string> text = os::ReadSetting(path);
    if (!text.ok()) continue;  // its administrator sees that; here nothing can be told of it
    for (const auto each : absl::StrSplit(*text, '\n')) {
      std::optional<Line> line = ParseLine(std::string_view(each.data(), each.size()), path);
      if (line.has_value()) lines.push_back(*std::move(line));
    }
  }
  return lines;
}

}  // namespace

std::vector<std::string> CleaningDirectories() {
  return {"/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/usr/lib/tmpfiles.d"};
}

std::optional<CleaningRule> CleaningRuleFor(const std::string& path,
                                            const std::vector<std::string>& directories) {
  const std::vector<Line> lines = ReadLines(directories);
  // From the path upwards: whatever has a line of its own is passed over by the cleaning of what is
  // above it.
  for (std::string at = path; !at.empty(); at.resize(at.rfind('/'))) {
    for (const Line& line : lines) {
      if (!os::MatchesGlob(line.path, at)) continue;
      if (line.type == 'X' && at != path) continue;  // that one alone, not its content
      if (!line.age.empty() && at != path) {
        return CleaningRule{.directory = at, .age = line.age, .file = line.file};
      }
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::vector<Finding> DiagnoseCleaners(const std::string& layer, const std::string& path,
                                      bool locked) {
  std::vector<Finding> findings;
  const std::optional<CleaningRule> rule = CleaningRuleFor(path, CleaningDirectories());
  if (rule.has_value()) {
    Finding finding{
        .severity = Severity::kNote,
        .layer = layer,
        .what = absl::StrCat("systemd-tmpfiles removes what is older than ", EscapeBytes(rule->age),
                             " from ", EscapeBytes(rule->directory), " (", EscapeBytes(rule->file),
                             ")")};
    if (locked) {
      finding.consequence =
          "it leaves the directory of a name that is held alone, as that is locked; what it "
          "removes of other names is harmless";
    } else {
      finding.severity = Severity::kWarning;
      finding.event = Event::kLockFileDeleted;
      finding.threat = true;
      finding.fix =
          absl::StrCat("echo 'x ", EscapeBytes(path), "*' > /etc/tmpfiles.d/soleguard.conf");
    }
    findings.push_back(std::move(finding));
  }
  // These look at times only, at no lock.
  constexpr std::array<std::string_view, 3> kOthers = {
      "/etc/cron.daily/tmpreaper", "/etc/cron.daily/tmpwatch", "/etc/cron.daily/stmpclean"};
  const bool in_tmp = path.starts_with("/tmp/") || path.starts_with("/var/tmp/");
  for (const std::string_view other : kOthers) {
    if (!in_tmp || !os::Exists(std::string(other))) continue;
    findings.push_back({.severity = Severity::kWarning,
                        .layer = layer,
                        .what = absl::StrCat(std::string(other),
                                             " removes old files from /tmp, "
                                             "locked or not"),
                        .consequence = "",
                        .fix = absl::StrCat("let it pass over ", EscapeBytes(path),
                                            " (TMPREAPER_PROTECT_EXTRA, tmpwatch -X), or choose a "
                                            "scope outside of /tmp"),
                        .event = locked ? Event::kScopeDirectoryRemoved : Event::kLockFileDeleted,
                        .threat = true});
  }
  return findings;
}

}  // namespace soleguard

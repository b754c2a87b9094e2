#include "diagnosis/filesystem.h"

#include <utility>

#include <absl/strings/str_cat.h>

#include "os/answer.h"
#include "os/mount.h"
#include "soleguard/event.h"
#include "soleguard/text.h"

namespace soleguard {

std::vector<Finding> DiagnoseFilesystem(const std::string& layer, const std::string& path,
                                        const os::Filesystem& filesystem) {
  std::vector<Finding> findings;
  const std::string where = absl::StrCat(EscapeBytes(path), " is on ", EscapeBytes(filesystem.type),
                                         " (", EscapeBytes(filesystem.source), ", mounted at ",
                                         EscapeBytes(filesystem.mount_point), ")");
  const std::string local = "choose a directory on a local filesystem, such as /run or /var/lib";
  if (os::IsNetworkFilesystem(filesystem.type)) {
    findings.push_back(
        {.severity = Severity::kWarning,
         .layer = layer,
         .what = absl::StrCat(where, ", a network filesystem"),
         .consequence = "a lock is the server's word: a call may block while the server is away, "
                        "and some mounts (nolock, nobrl, cache=none) lock on this host only",
         .fix = local,
         .event = Event::kNetworkFilesystem});
  } else if (filesystem.type.starts_with("fuse") || filesystem.type == "virtiofs") {
    findings.push_back({.severity = Severity::kWarning,
                        .layer = layer,
                        .what = absl::StrCat(where, ", which a program serves"),
                        .consequence =
                            "whether its locks exclude, and whether a lock call ends, is that "
                            "program's choice; many lock on this side only",
                        .fix = local});
  } else if (filesystem.type == "overlay") {
    findings.push_back(
        {.severity = Severity::kNote,
         .layer = layer,
         .what = absl::StrCat(where, ", the layers of a container"),
         .consequence = "locks work in this container; another one has another directory here",
         .fix = "to exclude other containers, mount one directory into all (a volume)"});
  } else {
    findings.push_back({.severity = Severity::kOk,
                        .layer = layer,
                        .what = absl::StrCat(where, ", where locks work"),
                        .consequence = "",
                        .fix = ""});
  }
  if (filesystem.read_only) {
    findings.push_back(
        {.severity = Severity::kProblem,
         .layer = layer,
         .what = absl::StrCat(EscapeBytes(filesystem.mount_point), " is mounted read-only"),
         .consequence = "",
         .fix = absl::StrCat("mount -o remount,rw ", EscapeBytes(filesystem.mount_point),
                             ", or choose another directory"),
         .event = Event::kReadOnlyFilesystem});
  } else if (filesystem.full) {
    findings.push_back(
        {.severity = Severity::kProblem,
         .layer = layer,
         .what = absl::StrCat(EscapeBytes(filesystem.mount_point),
                              " is full: no block or no inode is left"),
         .consequence = "",
         .fix = absl::StrCat("make room: df -h ", EscapeBytes(filesystem.mount_point), "; df -i ",
                             EscapeBytes(filesystem.mount_point)),
         .event = Event::kDiskFull});
  }
  return findings;
}

}  // namespace soleguard

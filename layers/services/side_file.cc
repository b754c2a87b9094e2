#include "soleguard/side_file.h"

#include <new>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/file.h"
#include "os/kept_fd.h"
#include "os/path.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

class OwnSideFile final : public SideFile {
 public:
  explicit OwnSideFile(std::string path) : path_(std::move(path)) {}
  ~OwnSideFile() override { Remove(); }

  absl::Status Write(std::string_view text) override {
    if (!owner_.IsCurrent()) return absl::FailedPreconditionError("not the owner: a forked child");
    // Kept open, so that a process that leaves its root directory still finds what it wrote.
    if (!directory_.StillOurs()) {
      absl::Status opened = os::KeepPlace(path_.substr(0, path_.rfind('/')), directory_);
      if (!opened.ok()) return opened;
    }
    // What stood there before this process came is stale; what came after is somebody's.
    if (file_.StillOurs() && os::IsAnothers(entry(), file_, text_)) {
      return absl::FailedPreconditionError(absl::StrCat(
          EscapeBytes(path_), " was replaced or written by another program, and is left to it"));
    }
    std::string says(text);  // before the file is there, which would be left for want of memory
    absl::StatusOr<UniqueFd> written = os::WriteForOthers(entry(), text);
    if (!written.ok()) return written.status();
    text_ = std::move(says);
    return file_.Keep("keep a file open", [&written] { return written->release(); });
  }

  void Remove() override {
    try {
      if (owner_.IsCurrent() && file_.StillOurs() && directory_.StillOurs()) {
        os::RemoveIfSays(entry(), file_, text_);
      }
    } catch (const std::bad_alloc&) {  // it stays, as after a SIGKILL
    }
    Leave();
  }

  void Leave() override {
    file_.Close();
    directory_.Close();
  }

 private:
  os::Entry entry() const {
    return {.parent = directory_.get(), .name = path_.substr(path_.rfind('/') + 1), .path = path_};
  }

  const std::string path_;
  const os::ProcessMark owner_;
  os::KeptFd directory_;
  std::string text_;  // what was written
  os::KeptFd file_;   // what was written; open, so that no other file can get its inode number
};

}  // namespace

absl::StatusOr<std::unique_ptr<SideFile>> SideFile::At(std::string path) {
  if (!path.starts_with('/') || path.ends_with('/')) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected the absolute path of a file, found '", EscapeBytes(path), "'"));
  }
  return std::make_unique<OwnSideFile>(std::move(path));
}

}  // namespace soleguard

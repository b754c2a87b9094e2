#include "soleguard/side_file.h"

#include <utility>

#include <absl/strings/str_cat.h>

#include "os/os.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

class OwnSideFile final : public SideFile {
 public:
  explicit OwnSideFile(std::string path) : path_(std::move(path)) {}
  ~OwnSideFile() override { Remove(); }

  absl::Status Write(std::string_view text) override {
    if (!owner_.IsCurrent()) return absl::FailedPreconditionError("not the owner: a forked child");
    absl::StatusOr<UniqueFd> written = os::WriteForOthers(path_, text);
    if (!written.ok()) return written.status();
    return file_.Keep("keep a file open", [&written] { return written->release(); });
  }

  void Remove() override {
    if (owner_.IsCurrent() && file_.StillOurs()) os::RemoveIfSame(path_, file_.file());
    file_.Close();
  }

  void Leave() override { file_.Close(); }

 private:
  const std::string path_;
  const os::ProcessMark owner_;
  os::KeptFd file_;  // what was written; open, so that no other file can get its inode number
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

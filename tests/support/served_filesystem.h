// A filesystem that a program serves (FUSE), mounted for a test: see served_filesystem_main.cc.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

#include "support/program.h"
#include "support/temp_dir.h"

namespace soleguard::testing {

class ServedFilesystem {
 public:
  // Mounts it. Where that cannot be done, `unusable` says why.
  ServedFilesystem() {
    if (getuid() != 0 || access("/dev/fuse", R_OK | W_OK) != 0) {
      unusable_ = "needs root and /dev/fuse to mount a filesystem";
      return;
    }
    // For this process and its children alone: a mount shows to every watch of the machine.
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      unusable_ = "cannot make a mount namespace";
      return;
    }
    std::filesystem::create_directory(mount_point_);
    std::filesystem::create_directory(directory_ / "behind");
    server_.emplace(
        Program::Setup{.argv = {Beside("served_filesystem"), mount_point_, directory_ / "behind"}});
    if (server_->ReadLine() != "mounted") unusable_ = "cannot mount: " + server_->Errors();
  }
  ServedFilesystem(const ServedFilesystem&) = delete;
  ServedFilesystem& operator=(const ServedFilesystem&) = delete;
  ~ServedFilesystem() {
    if (!server_.has_value()) return;
    server_->Signal(SIGKILL);  // every call that hangs ends with ECONNABORTED
    (void)server_->Wait();
    (void)umount2(mount_point_.c_str(), MNT_DETACH);
  }

  const std::string& unusable() const { return unusable_; }  // empty: it is mounted
  const std::string& mount_point() const { return mount_point_; }
  const TempDir& directory() const { return directory_; }  // a local one
  Program& server() { return *server_; }

 private:
  const TempDir directory_;
  const std::string mount_point_ = directory_ / "mount";
  std::optional<Program> server_;
  std::string unusable_;
};

}  // namespace soleguard::testing

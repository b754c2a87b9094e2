// A directory of a test's own.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

#include "support/system_v.h"

namespace soleguard::testing {

// Made new, mode 0700, removed with all that is in it at the end.
class TempDir {
 public:
  TempDir() {
    path_ = (std::filesystem::temp_directory_path() / "soleguard-test-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_ + " failed");
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    RemoveMutexObjects(path_);
    std::error_code ignored;  // what a test made unremovable is not this test's failure
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace soleguard::testing

#include "support/system_v.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>

#include <filesystem>
#include <system_error>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace soleguard::testing {
namespace {

namespace fs = std::filesystem;

// As layers/mutex.cc has it.
int KeyOf(const std::string& scope, const std::string& name) {
  const std::string text = absl::StrCat(scope, "\n", name);
  return static_cast<int>(XXH64(text.data(), text.size(), 0) % 0x7ffffffe) + 1;
}

}  // namespace

bool RemoveSemaphore(const std::string& scope, const std::string& name) {
  const int id = semget(KeyOf(scope, name), 1, 0);
  return id >= 0 && semctl(id, 0, IPC_RMID) == 0;
}

bool FreeSemaphore(const std::string& scope, const std::string& name) {
  const int id = semget(KeyOf(scope, name), 1, 0);
  return id >= 0 && semctl(id, 0, SETVAL, 0) == 0;
}

bool RemoveSegment(const std::string& scope, const std::string& name) {
  return shm_unlink(absl::StrFormat("/soleguard-%08x", KeyOf(scope, name)).c_str()) == 0;
}

void RemoveMutexObjects(const std::string& directory) {
  std::error_code ignored;  // what is not there has left nothing
  for (const fs::path& scope : {fs::path(directory), fs::path(directory) / "scope"}) {
    for (const fs::directory_entry& name : fs::directory_iterator(scope / "names", ignored)) {
      (void)RemoveSemaphore(scope.string(), name.path().filename().string());
      (void)RemoveSegment(scope.string(), name.path().filename().string());
    }
  }
}

}  // namespace soleguard::testing

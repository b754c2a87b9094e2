#include "support/system_v.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "soleguard/record.h"

namespace soleguard::testing {
namespace {

namespace fs = std::filesystem;

// As layers/mutex.cc has it.
int KeyOf(const std::string& scope, const std::string& name, int which = 0) {
  const std::string text = absl::StrCat(scope, "\n", name);
  const std::uint64_t hash =
      XXH64(text.data(), text.size(), 0) + static_cast<std::uint64_t>(which) * 0x9e3779b97f4a7c15;
  return static_cast<int>(hash % 0x7ffffffe) + 1;
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
  // By the segments, which are called after their keys: of slots, and of names whose directory is
  // gone.
  for (const fs::directory_entry& segment : fs::directory_iterator("/dev/shm", ignored)) {
    constexpr std::string_view kPrefix = "soleguard-";
    const std::string name = segment.path().filename().string();
    if (!name.starts_with(kPrefix) || !segment.is_regular_file(ignored)) continue;
    std::string bytes(kRecordSize, '\0');
    std::ifstream(segment.path(), std::ios::binary).read(bytes.data(), kRecordSize);
    if (bytes.find(directory) == std::string::npos) continue;  // most are of other tests
    const auto record = DecodeRecord(bytes);
    if (!record.ok() || !record->record.scope.starts_with(directory)) continue;
    const auto key = std::strtoul(name.c_str() + kPrefix.size(), nullptr, 16);
    const int id = semget(static_cast<key_t>(key), 1, 0);
    if (id >= 0) (void)semctl(id, 0, IPC_RMID);
    (void)shm_unlink(("/" + name).c_str());
  }
  for (const fs::path& scope : {fs::path(directory), fs::path(directory) / "scope"}) {
    for (const fs::directory_entry& name : fs::directory_iterator(scope / "names", ignored)) {
      constexpr int kKeys = 8;  // of a scope that a group shares
      for (int which = 0; which < kKeys; ++which) {
        const int key = KeyOf(scope.string(), name.path().filename().string(), which);
        const int id = semget(key, 1, 0);
        if (id >= 0) (void)semctl(id, 0, IPC_RMID);
        (void)shm_unlink(absl::StrFormat("/soleguard-%08x", key).c_str());
      }
    }
  }
}

}  // namespace soleguard::testing

// acquire_bench: taking and giving back a free name inside one process: Guard with the policy file,
// its floor in raw system calls, and Boost's file_lock. On /dev/shm where there is one: the lock
// files' usual place, /run/lock, is a tmpfs too.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <variant>

#include <benchmark/benchmark.h>
#include <boost/interprocess/sync/file_lock.hpp>

#include "floor/acquire_floor.h"
#include <soleguard/guard.h>
#include <soleguard/policy.h>
#include <soleguard/scope.h>

namespace {

namespace fs = std::filesystem;

class Directory {
 public:
  Directory() {
    const fs::path parent =
        access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path();
    path_ = (parent / "acquire_bench-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;  // at worst a directory stays in the temporary one
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// The scope directory and, beside it, the state directory.
soleguard::Options OptionsIn(const Directory& directory) {
  soleguard::Options options;
  options.scope =
      *soleguard::Scope::Directory(directory / "scope")->WithStateDirectory(directory / "state");
  return options;
}

void GuardAcquireRelease(benchmark::State& state) {
  const Directory directory;
  const soleguard::Options options = OptionsIn(directory);
  const soleguard::Policy policy = *soleguard::Policy::Parse("file");
  for ([[maybe_unused]] auto _ : state) {
    soleguard::Verdict verdict = soleguard::Guard::Acquire("x", policy, options);
    if (!std::holds_alternative<soleguard::Unique>(verdict)) {
      state.SkipWithError("not the only instance");
      break;
    }
  }  // released by the destructor
}
BENCHMARK(GuardAcquireRelease)->Unit(benchmark::kMicrosecond);

void Floor(benchmark::State& state) {
  const Directory directory;
  const soleguard::Options options = OptionsIn(directory);
  const soleguard::Policy policy = *soleguard::Policy::Parse("file");
  (void)soleguard::Guard::Acquire("x", policy, options);  // makes what the floor expects to find
  std::ofstream(directory / "ceiling") << std::string(64, 'x');
  AcquireFloor floor(directory / "scope", "x", directory / "ceiling");
  for ([[maybe_unused]] auto _ : state) {
    if (!floor.Acquire() || !floor.Release()) {
      state.SkipWithError("a system call failed");
      break;
    }
  }
}
BENCHMARK(Floor)->Unit(benchmark::kMicrosecond);

void BoostFileLock(benchmark::State& state) {
  const Directory directory;
  const std::string path = directory / "lock";
  const std::ofstream created(path);  // file_lock wants an existing file
  for ([[maybe_unused]] auto _ : state) {
    boost::interprocess::file_lock lock(path.c_str());
    if (!lock.try_lock()) {
      state.SkipWithError("locked by another");
      break;
    }
    lock.unlock();
  }
}
BENCHMARK(BoostFileLock)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();

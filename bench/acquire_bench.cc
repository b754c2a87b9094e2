// acquire_bench: taking and giving back a free name inside one process, layer by layer: Guard under
// a policy of that layer alone and, in turn with it, the layer's floor in raw system calls. Then
// the exclusive layers together, beside their three floors, and Boost's file_lock. On /dev/shm
// where there is one: the lock files' usual place, /run/lock, is a tmpfs too.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include <benchmark/benchmark.h>
#include <boost/interprocess/sync/file_lock.hpp>

#include "floor/acquire_floor.h"
#include "support/system_v.h"
#include <soleguard/guard.h>
#include <soleguard/options.h>
#include <soleguard/policy.h>
#include <soleguard/process.h>
#include <soleguard/scope.h>

namespace {

namespace fs = std::filesystem;

class Directory {
 public:
  Directory() {
    const fs::path parent =
        access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path();
    path_ = (parent / "acquire_bench-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    soleguard::testing::RemoveMutexObjects(path_);
    std::error_code ignored;  // at worst a directory stays in the temporary one
    fs::remove_all(path_, ignored);
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

void Guard(benchmark::State& state, const std::string& policy_text) {
  const Directory directory;
  const soleguard::Options options = OptionsIn(directory);
  const soleguard::Policy policy = *soleguard::Policy::Parse(policy_text);
  for ([[maybe_unused]] auto _ : state) {
    soleguard::Verdict verdict = soleguard::Guard::Acquire("x", policy, options);
    if (!std::holds_alternative<soleguard::Unique>(verdict)) {
      state.SkipWithError("not the only instance");
      break;
    }
  }  // released by the destructor
}

// Makes what the floors expect to find.
void FirstStart(const Directory& directory) {
  (void)soleguard::Guard::Acquire("x", *soleguard::Policy::Parse("all(file, mutex, port)"),
                                  OptionsIn(directory));
  std::ofstream(directory / "ceiling") << std::string(64, 'x');
}

void FloorOfFile(benchmark::State& state) {
  const Directory directory;
  FirstStart(directory);
  FileFloor floor(directory / "scope", "x", directory / "ceiling");
  for ([[maybe_unused]] auto _ : state) {
    if (!floor.Acquire() || !floor.Release()) {
      state.SkipWithError("a system call failed");
      break;
    }
  }
}

int OwnKey() { return 0x50000000 | getpid(); }
std::string OwnSegment() { return "/acquire_bench-" + std::to_string(getpid()); }
// As long as the port layer's.
std::string OwnCompanion() { return std::string(48, 'x') + std::to_string(getpid()); }

void FloorOfMutex(benchmark::State& state) {
  const Directory directory;
  FirstStart(directory);
  MutexFloor floor(directory / "scope", "x", OwnKey(), OwnSegment());
  for ([[maybe_unused]] auto _ : state) {
    if (!floor.Acquire() || !floor.Release()) {
      state.SkipWithError("a system call failed");
      break;
    }
  }
}

void FloorOfPort(benchmark::State& state) {
  const Directory directory;
  FirstStart(directory);
  PortFloor floor(directory / "scope", "x", OwnCompanion());
  for ([[maybe_unused]] auto _ : state) {
    if (!floor.Acquire() || !floor.Release()) {
      state.SkipWithError("a system call failed");
      break;
    }
  }
}

// One after another in the order of a Guard, given back in reverse.
void FloorOfAll(benchmark::State& state) {
  const Directory directory;
  FirstStart(directory);
  FileFloor file(directory / "scope", "x", directory / "ceiling");
  MutexFloor mutex(directory / "scope", "x", OwnKey(), OwnSegment());
  PortFloor port(directory / "scope", "x", OwnCompanion());
  for ([[maybe_unused]] auto _ : state) {
    if (!file.Acquire() || !mutex.Acquire() || !port.Acquire() || !port.Release() ||
        !mutex.Release() || !file.Release()) {
      state.SkipWithError("a system call failed");
      break;
    }
  }
}

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

// Who this process is: read at each Acquire, whatever the policy, and no part of any floor.
void DescribeSelf(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(soleguard::DescribeSelf());
}

BENCHMARK_CAPTURE(Guard, file, "file")->Unit(benchmark::kMicrosecond);
BENCHMARK(FloorOfFile)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Guard, mutex, "mutex")->Unit(benchmark::kMicrosecond);
BENCHMARK(FloorOfMutex)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Guard, port, "port")->Unit(benchmark::kMicrosecond);
BENCHMARK(FloorOfPort)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Guard, all, "all(file, mutex, port)")->Unit(benchmark::kMicrosecond);
BENCHMARK(FloorOfAll)->Unit(benchmark::kMicrosecond);
BENCHMARK(DescribeSelf)->Unit(benchmark::kMicrosecond);
BENCHMARK(BoostFileLock)->Unit(benchmark::kMicrosecond);

}  // namespace

// Rounds of all in random order, unless the command line says otherwise: what is compared meets the
// same machine.
int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  std::string interleaved = "--benchmark_enable_random_interleaving=true";
  arguments.insert(arguments.begin() + 1, interleaved.data());
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 64;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

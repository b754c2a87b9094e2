// The scan layer beside the floor, over a table with a thousand processes of one program: a walk
// that looks for another program, one that looks for a script, and one that looks for that program
// with other arguments, so that a thousand command lines have to be read. The floor is getdents64
// and fstatat(PID/exe) alone, in the same run; the second floor reads those command lines too. A
// census is one check of guardcheck watch: the layers of the default policy, and such a walk.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <soleguard/census.h>
#include <soleguard/guard.h>
#include <soleguard/layer.h>
#include <soleguard/name.h>
#include <soleguard/options.h>
#include <soleguard/registry.h>

namespace {

using Words = std::vector<std::string>;

constexpr int kProcesses = 1000;

pid_t Spawn(Words words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  if (posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0) std::abort();
  return pid;
}

// A thousand processes that wait. As they are this process's children, they are never a match;
// those that look like the subject cost all that a match costs up to that point.
class Crowd {
 public:
  Crowd() {
    for (int i = 0; i < kProcesses; ++i) pids_.push_back(Spawn({"sleep", "600"}));
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  pid_t any() const { return pids_.front(); }
  ~Crowd() {
    for (const pid_t pid : pids_) (void)kill(pid, SIGKILL);
    for (const pid_t pid : pids_) (void)waitpid(pid, nullptr, 0);
  }

 private:
  std::vector<pid_t> pids_;
};

int Entries() {
  int count = 0;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc"), &closedir);
  while (const dirent* entry = readdir(directory.get())) {
    count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? 1 : 0;
  }
  return count;
}

void PerProcess(benchmark::State& state, int processes) {
  using benchmark::Counter;
  state.counters["processes"] = processes;
  state.counters["each"] = Counter(static_cast<double>(state.iterations()) * processes,
                                   Counter::kIsRate | Counter::kInvert);
}

// One walk in raw system calls: visit(descriptor of /proc, name of the entry) for each process.
template <typename Visit>
void Walk(std::vector<char>& buffer, Visit visit) {
  const int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  while (true) {
    const long got = syscall(SYS_getdents64, proc, buffer.data(), buffer.size());
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      std::array<unsigned short, 1> length{};
      constexpr std::ptrdiff_t kLengthAt = 16;  // d_reclen of linux_dirent64 (getdents(2))
      constexpr std::ptrdiff_t kNameAt = 19;
      std::memcpy(length.data(), buffer.data() + at + kLengthAt, sizeof length);
      const char* name = buffer.data() + at + kNameAt;
      at += length[0];
      if (name[0] >= '1' && name[0] <= '9') visit(proc, name);
    }
  }
  (void)close(proc);
}

// "PID/exe"
std::array<char, 32> PathOf(const char* name, const char* file) {
  std::array<char, 32> path{};
  std::memcpy(path.data(), name, std::strlen(name));
  std::memcpy(path.data() + std::strlen(name), file, std::strlen(file));
  return path;
}

// Whether the process executes `wanted`.
bool Executes(int proc, const char* name, const struct stat& wanted) {
  struct stat status = {};
  return fstatat(proc, PathOf(name, "/exe").data(), &status, 0) == 0 &&
         status.st_ino == wanted.st_ino && status.st_dev == wanted.st_dev;
}

void Floor(benchmark::State& state) {
  const int processes = Entries();
  struct stat wanted = {};
  if (stat("/proc/self/exe", &wanted) != 0) std::abort();
  std::vector<char> buffer(1 << 16);
  for ([[maybe_unused]] auto _ : state) {
    int hits = 0;
    Walk(buffer, [&](int proc, const char* name) { hits += Executes(proc, name, wanted) ? 1 : 0; });
    benchmark::DoNotOptimize(hits);
  }
  PerProcess(state, processes);
}

// Looks for the crowd's own program: what tells a thousand processes of one program apart is their
// arguments, and there is no way to them but to open, read and close.
void FloorWithArguments(benchmark::State& state, pid_t of_crowd) {
  const int processes = Entries();
  struct stat wanted = {};
  if (stat(PathOf("/proc/", std::to_string(of_crowd).append("/exe").c_str()).data(), &wanted) !=
      0) {
    std::abort();
  }
  std::vector<char> buffer(1 << 16);
  std::array<char, 4096> arguments{};
  for ([[maybe_unused]] auto _ : state) {
    Walk(buffer, [&](int proc, const char* name) {
      if (!Executes(proc, name, wanted)) return;
      const int fd = openat(proc, PathOf(name, "/cmdline").data(), O_RDONLY | O_CLOEXEC);
      benchmark::DoNotOptimize(read(fd, arguments.data(), arguments.size()));
      (void)close(fd);
    });
  }
  PerProcess(state, processes);
}

// A scope of the benchmark's own, gone with it.
class Directory {
 public:
  Directory() {
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;  // a leftover in /tmp changes no figure
    std::filesystem::remove_all(path_, ignored);
  }
  soleguard::Scope scope() const { return *soleguard::Scope::Directory(path_); }

 private:
  std::string path_ = "/tmp/soleguard-bench-XXXXXX";
};

void Scan(benchmark::State& state, const Words& subject) {
  const Directory directory;
  const int processes = Entries();
  const auto layer = soleguard::FindLayerKind("scan")->make(
      {.scope = directory.scope(),
       .name = *soleguard::InstanceName::Parse("bench"),
       .parameters = {},
       .subject = {.argv = subject, .working_directory = "/"},
       .kinds = soleguard::LayerKinds()});
  for ([[maybe_unused]] auto _ : state) {
    soleguard::Attempt attempt = layer->Try({});
    if (!std::holds_alternative<soleguard::Held>(attempt)) std::abort();
  }
  PerProcess(state, processes);
}

void ScanForAnother(benchmark::State& state) { Scan(state, {"cat", "a"}); }
void ScanForAScript(benchmark::State& state) { Scan(state, {"/usr/bin/python3", "/etc/passwd"}); }
void ScanForTheSameProgram(benchmark::State& state) { Scan(state, {"sleep", "601"}); }

// One check of guardcheck watch: every layer of the default policy is looked at, and the table for
// copies of `subject`, while this process holds the name.
void Census(benchmark::State& state, const Words& subject) {
  const Directory directory;
  const int processes = Entries();
  soleguard::Options options;
  options.scope = *directory.scope().WithStateDirectory(directory.scope().directory() + "/state");
  const soleguard::Verdict verdict = soleguard::Guard::Acquire("bench", options);
  if (!std::holds_alternative<soleguard::Unique>(verdict)) std::abort();
  options.subject = {.argv = subject, .working_directory = "/"};
  for ([[maybe_unused]] auto _ : state) {
    const auto census = soleguard::TakeCensus("bench", soleguard::Policy::Default(), options);
    if (!census.ok() || !census->blind.ok() || census->holders.size() != 1) std::abort();
  }
  PerProcess(state, processes);
}

void CensusForAnother(benchmark::State& state) { Census(state, {"cat", "a"}); }
void CensusForAScript(benchmark::State& state) {
  Census(state, {"/usr/bin/python3", "/etc/passwd"});
}
void CensusForTheSameProgram(benchmark::State& state) { Census(state, {"sleep", "601"}); }

void RegisterAgain(benchmark::State& state) {
  const Directory directory;
  soleguard::Options options;
  options.scope = directory.scope();
  if (!soleguard::Announce("bench", options).ok()) std::abort();
  for ([[maybe_unused]] auto _ : state) {
    if (!soleguard::Announce("bench", options).ok()) std::abort();
  }
}

BENCHMARK(Floor)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(ScanForAnother)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(ScanForAScript)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(ScanForTheSameProgram)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(CensusForAnother)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(CensusForAScript)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(CensusForTheSameProgram)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(RegisterAgain)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace

// Rounds of all in random order, unless the command line says otherwise.
int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  std::string interleaved = "--benchmark_enable_random_interleaving=true";
  arguments.insert(arguments.begin() + 1, interleaved.data());
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  const Crowd crowd;
  benchmark::RegisterBenchmark("FloorWithArguments", &FloorWithArguments, crowd.any())
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
  benchmark::RunSpecifiedBenchmarks();
}

// wrap_bench: what it costs to run a command under a guard, measured on whole processes: plain
// `true`, the floor (floor/wrap_floor.cc), flock(1), `guardcheck run` and `guardcheck run --exec`.
//
// All are started in turn within each round, and each round begins with another one: what else the
// machine does meets all of them alike. Figures are medians. The programs of this build are
// measured as copies: what a linker wrote piece by piece lies in small pieces in the page cache and
// starts about 100 us more slowly than an installed file.
//
// It measures and judges nothing: the exit code is 0 whatever the figures are.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace {

using Words = std::vector<std::string>;
using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;

// What is measured, and what came out, a number per round, in microseconds.
struct Subject {
  std::string name;
  Words command;
  std::vector<double> wall = {};  // from the start to the end, as who waits for it sees it
  std::vector<double> cpu = {};   // user and system, of it and of every process that it waited for
};

struct Settings {
  std::string guardcheck = SOLEGUARD_BENCH_GUARDCHECK;
  std::string against;
  std::string directory;
  std::size_t rounds = 300;
};

// Beyond this, the slowest tenth of plain `true` says that the machine did other things too.
constexpr double kNoisy = 1.5;
constexpr int kWarmUps = 5;

// A lock file's usual place is a tmpfs (/run/lock). Programs cannot run from every one.
std::string DefaultDirectory() {
  return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

class TempDir {
 public:
  explicit TempDir(const std::string& parent) : path_(parent + "/wrap_bench-XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) {
      throw std::system_error(errno, std::system_category(), "mkdtemp " + path_);
    }
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;  // at worst a directory stays in the temporary one
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

double InMicroseconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
}

// Starts a program whose messages nobody wants to read 300 times.
class Spawner {
 public:
  Spawner() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  }
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;
  ~Spawner() { posix_spawn_file_actions_destroy(&actions_); }

  pid_t Spawn(const std::vector<char*>& arguments) const {
    pid_t child = 0;
    const int error =
        posix_spawnp(&child, arguments[0], &actions_, nullptr, arguments.data(), environ);
    if (error != 0) throw std::system_error(error, std::system_category(), arguments[0]);
    return child;
  }

 private:
  posix_spawn_file_actions_t actions_ = {};
};

// Runs it once.
void Measure(const Spawner& spawner, Subject& subject, bool keep) {
  std::vector<char*> arguments;
  for (std::string& word : subject.command) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  const Clock::time_point begin = Clock::now();
  const pid_t child = spawner.Spawn(arguments);
  int status = 0;
  rusage used = {};
  if (wait4(child, &status, 0, &used) != child) {
    throw std::system_error(errno, std::system_category(), "wait4");
  }
  const Microseconds wall = Clock::now() - begin;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error(subject.name + " failed, wait status " + std::to_string(status));
  }
  if (!keep) return;
  subject.wall.push_back(wall.count());
  subject.cpu.push_back(InMicroseconds(used.ru_utime) + InMicroseconds(used.ru_stime));
}

// The value below which `share` of the values are. Sorts a copy.
double Quantile(std::vector<double> values, double share) {
  const auto wanted = values.begin() + std::lround(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), wanted, values.end());
  return *wanted;
}
double Median(const std::vector<double>& values) { return Quantile(values, 0.5); }

// `guardcheck run NAME` of `program`, each name with the options that keep the benchmark to itself.
Words Guarded(const TempDir& directory, const std::string& program, const std::string& name,
              bool exec) {
  Words words = {program,
                 "run",
                 name,
                 "--policy",
                 "file",
                 "--scope",
                 directory / "scope",
                 "--state-dir",
                 directory / "state"};
  if (exec) words.emplace_back("--exec");
  words.insert(words.end(), {"--", "true"});
  return words;
}

std::string Copy(const std::string& program, const std::string& copy) {
  std::filesystem::copy_file(program, copy);
  return copy;
}

Settings Parse(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(option + " needs a value");
    const std::string value = argv[++i];
    if (option == "--rounds") {
      settings.rounds = std::stoul(value);
    } else if (option == "--guardcheck") {
      settings.guardcheck = value;
    } else if (option == "--against") {
      settings.against = value;
    } else if (option == "--directory") {
      settings.directory = value;
    } else {
      throw std::invalid_argument("unknown option " + option);
    }
  }
  if (settings.rounds == 0) throw std::invalid_argument("--rounds must be 1 or more");
  return settings;
}

void Report(const std::vector<Subject>& subjects) {
  std::printf("%-28s %10s %10s %10s %10s\n", "", "median", "10 %", "90 %", "CPU");
  for (const Subject& subject : subjects) {
    std::printf("%-28s %7.0f us %7.0f us %7.0f us %7.0f us\n", subject.name.c_str(),
                Median(subject.wall), Quantile(subject.wall, 0.1), Quantile(subject.wall, 0.9),
                Median(subject.cpu));
  }
}

void Run(const Settings& settings) {
  // The same for all, and short: each of them looks for `true` in it.
  (void)setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
  const TempDir programs(std::filesystem::temp_directory_path());
  const TempDir directory(settings.directory.empty() ? DefaultDirectory() : settings.directory);
  const std::string guardcheck = Copy(settings.guardcheck, programs / "guardcheck");
  const std::string floor = Copy(SOLEGUARD_BENCH_FLOOR, programs / "wrap_floor");

  enum : std::size_t { kTrue, kFloor, kFlock, kRun, kExec, kAgainst };
  std::vector<Subject> subjects = {
      {"true", {"true"}},
      {"floor", {floor, directory / "floor", "true"}},
      {"flock -n F true", {"flock", "-n", directory / "F", "true"}},
      {"guardcheck run", Guarded(directory, guardcheck, "x", false)},
      {"guardcheck run --exec", Guarded(directory, guardcheck, "exec", true)},
  };
  if (!settings.against.empty()) {
    subjects.push_back(
        {"guardcheck run, --against",
         Guarded(directory, Copy(settings.against, programs / "against"), "y", false)});
  }

  const Spawner spawner;
  for (int i = 0; i < kWarmUps; ++i) {
    for (Subject& subject : subjects) Measure(spawner, subject, /*keep=*/false);
  }
  for (std::size_t round = 0; round < settings.rounds; ++round) {
    for (std::size_t i = 0; i < subjects.size(); ++i) {
      Measure(spawner, subjects[(round + i) % subjects.size()], /*keep=*/true);
    }
  }

  Report(subjects);
  const double flock = Median(subjects[kFlock].wall);
  const double run = Median(subjects[kRun].wall);
  std::printf("\n%-28s %7.2f   (CPU %.2f)\n", "run / flock", run / flock,
              Median(subjects[kRun].cpu) / Median(subjects[kFlock].cpu));
  std::printf("%-28s %7.0f us   (run - run --exec)\n", "cost of the guardian",
              run - Median(subjects[kExec].wall));
  if (!settings.against.empty()) {
    std::printf("%-28s %7.2f\n", "run / run, --against", run / Median(subjects[kAgainst].wall));
  }
  std::printf("%zu rounds, interleaved; again: wrap_bench --rounds %zu\n", settings.rounds,
              settings.rounds);
  const double spread = Quantile(subjects[kTrue].wall, 0.9) / Median(subjects[kTrue].wall);
  if (spread > kNoisy) {
    std::printf(
        "warning: the machine was busy (a tenth of the plain runs took more than %.1f times "
        "their median); measure again\n",
        spread);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  try {
    settings = Parse(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr,
                 "wrap_bench: %s\n"
                 "usage: wrap_bench [--rounds N] [--directory DIR] [--guardcheck PATH] "
                 "[--against PATH]\n"
                 "  --directory  where locks are taken (default: /dev/shm, a tmpfs)\n"
                 "  --against    another build of guardcheck, measured in the same rounds\n",
                 error.what());
    return EXIT_FAILURE;
  }
  try {
    Run(settings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "wrap_bench: %s\n", error.what());
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}

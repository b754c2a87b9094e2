// What could be under the mutex layer: acquire and release of each candidate, uncontended, opened
// anew each time as a starting program does.
#include <fcntl.h>
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include <benchmark/benchmark.h>
#include <boost/interprocess/sync/named_mutex.hpp>

namespace {

std::string Unique(const char* what) {
  return std::string("soleguard-bench-") + what + "-" + std::to_string(getpid());
}

void SystemVSemaphore(benchmark::State& state) {
  const key_t key = 0x50000000 | getpid();
  int id = -1;
  for ([[maybe_unused]] auto _ : state) {
    id = semget(key, 1, IPC_CREAT | 0600);
    std::array<sembuf, 2> take = {sembuf{0, 0, IPC_NOWAIT}, sembuf{0, 1, IPC_NOWAIT | SEM_UNDO}};
    if (semop(id, take.data(), take.size()) != 0) std::abort();
    sembuf give = {0, -1, IPC_NOWAIT | SEM_UNDO};
    if (semop(id, &give, 1) != 0) std::abort();
  }
  (void)semctl(id, 0, IPC_RMID);
}
BENCHMARK(SystemVSemaphore);

void RobustMutex(benchmark::State& state) {
  const std::string name = "/" + Unique("robust");
  const int made = shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
  if (made < 0 || ftruncate(made, 4096) != 0) std::abort();
  pthread_mutexattr_t attributes;
  (void)pthread_mutexattr_init(&attributes);
  (void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  (void)pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0);
  (void)pthread_mutex_init(static_cast<pthread_mutex_t*>(page), &attributes);
  (void)munmap(page, 4096);
  (void)close(made);
  for ([[maybe_unused]] auto _ : state) {
    const int fd = shm_open(name.c_str(), O_RDWR, 0600);
    void* map = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    auto* mutex = static_cast<pthread_mutex_t*>(map);
    if (pthread_mutex_trylock(mutex) != 0) std::abort();
    (void)pthread_mutex_unlock(mutex);
    (void)munmap(map, 4096);
    (void)close(fd);
  }
  (void)shm_unlink(name.c_str());
}
BENCHMARK(RobustMutex);

void BoostNamedMutex(benchmark::State& state) {
  namespace ipc = boost::interprocess;
  const std::string name = Unique("named");
  for ([[maybe_unused]] auto _ : state) {
    ipc::named_mutex mutex(ipc::open_or_create, name.c_str());
    if (!mutex.try_lock()) std::abort();
    mutex.unlock();
  }
  (void)ipc::named_mutex::remove(name.c_str());
}
BENCHMARK(BoostNamedMutex);

}  // namespace

BENCHMARK_MAIN();

// Who runs, as something knows it that soleguard has nothing to do with.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cerrno>

namespace soleguard::testing {

// For memory that processes share (Shared). A mutex, of which the kernel tells that its owner has
// died: before the files, sockets and semaphores of that process are free.
struct Referee {
  Referee() {
    pthread_mutexattr_t attributes;
    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    (void)pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    (void)pthread_mutex_init(&running, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
  }
  // The calling thread's process runs, from now until Leave or the end of the thread.
  void Enter() {
    const int taken = pthread_mutex_trylock(&running);
    if (taken == EOWNERDEAD) (void)pthread_mutex_consistent(&running);
    if (taken != 0 && taken != EOWNERDEAD) ++overlaps;
    ++entered;
  }
  // Does nothing for who did not get in alone.
  void Leave() { (void)pthread_mutex_unlock(&running); }

  pthread_mutex_t running{};
  std::atomic<int> entered = 0;
  std::atomic<int> overlaps = 0;
  std::atomic<int> verdicts = 0;  // of starts, whatever they were told
};

}  // namespace soleguard::testing

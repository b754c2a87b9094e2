#include <pthread.h>
#include <signal.h>

#include <system_error>
#include <thread>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/os.h"
#include "soleguard/watch.h"

namespace soleguard {

absl::Status RunInThread(std::function<void()> body) {
  // Blocked before the thread is there, which inherits the mask: it has no moment in which a signal
  // of the program could end up in it.
  sigset_t all;
  sigset_t own;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &own);  // fails for an unknown `how` only
  absl::Status started;
  try {
    std::thread(std::move(body)).detach();
  } catch (const std::system_error& error) {
    started = os::ErrnoStatus(error.code().value(), "start a thread");
  }
  (void)pthread_sigmask(SIG_SETMASK, &own, nullptr);
  return started;
}

}  // namespace soleguard

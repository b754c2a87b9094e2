// Threads of the library's own.
#pragma once

#include <functional>
#include <thread>

#include <absl/status/statusor.h>

namespace soleguard::os {

// Runs `body` in a thread that is to be joined or detached. All signals are blocked in it.
// ResourceExhausted when there can be no more threads.
absl::StatusOr<std::thread> StartThread(std::function<void()> body);

// Whether the calling process has no other thread. False also when that cannot be seen.
bool IsOnlyThread();

}  // namespace soleguard::os

// Whether something happens that shall not.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace soleguard::testing {

// Whether `flag` becomes true within 300 ms: longer than it takes what does not wait as it should.
inline bool BecomesTrue(const std::atomic<bool>& flag) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (!flag && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  return flag;
}

}  // namespace soleguard::testing

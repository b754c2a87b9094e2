#include "system.h"

#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>

#include <absl/time/time.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"

namespace guardcheck {
namespace {

using soleguard::UniqueFd;

TEST(RetryOnEintr, RepeatsWhatASignalInterruptedAndNothingElse) {
  int calls = 0;
  const auto interrupted_twice = [&calls] {
    errno = EINTR;
    return ++calls < 3 ? -1 : 7;
  };
  EXPECT_EQ(RetryOnEintr(interrupted_twice), 7);
  EXPECT_EQ(calls, 3);

  calls = 0;
  const auto refused = [&calls] {
    ++calls;
    errno = EAGAIN;
    return -1;
  };
  EXPECT_EQ(RetryOnEintr(refused), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(calls, 1);
}

TEST(ReadSomeAndWriteSome, MoveAllBytesByPieces) {
  UniqueFd read_end;
  UniqueFd write_end;
  ASSERT_TRUE(MakePipe(read_end, write_end));
  ASSERT_TRUE(MakeNonBlocking(write_end));
  std::string sent;
  for (int i = 0; i < 50'000; ++i) sent += std::to_string(i);  // more than a pipe has room for
  std::string_view rest = sent;
  std::string got;
  while (!rest.empty()) {
    if (!WriteSome(write_end.get(), rest)) {
      ASSERT_EQ(errno, EAGAIN);
      ASSERT_FALSE(AwaitOne(write_end.get(), POLLOUT, absl::ZeroDuration()));
    }
    const std::size_t before = got.size();
    ASSERT_GT(ReadSome(read_end.get(), got, 4000), 0);
    ASSERT_LE(got.size() - before, 4000U);
  }
  write_end.reset();
  while (ReadSome(read_end.get(), got) > 0) {
  }
  EXPECT_EQ(got, sent);
}

TEST(Poll, WaitsNoShorterThanItIsTold) {
  constexpr absl::Duration kWait = absl::Microseconds(1500);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(AwaitOne(-1, POLLIN, kWait));
  EXPECT_GE(absl::FromChrono(std::chrono::steady_clock::now() - begin), kWait);
}

}  // namespace
}  // namespace guardcheck

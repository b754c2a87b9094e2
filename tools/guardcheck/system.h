// System calls that more than one part of guardcheck makes: interrupted ones repeated, descriptors
// owned and close-on-exec from the start.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <absl/time/time.h>

#include <soleguard/fd.h>
#include <soleguard/retry_on_eintr.h>

namespace guardcheck {

using soleguard::RetryOnEintr;

// Appends what read(2) gives, at most `at_most` bytes or 64 KiB; returns its result. Blocks where
// `fd` does.
ssize_t ReadSome(int fd, std::string& text, std::size_t at_most = 65536);

// Writes what write(2) takes, and drops that from `rest`. False: an error, and errno says which.
bool WriteSome(int fd, std::string_view& rest);

// False: an error, and errno says which.
bool MakePipe(soleguard::UniqueFd& read_end, soleguard::UniqueFd& write_end);
// Of sockets that keep message boundaries.
bool MakeSocketPair(soleguard::UniqueFd& one, soleguard::UniqueFd& other);
bool MakeNonBlocking(const soleguard::UniqueFd& fd);

// Waits until one of them is ready, but not longer than `at_most`, rounded up to milliseconds: the
// last one is not spent in a loop. How many are ready; 0 too when a signal came; negative: an
// error. Negative numbers among them are passed over.
int Poll(std::span<pollfd> polled, absl::Duration at_most);
// The same for one.
bool AwaitOne(int fd, std::int16_t events, absl::Duration at_most);

}  // namespace guardcheck

// Follows a log file as tail -F does: lines as they are written, over rotation.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <soleguard/fd.h>
#include <soleguard/process_identity.h>

namespace guardcheck {

// Starts at the end of what is there. A file that does not exist yet is waited for, and read from
// its begin. Rotation is followed by rename (the old file is read on until the next rotation, as
// its writer may still have it open) and by truncation; one that is truncated and grows beyond what
// was read between two calls of Read is not told from one that grew. Not thread-safe.
class LogFollower {
 public:
  // Opens the file at the path for reading. NotFound: there is none.
  using Opener = std::function<absl::StatusOr<soleguard::UniqueFd>()>;
  // `open`: instead of a plain open(2), for a path where not every file is to be followed.
  explicit LogFollower(std::string path, Opener open = {});

  // Readable when it is worth calling Read. Invalid where the system has no event to give: then it
  // has to be asked now and then.
  const soleguard::UniqueFd& changes() const { return changes_; }

  enum class Change { kAppeared, kReplaced, kTruncated, kVanished };
  struct News {
    std::vector<Change> changes;
    bool more = false;    // not all was read: call it again
    absl::Status status;  // why the file cannot be read; OK also while it does not exist
  };
  // Calls visit(line) for each line that is complete since the last call, without its end. Lines
  // are raw bytes; of one longer than kMaxLine only so much is visited. Reads at most kMaxRead
  // bytes. Does not block.
  News Read(const std::function<void(std::string_view line)>& visit);

  static constexpr std::size_t kMaxLine = std::size_t{1} << 20;
  static constexpr std::size_t kMaxRead = std::size_t{16} << 20;

 private:
  struct Source {
    soleguard::UniqueFd fd;
    soleguard::FileIdentity file;
    std::uint64_t offset = 0;
    std::string partial;
    bool skips = false;  // the rest of a line that was too long
  };
  using Visit = std::function<void(std::string_view)>;

  // Of the file at the path now; without `fd` when there is none.
  absl::Status Open(std::optional<Source>& source) const;
  void WatchFile(const Source& source) const;
  void WatchDirectory() const;
  static void Take(Source& source, std::string_view bytes, const Visit& visit);
  static void Flush(Source& source, const Visit& visit);
  void Drain(Source& source, const Visit& visit, std::size_t& budget, News& news) const;
  // The file at the path becomes the current one.
  void TakeUp(const Visit& visit, std::size_t& budget, News& news);
  // The current one was renamed away, or removed.
  void Retire(const Visit& visit);

  const std::string path_;
  const Opener open_;
  soleguard::UniqueFd changes_;
  std::optional<Source> current_;
  std::optional<Source> previous_;  // renamed away
};

}  // namespace guardcheck

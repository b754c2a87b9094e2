#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <absl/strings/str_cat.h>

#include "shown.h"
#include "soleguard/process.h"
#include "system.h"
#include "watcher/log_follower.h"

namespace guardcheck {
namespace {

using soleguard::FileIdentity;
using soleguard::UniqueFd;

absl::Status Error(int error, const std::string& what) { return absl::ErrnoToStatus(error, what); }

FileIdentity IdentityOf(const struct stat& status) {
  return {.device = status.st_dev, .inode = status.st_ino};
}

absl::StatusOr<UniqueFd> OpenPlainly(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return Error(errno, "open " + Escape(path).text());
  return fd;
}

std::string Above(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

LogFollower::LogFollower(std::string path, Opener open)
    : path_(std::move(path)),
      open_(open ? std::move(open) : [this] { return OpenPlainly(path_); }),
      changes_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  // Before the file is opened: what happens in between is then told.
  WatchDirectory();
  if (!Open(current_).ok() || !current_.has_value()) return;
  WatchFile(*current_);
  struct stat status = {};
  if (fstat(current_->fd.get(), &status) == 0) {
    current_->offset = static_cast<std::uint64_t>(status.st_size);
  }
}

// The directory of the file, or the nearest one above it, in which the way there will be made.
void LogFollower::WatchDirectory() const {
  if (!changes_) return;
  const auto watch = [this](const std::string& directory) {
    return inotify_add_watch(changes_.get(), directory.c_str(),
                             IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR) >= 0;
  };
  std::vector<std::string> missing;
  for (std::string directory = Above(path_); !watch(directory); directory = Above(directory)) {
    missing.push_back(directory);
    if (directory == "/" || directory == ".") return;
  }
  // The race: the next one is made before the one above it is watched.
  while (!missing.empty() && watch(missing.back())) missing.pop_back();
}

void LogFollower::WatchFile(const Source& source) const {
  if (!changes_) return;
  // By its descriptor: the path may be another's by now.
  (void)inotify_add_watch(changes_.get(), absl::StrCat("/proc/self/fd/", source.fd.get()).c_str(),
                          IN_MODIFY);
}

absl::Status LogFollower::Open(std::optional<Source>& source) const {
  source.reset();
  absl::StatusOr<UniqueFd> fd = open_();
  if (absl::IsNotFound(fd.status())) return absl::OkStatus();
  if (!fd.ok()) return fd.status();
  const std::string shown = Escape(path_).text();
  struct stat status = {};
  if (fstat(fd->get(), &status) != 0) return Error(errno, "fstat " + shown);
  if (!S_ISREG(status.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(shown, " is no regular file"));
  }
  source = Source();
  source->fd = *std::move(fd);
  source->file = IdentityOf(status);
  return absl::OkStatus();
}

void LogFollower::Take(Source& source, std::string_view bytes, const Visit& visit) {
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    const bool complete = end < bytes.size();
    if (!source.skips) {
      source.partial.append(bytes.substr(0, std::min(end, kMaxLine - source.partial.size())));
      if (complete || source.partial.size() == kMaxLine) {
        visit(source.partial);
        source.partial.clear();
        source.skips = !complete;
      }
    } else if (complete) {
      source.skips = false;
    }
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
}

void LogFollower::Flush(Source& source, const Visit& visit) {
  if (!source.partial.empty()) visit(std::exchange(source.partial, {}));
  source.skips = false;
}

void LogFollower::Drain(Source& source, const Visit& visit, std::size_t& budget, News& news) const {
  struct stat status = {};
  if (fstat(source.fd.get(), &status) != 0) {
    news.status = Error(errno, "fstat " + Escape(path_).text());
    return;
  }
  if (static_cast<std::uint64_t>(status.st_size) < source.offset) {
    Flush(source, visit);
    source.offset = 0;
    news.changes.push_back(Change::kTruncated);
  }
  std::array<char, 65536> buffer{};
  while (budget > 0) {
    const ssize_t got = RetryOnEintr([&] {
      return pread(source.fd.get(), buffer.data(), std::min(buffer.size(), budget),
                   static_cast<off_t>(source.offset));
    });
    if (got < 0) news.status = Error(errno, "read " + Escape(path_).text());
    if (got <= 0) return;
    const auto size = static_cast<std::size_t>(got);
    Take(source, {buffer.data(), size}, visit);
    source.offset += size;
    budget -= size;
  }
  news.more = true;
}

void LogFollower::Retire(const Visit& visit) {
  if (!current_.has_value()) return;
  if (previous_.has_value()) Flush(*previous_, visit);
  previous_ = std::exchange(current_, std::nullopt);
}

LogFollower::News LogFollower::Read(const Visit& visit) {
  News news;
  std::array<char, 4096> events{};
  while (changes_ && read(changes_.get(), events.data(), events.size()) > 0) {
    // What happened is looked at below: events can be lost when there are too many (inotify(7)).
  }
  // Before the look: where more of the way to the file is made after it, that is an event.
  if (!current_.has_value()) WatchDirectory();
  std::size_t budget = kMaxRead;
  if (previous_.has_value()) Drain(*previous_, visit, budget, news);

  struct stat status = {};
  const bool exists = stat(path_.c_str(), &status) == 0;
  const int error = exists ? 0 : errno;
  // The race: renamed after this line. Its last lines are read below all the same, and the new file
  // at the next call, for which the rename is an event.
  if (current_.has_value()) Drain(*current_, visit, budget, news);
  if (news.more) return news;
  if (exists) {
    const bool is_the_same = current_.has_value() && current_->file == IdentityOf(status);
    if (!is_the_same) TakeUp(visit, budget, news);
  } else if (error != ENOENT) {
    news.status = Error(error, "stat " + Escape(path_).text());
  } else if (current_.has_value()) {
    news.changes.push_back(Change::kVanished);
    Retire(visit);
  }
  return news;
}

void LogFollower::TakeUp(const Visit& visit, std::size_t& budget, News& news) {
  std::optional<Source> next;
  absl::Status opened = Open(next);
  if (!opened.ok()) news.status = std::move(opened);
  if (!next.has_value()) return;
  const bool had_one = current_.has_value() || previous_.has_value();
  news.changes.push_back(had_one ? Change::kReplaced : Change::kAppeared);
  Retire(visit);
  current_ = std::move(next);
  WatchDirectory();  // its directory may be another one, too
  WatchFile(*current_);
  Drain(*current_, visit, budget, news);
}

}  // namespace guardcheck

// The catalogue of events against the kernel: each event that a test can make happen, and what it
// does to each exclusive layer. What `guardcheck explain` says rests on it.
#include "soleguard/event.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/program.h"
#include "support/system_v.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Claimant;

// Some layers with all forms, as policy text; PATH stands for a file beside the scope.
const std::vector<std::string> kLayers = {"file", "file(path=PATH)", "mutex", "port"};

class EventTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, for namespaces and mounts";
  }

  struct Tried {
    std::string layer;
    testing::TempDir directory{};
    std::string scope() const { return directory / "scope"; }
    std::string path() const { return directory / "plain.lock"; }
    Policy policy() const {
      std::string text = layer;
      if (const auto at = text.find("PATH"); at != std::string::npos) {
        text.replace(at, 4, path());
      }
      return *Policy::Parse(text);
    }
    // In the calling process: "held", "contested" or "unavailable: …".
    std::string Try() const { return Try(scope()); }
    std::string Try(const std::string& path_of_scope) const {
      const Verdict verdict = Guard::Acquire(
          "x", policy(),
          {.scope = *Scope::Directory(path_of_scope)->WithStateDirectory(scope() + "/s"),
           .settle = absl::ZeroDuration()});
      if (std::holds_alternative<Unique>(verdict)) return "held";
      if (std::holds_alternative<Duplicate>(verdict)) return "contested";
      return absl::StrCat("unavailable: ", std::get<Undetermined>(verdict).status.message());
    }
    // What refuses beside the mechanism: an effect is the mechanism's alone.
    void ForgetRecords() const {
      std::error_code missing;
      for (const char* record : {"record", "record.port"}) {
        std::filesystem::remove(absl::StrCat(scope(), "/names/x/", record), missing);
      }
      std::filesystem::remove(path() + ".record", missing);
      (void)testing::RemoveSegment(scope(), "x");
    }
    Effect effect(Event event) const {
      const Policy parsed = policy();
      const LayerSpec& spec = parsed.layers().front();
      return spec.kind->effect(event, spec.parameters);
    }
  };

  // A holder runs, whose records are gone. The event happens to it, or to the newcomer before it
  // tries: who is blinded holds the layer too.
  static void ExpectBlindsAsSaid(
      Event event, const std::function<void(Tried&, Claimant&)>& to_holder,
      const std::function<std::string(const Tried&)>& newcomer = [](const Tried& tried) {
        return testing::InChild([&] { return tried.Try(); });
      }) {
    for (const std::string& layer : kLayers) {
      SCOPED_TRACE(layer);
      Tried tried{.layer = layer};
      Claimant holder({.scope = tried.scope(), .policy = tried.policy().ToString()});
      ASSERT_TRUE(holder.unique()) << holder.verdict();
      to_holder(tried, holder);
      tried.ForgetRecords();
      const bool blinded = tried.effect(event) == Effect::kBlinds;
      EXPECT_EQ(newcomer(tried), blinded ? "held" : "contested");
    }
  }
  static void ExpectBlindsAsSaid(Event event,
                                 const std::function<bool(const Tried&)>& before_trying) {
    ExpectBlindsAsSaid(
        event, [](Tried&, Claimant&) {},
        [&](const Tried& tried) {
          return testing::InChild(
              [&] { return before_trying(tried) ? tried.Try() : "cannot make it happen"; });
        });
  }

  // Nobody holds the name.
  static void ExpectUnavailableAsSaid(Event event,
                                      const std::function<bool(const Tried&)>& before_trying) {
    for (const std::string& layer : kLayers) {
      SCOPED_TRACE(layer);
      const Tried tried{.layer = layer};
      const std::string said = testing::InChild(
          [&] { return before_trying(tried) ? tried.Try() : "cannot make it happen"; });
      if (tried.effect(event) == Effect::kUnavailable) {
        EXPECT_THAT(said, ::testing::StartsWith("unavailable: "));
      } else {
        EXPECT_EQ(said, "held");
      }
    }
  }

  static bool MountOver(const std::string& directory, const std::string& options) {
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount("none", directory.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
};

TEST_F(EventTest, LockFileDeleted) {
  ExpectBlindsAsSaid(Event::kLockFileDeleted, [](Tried& tried, Claimant&) {
    std::filesystem::remove(tried.path());
    std::filesystem::remove(tried.scope() + "/names/x/lock");
  });
}

TEST_F(EventTest, ScopeDirectoryRemoved) {
  ExpectBlindsAsSaid(Event::kScopeDirectoryRemoved,
                     [](Tried& tried, Claimant&) { std::filesystem::remove_all(tried.scope()); });
}

TEST_F(EventTest, DescriptorsClosed) {
  ExpectBlindsAsSaid(Event::kDescriptorsClosed, [](Tried&, Claimant& holder) {
    EXPECT_EQ(holder.Ask("closefrom"), "closed");
  });
}

TEST_F(EventTest, IpcRemoved) {
  ExpectBlindsAsSaid(Event::kIpcRemoved, [](Tried& tried, Claimant&) {
    (void)testing::RemoveSemaphore(tried.scope(), "x");
    (void)testing::RemoveSegment(tried.scope(), "x");
  });
}

TEST_F(EventTest, MountNamespace) {
  ExpectBlindsAsSaid(Event::kMountNamespace,
                     [](const Tried& tried) { return MountOver(tried.directory.path(), ""); });
}

TEST_F(EventTest, IpcNamespace) {
  ExpectBlindsAsSaid(Event::kIpcNamespace, [](const Tried&) { return unshare(CLONE_NEWIPC) == 0; });
}

TEST_F(EventTest, NetworkNamespace) {
  ExpectBlindsAsSaid(Event::kNetworkNamespace,
                     [](const Tried&) { return unshare(CLONE_NEWNET) == 0; });
}

TEST_F(EventTest, IpcAndNetworkNamespaces) {
  ExpectBlindsAsSaid(Event::kIpcAndNetworkNamespaces,
                     [](const Tried&) { return unshare(CLONE_NEWIPC | CLONE_NEWNET) == 0; });
}

TEST_F(EventTest, H36_TwoPaths) {
  ExpectBlindsAsSaid(
      Event::kTwoPaths, [](Tried&, Claimant&) {},
      [](const Tried& tried) {
        const std::string other = tried.directory / "other";
        std::filesystem::create_directory(other);
        return testing::InChild([&]() -> std::string {
          if (!MountOver(other, "") ||
              mount(tried.scope().c_str(), other.c_str(), nullptr, MS_BIND, nullptr) != 0) {
            return "cannot make it happen";
          }
          return tried.Try(other);
        });
      });
}

TEST_F(EventTest, PidNamespace) {
  ExpectBlindsAsSaid(
      Event::kPidNamespace, [](Tried&, Claimant&) {},
      [](const Tried& tried) { return testing::InNewPidNamespace([&] { return tried.Try(); }); });
}

TEST_F(EventTest, Container) {
  ExpectBlindsAsSaid(Event::kContainer, [](const Tried& tried) {
    return unshare(CLONE_NEWIPC | CLONE_NEWNET) == 0 && MountOver(tried.directory.path(), "");
  });
}

TEST_F(EventTest, ReadOnlyFilesystem) {
  ExpectUnavailableAsSaid(Event::kReadOnlyFilesystem, [](const Tried& tried) {
    // The scope's directory is there, or mutex could not tell who may share it either.
    return MountOver(tried.directory.path(), "") && mkdir(tried.scope().c_str(), 0700) == 0 &&
           mount("none", tried.directory.path().c_str(), "", MS_REMOUNT | MS_RDONLY, "") == 0;
  });
}

TEST_F(EventTest, DiskFull) {
  ExpectUnavailableAsSaid(Event::kDiskFull, [](const Tried& tried) {
    std::filesystem::create_directory(tried.scope());
    // Its root directory is the only inode that there may be.
    return MountOver(tried.scope(), "nr_inodes=1,mode=0700");
  });
}

TEST_F(EventTest, SemaphoresExhausted) {
  ExpectUnavailableAsSaid(Event::kSemaphoresExhausted, [](const Tried&) {
    if (unshare(CLONE_NEWIPC) != 0) return false;
    std::ofstream limits("/proc/sys/kernel/sem");
    limits << "250 32000 32 0" << std::flush;
    return limits.good();
  });
}

TEST_F(EventTest, DescriptorsExhausted) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer needs descriptors of its own";
#endif
  ExpectUnavailableAsSaid(Event::kDescriptorsExhausted, [](const Tried&) {
    (void)OwnIdentity();  // a program that is up has read it
    (void)DescribeSelf();
    const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)close(next);
    const auto open_files = static_cast<rlim_t>(next);
    const rlimit limit{.rlim_cur = open_files, .rlim_max = open_files};
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
  });
}

TEST_F(EventTest, NoLoopback) {
  ExpectUnavailableAsSaid(Event::kNoLoopback, [](const Tried&) {
    return unshare(CLONE_NEWNET) == 0 &&
           testing::RunProgram({.argv = {"sh", "-c", "ip link set lo up; ip address flush dev lo"}})
                   .code == 0;
  });
}

TEST_F(EventTest, PortSquatted) {
  const int foreign = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(foreign, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  ASSERT_EQ(listen(foreign, 1), 0);  // at all addresses, a port of the kernel's choice
  ASSERT_EQ(getsockname(foreign, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const Tried tried{.layer = absl::StrCat("port(", ntohs(address.sin_port), ")")};
  EXPECT_EQ(tried.effect(Event::kPortSquatted), Effect::kUnavailable);
  EXPECT_THAT(testing::InChild([&] { return tried.Try(); }),
              ::testing::StartsWith("unavailable: "));
  (void)close(foreign);
}

}  // namespace
}  // namespace soleguard

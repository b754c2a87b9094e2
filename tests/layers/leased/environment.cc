// The server that the conformance suite's leases are of.
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "layers/conformance.h"
#include "layers/leased/lease_server.h"

namespace soleguard::testing {
namespace {

class WithLeaseServer : public ::testing::Environment {
 public:
  void SetUp() override {
    server_.emplace(kTime);
    ServerOfSystem() = [] { return std::make_shared<LeaseServer>(kTime); };
  }
  void TearDown() override { server_.reset(); }

 private:
  // Short, as many a case waits for the end of one; long enough for a busy machine.
  static constexpr absl::Duration kTime = absl::Seconds(2);

  std::optional<LeaseServer> server_;
};

[[maybe_unused]] ::testing::Environment* const environment =
    ::testing::AddGlobalTestEnvironment(new WithLeaseServer);

}  // namespace
}  // namespace soleguard::testing

// The server that the conformance suite's leases are of.
#include <optional>

#include <gtest/gtest.h>

#include "layers/leased/lease_server.h"

namespace soleguard::testing {
namespace {

class WithLeaseServer : public ::testing::Environment {
 public:
  // Short, as many a case waits for the end of one; long enough for a busy machine.
  void SetUp() override { server_.emplace(absl::Seconds(2)); }
  void TearDown() override { server_.reset(); }

 private:
  std::optional<LeaseServer> server_;
};

[[maybe_unused]] ::testing::Environment* const environment =
    ::testing::AddGlobalTestEnvironment(new WithLeaseServer);

}  // namespace
}  // namespace soleguard::testing

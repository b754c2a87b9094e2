// A scope of a test's own under a policy of the file layer alone.
#pragma once

#include <memory>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/registry.h"
#include "support/test_scope.h"

namespace soleguard::testing {

class FileScope : public TestScope {
 public:
  FileScope() : TestScope("file") {}

  std::unique_ptr<Layer> MakeLayer() const {
    return FindLayerKind("file")->make(
        {.scope = scope(), .name = *InstanceName::Parse(kName), .parameters = {}, .subject = {}});
  }
  Sighting Look() const { return MakeLayer()->Look(); }
};

}  // namespace soleguard::testing

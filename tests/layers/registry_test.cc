// Kinds of layers that a program registers.
#include "soleguard/registry.h"

#include <memory>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/layer.h"
#include "soleguard/policy.h"

namespace soleguard {
namespace {

using ::testing::HasSubstr;

absl::Status TakesNothing(const LayerParameters& parameters) {
  return parameters.empty() ? absl::OkStatus() : absl::InvalidArgumentError("takes nothing");
}

std::unique_ptr<Layer> MakeNone(const LayerContext&) { return nullptr; }

LayerKind KindCalled(std::string_view name) {
  return {.name = name, .check = &TakesNothing, .make = &MakeNone};
}

std::vector<std::string> NamedPolicies() {
  std::vector<std::string> texts;
  for (const NamedPolicy& named : Policy::Named()) {
    texts.push_back(absl::StrCat(std::string(named.name), " = ", named.policy.ToString()));
  }
  return texts;
}

TEST(RegistryTest, TheNamedPoliciesAreLiteral) {
  const std::vector<std::string> kPinned = {"default = all(file, mutex, port)",
                                            "strict = all(file, mutex, port, scan)",
                                            "available = at_least(2, file, mutex, port)"};
  EXPECT_EQ(NamedPolicies(), kPinned);
  ASSERT_TRUE(RegisterLayerKind(KindCalled("aaa")).ok());
  EXPECT_EQ(NamedPolicies(), kPinned);
}

TEST(RegistryTest, ARegisteredKindIsKnownToPolicyText) {
  EXPECT_FALSE(Policy::Parse("all(file, mine)").ok());
  ASSERT_TRUE(RegisterLayerKind(KindCalled("mine")).ok());
  EXPECT_EQ(FindLayerKind("mine")->make, &MakeNone);
  EXPECT_EQ(Policy::Parse("all(file, mine)")->layers().back().kind, FindLayerKind("mine"));
  EXPECT_THAT(std::string(Policy::Parse("mine(1)").status().message()),
              HasSubstr("mine: takes nothing"));
}

// Two programs need not register in one order to ask in one order.
TEST(RegistryTest, TheOrderIsTheLibrarysThenByNameThenObservers) {
  LayerKind watcher = KindCalled("aa_watcher");
  watcher.observer = true;
  ASSERT_TRUE(RegisterLayerKind(watcher).ok());
  ASSERT_TRUE(RegisterLayerKind(KindCalled("second")).ok());
  ASSERT_TRUE(RegisterLayerKind(KindCalled("first")).ok());
  const Policy policy = *Policy::Parse("all(scan, second, aa_watcher, port, first, file)");
  std::vector<std::string> order;
  for (const LayerSpec& spec : policy.layers()) order.push_back(spec.ToString());
  EXPECT_THAT(order,
              ::testing::ElementsAre("file", "port", "first", "second", "scan", "aa_watcher"));
}

TEST(RegistryTest, RefusesWhatPolicyTextCouldNotName) {
  for (const std::string_view name : {"", "Mine", "a-b", "all", "any", "at_least", "veto",
                                      "default", "strict", "available", "a b"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(RegisterLayerKind(KindCalled(name)))) << name;
  }
  LayerKind unmade = KindCalled("unmade");
  unmade.make = nullptr;
  EXPECT_TRUE(absl::IsInvalidArgument(RegisterLayerKind(unmade)));
  EXPECT_TRUE(absl::IsAlreadyExists(RegisterLayerKind(KindCalled("file"))));
}

TEST(RegistryTest, ThereAre32AtMost) {
  static std::vector<std::string> names;  // they must live as long as the kinds
  names.reserve(40);
  absl::Status last;
  while (last.ok()) {
    names.push_back(absl::StrCat("kind_", names.size()));
    last = RegisterLayerKind(KindCalled(names.back()));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(last)) << last;
  EXPECT_EQ(LayerKinds().size(), 32U);
}

TEST(RegistryTest, TheCarrierCanBeHandedOn) {
  EXPECT_TRUE(CarrierKind().carries);
  EXPECT_EQ(CarrierKind().name, "file");
}

}  // namespace
}  // namespace soleguard

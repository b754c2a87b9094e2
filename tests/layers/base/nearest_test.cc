#include "soleguard/nearest.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace soleguard {
namespace {

TEST(Nearest, OneSlipInThreeBytesIsLike) {
  for (const auto& [typed, meant] : std::vector<std::pair<std::string, std::string>>{
           {"rnu", "run"},         // swapped
           {"mutx", "mutex"},      // missing
           {"polccy", "policy"},   // wrong
           {"stattus", "status"},  // too many
           {"FILE", "file"},       // in capitals
           {"bo", "bot"},          //
           {"trading_bto", "trading_bot"},
           {"tardingg_bt", "trading_bot"}}) {  // three slips in eleven bytes
    EXPECT_TRUE(IsLike(typed, meant)) << typed;
    EXPECT_TRUE(IsLike(meant, typed)) << typed;
  }
}

TEST(Nearest, MoreSlipsAreAnotherWord) {
  for (const auto& [typed, other] :
       std::vector<std::pair<std::string, std::string>>{{"a", "b"},  // one wrong byte is all of it
                                                        {"ab", "ac"},
                                                        {"start", "stop"},
                                                        {"unr", "gc"},
                                                        {"", "gc"},
                                                        {"bot", "feeder"},
                                                        {"botbot", "bot"}}) {
    EXPECT_FALSE(IsLike(typed, other)) << typed;
  }
}

TEST(Nearest, IsTheOneWithTheFewestSlipsAndTheFirstOfEquals) {
  EXPECT_EQ(Nearest("policy_", {"pollicyy", "policy", "file"}), "policy");
  EXPECT_EQ(Nearest("bat", {"bot", "but"}), "bot");
  EXPECT_EQ(Nearest("scan", {"file", "mutex"}), std::nullopt);
  EXPECT_EQ(Nearest("scan", {}), std::nullopt);
}

TEST(Nearest, IsAskedFor) {
  EXPECT_EQ(DidYouMean("mutx", {"file", "mutex"}), " (did you mean mutex?)");
  EXPECT_EQ(DidYouMean("bogus", {"file", "mutex"}), "");
}

// A word of a command line may be as long as the system lets it be.
TEST(Nearest, AVeryLongWordCostsNothing) {
  EXPECT_FALSE(IsLike(std::string(1 << 20, 'x'), "policy"));
}

}  // namespace
}  // namespace soleguard

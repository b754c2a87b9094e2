// guardcheck gc: what it removes, keeps and says.
#include <signal.h>

#include <filesystem>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/claimant.h"
#include "support/system_v.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;

TEST(Gc, RemovesWhatNobodyHoldsAndKeepsWhatSomebodyDoes) {
  const Guardcheck guardcheck;
  Guarded x = guardcheck.Start();
  x.Settle();
  EXPECT_EQ(guardcheck.Call({"run", "old", "--", "true"}).code, 0);
  const Finished gc = guardcheck.Call({"gc"});
  EXPECT_EQ(gc.code, 0) << gc.errors;
  EXPECT_THAT(gc.output, HasSubstr("removed old\n"));
  EXPECT_THAT(gc.output, HasSubstr(absl::StrCat("kept x: in use by pid ", x.wrapper())));
  EXPECT_FALSE(std::filesystem::exists(guardcheck.Object("old")));
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 0);
  EXPECT_EQ(x.Exit(0), 0);

  const Finished json = guardcheck.Call({"gc", "--json", "x"});
  const auto entry = ParseObject(json.output).at("names").as_array().at(0).as_object();
  EXPECT_EQ(entry.at("name"), "x");
  EXPECT_EQ(entry.at("removed"), true);
  EXPECT_EQ(guardcheck.CallRun({"true"}).code, 0);
}

TEST(Gc, ANameOfWhichNothingIsThereIsSaidAndNotRemoved) {
  const Guardcheck guardcheck;
  const Finished gc = guardcheck.Call({"gc", "misspelt"});
  EXPECT_EQ(gc.code, 0) << gc.errors;
  EXPECT_EQ(gc.output,
            absl::StrCat("nothing of misspelt is there, in scope ", guardcheck.scope(), "\n"));
  const Finished json = guardcheck.Call({"gc", "--json", "misspelt"});
  const auto entry = ParseObject(json.output).at("names").as_array().at(0).as_object();
  EXPECT_EQ(entry.at("removed"), false);
  EXPECT_THAT(std::string(entry.at("reason").as_string()), HasSubstr("is there"));
}

// Foreign bytes are escaped once, whoever says them.
TEST(Gc, ABackslashIsShownAsTwo) {
  const Guardcheck guardcheck;
  const std::string name = "back\\slash";
  const std::string escaped = "back\\\\slash";
  const auto reason = [&] {
    const Finished json = guardcheck.Call({"gc", "--json", name});
    const auto entry = ParseObject(json.output).at("names").as_array().at(0).as_object();
    EXPECT_EQ(std::string(entry.at("name").as_string()), escaped);
    return std::string(entry.at("reason").as_string());
  };
  EXPECT_EQ(reason(),
            absl::StrCat("nothing of ", escaped, " is there, in scope ", guardcheck.scope()));
  Claimant holder({.scope = guardcheck.scope(), .name = name, .policy = "file"});
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  EXPECT_EQ(guardcheck.Call({"gc", name}).output,
            absl::StrCat("kept ", escaped, ": ", reason(), "\n"));
}

// What a killed holder left is found where no directory names it any more.
TEST(Gc, H42_WhatAKilledHolderLeftIsFoundWithoutItsDirectory) {
  const Guardcheck guardcheck;
  for (const Words& words : {Words{"gc"}, Words{"gc", "x"}}) {
    Claimant killed({.scope = guardcheck.scope(), .policy = "mutex"});
    ASSERT_TRUE(killed.unique()) << killed.verdict();
    std::filesystem::remove_all(guardcheck.Object("x"));
    EXPECT_THAT(guardcheck.Call(words).output, HasSubstr("kept x: in use by pid"));
    EXPECT_EQ(killed.Ask("verify"), "ok");
    std::filesystem::remove_all(guardcheck.Object("x"));
    killed.program().Signal(SIGKILL);
    (void)killed.program().Wait();
    const Finished gc = guardcheck.Call(words);
    EXPECT_EQ(gc.code, 0) << gc.errors;
    EXPECT_EQ(gc.output, "removed x\n");
    EXPECT_FALSE(RemoveSemaphore(guardcheck.scope(), "x"));
    EXPECT_FALSE(RemoveSegment(guardcheck.scope(), "x"));
  }
}

TEST(Gc, WhereNothingIsItDoesNothing) {
  const Guardcheck guardcheck;
  EXPECT_EQ(guardcheck.Call({"gc"}).code, 0);
  EXPECT_FALSE(std::filesystem::exists(guardcheck.scope()));
}

}  // namespace
}  // namespace soleguard::testing

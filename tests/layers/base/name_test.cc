// Which bytes make an instance name, and what is said of those that do not.
#include "soleguard/name.h"

#include <cstddef>
#include <random>
#include <string>
#include <string_view>

#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

namespace soleguard {
namespace {

using std::string_view_literals::operator""sv;

TEST(InstanceNameTest, IsAnyBytesThatCanNameADirectoryAndStandOnOneLine) {
  const std::string longest(255, 'x');
  for (const std::string_view text :
       {"trading_bot"sv, "a"sv, " "sv, "..."sv, ".hidden"sv, "a."sv, "-rf"sv, "a b"sv, "a\\b"sv,
        "a\"b"sv, "caf\xc3\xa9"sv, "\xff\xfe"sv, "\x80"sv, std::string_view(longest)}) {
    SCOPED_TRACE(text);
    const absl::StatusOr<InstanceName> name = InstanceName::Parse(text);
    ASSERT_TRUE(name.ok()) << name.status();
    EXPECT_EQ(name->text(), text);
  }
}

TEST(InstanceNameTest, NamesThatDifferInAnyByteAreTwo) {
  EXPECT_EQ(*InstanceName::Parse("bot"), *InstanceName::Parse("bot"));
  EXPECT_FALSE(*InstanceName::Parse("bot") == *InstanceName::Parse("Bot"));
  EXPECT_FALSE(*InstanceName::Parse("bot") == *InstanceName::Parse("bot "));
}

TEST(InstanceNameTest, AnErrorNamesTheByteAndTheRule) {
  constexpr std::string_view kForbidden = "a name has no '/' and no control characters, found ";
  const struct {
    std::string text;
    std::string error;
  } kCases[] = {
      {"", "byte 1: a name has at least 1 byte, this one is empty"},
      {".", "byte 1: a name is not '.', which every directory has already"},
      {"..", "byte 1: a name is not '..', which every directory has already"},
      {"/", absl::StrCat("byte 1: ", kForbidden.data(), "'/'")},
      {"../x", absl::StrCat("byte 3: ", kForbidden.data(), "'/'")},
      {"bot/1", absl::StrCat("byte 4: ", kForbidden.data(), "'/'")},
      {"bot\n", absl::StrCat("byte 4: ", kForbidden.data(), "'\\x0a'")},
      {std::string("a\0b", 3), absl::StrCat("byte 2: ", kForbidden.data(), "'\\x00'")},
      {std::string(256, 'x'), "byte 256: a name has at most 255 bytes, this one has 256"},
      {std::string(100000, '/'), "byte 256: a name has at most 255 bytes, this one has 100000"},
  };
  for (const auto& [text, error] : kCases) {
    SCOPED_TRACE(text.substr(0, 20));
    const absl::StatusOr<InstanceName> name = InstanceName::Parse(text);
    ASSERT_FALSE(name.ok());
    EXPECT_EQ(name.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(std::string(name.status().message()), "instance name, " + error);
  }
}

TEST(InstanceNameTest, EveryByteIsEitherAllowedOrForbidden) {
  for (int value = 0; value < 256; ++value) {
    const bool forbidden = value < 0x20 || value == 0x7f || value == '/';
    const std::string text = {'a', static_cast<char>(value)};
    EXPECT_EQ(InstanceName::Parse(text).ok(), !forbidden) << "byte " << value;
  }
}

TEST(InstanceNameTest, RandomBytesAreKeptAsTheyAreOrRefused) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 20000; ++i) {
    std::string text(random() % 300, '\0');
    for (char& c : text) c = static_cast<char>(0x21 + random() % 0xdf);
    const absl::StatusOr<InstanceName> name = InstanceName::Parse(text);
    if (name.ok()) {
      EXPECT_EQ(name->text(), text);
    }
  }
}

}  // namespace
}  // namespace soleguard

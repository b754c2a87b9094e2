#include "soleguard/text.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace soleguard {
namespace {

using std::string_literals::operator""s;

// For characters that are not fit for source code.
std::string Utf8(unsigned character) {
  const auto byte = [](unsigned value) {
    return static_cast<char>(static_cast<unsigned char>(value));
  };
  const char last = byte(0x80 | (character & 0x3f));
  if (character < 0x800) return {byte(0xc0 | character >> 6), last};
  return {byte(0xe0 | character >> 12), byte(0x80 | (character >> 6 & 0x3f)), last};
}

// Bytes of which many are the beginnings and the ends of what is special.
std::string RandomBytes(std::mt19937& random) {
  static const std::string kPieces[] = {"\\"s,       "\\x"s,       "\\x4"s,         "x"s,
                                        "\xe2\x80"s, Utf8(0x202e), "\xf0\x9f\x98"s, "\xc3\xa9"s,
                                        "\xed\xa0"s, "\0"s,        "\""s,           "\x9b"s};
  std::string bytes;
  for (auto count = random() % 40; count > 0; --count) {
    if (random() % 2 == 0) {
      bytes += kPieces[random() % std::size(kPieces)];
    } else {
      bytes += static_cast<char>(static_cast<unsigned char>(random() % 256));
    }
  }
  return bytes;
}

TEST(EscapeBytes, LeavesPrintableUtf8AsItIs) {
  for (const std::string_view text : {"", "plain text, \"quoted\" / 100%", "naïve", "日本語",
                                      "Ελληνικά", "עברית", "😀", "a\u00a0b"}) {
    EXPECT_EQ(EscapeBytes(text), text);
  }
}

TEST(EscapeBytes, DoublesTheBackslash) {
  EXPECT_EQ(EscapeBytes("C:\\x41"), "C:\\\\x41");
  EXPECT_EQ(UnescapeBytes("C:\\\\x41"), "C:\\x41");
}

TEST(EscapeBytes, H34_AForeignTextCannotDriveATerminal) {
  EXPECT_EQ(EscapeBytes("\x1b[2Jgone"), "\\x1b[2Jgone");
  EXPECT_EQ(EscapeBytes("\x1b]0;title\x07"), "\\x1b]0;title\\x07");
  EXPECT_EQ(EscapeBytes("one\ntwo\r\t\v\f\b"), "one\\x0atwo\\x0d\\x09\\x0b\\x0c\\x08");
  EXPECT_EQ(EscapeBytes("a\0b"s), "a\\x00b");
  EXPECT_EQ(EscapeBytes("\x7f"), "\\x7f");
  // CSI as one C1 control character, in UTF-8 and as a bare byte.
  EXPECT_EQ(EscapeBytes("\xc2\x9b"
                        "31m"),
            "\\xc2\\x9b31m");
  EXPECT_EQ(EscapeBytes("\x9b"
                        "31m"),
            "\\x9b31m");
}

TEST(EscapeBytes, H34_AForeignTextCannotReorderOrBreakALine) {
  for (const unsigned code : {0x2028, 0x2029, 0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c,
                              0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069}) {
    const std::string character = Utf8(code);
    const std::string escaped = EscapeBytes(character);
    EXPECT_EQ(escaped.size(), 4 * character.size());
    EXPECT_EQ(escaped.find_first_not_of("\\x0123456789abcdef"), std::string::npos) << escaped;
    EXPECT_EQ(UnescapeBytes(escaped), character);
  }
  // Their neighbours stay.
  EXPECT_EQ(EscapeBytes("\u2027\u202f\u2065\u206a"), "\u2027\u202f\u2065\u206a");
}

TEST(EscapeBytes, EscapesWhatIsNotUtf8ByteByByte) {
  EXPECT_EQ(EscapeBytes("\x80"), "\\x80") << "a continuation that continues nothing";
  EXPECT_EQ(EscapeBytes("\xe2\x82"), "\\xe2\\x82") << "cut short";
  EXPECT_EQ(EscapeBytes("\xe2\x82x"), "\\xe2\\x82x");
  EXPECT_EQ(EscapeBytes("\xe2\xe2\x82\xac"), "\\xe2\xe2\x82\xac")
      << "resumes at the next character";
  EXPECT_EQ(EscapeBytes("\xc0\x9b"), "\\xc0\\x9b") << "overlong ESC";
  EXPECT_EQ(EscapeBytes("\xe0\x82\x9b"), "\\xe0\\x82\\x9b") << "overlong CSI";
  EXPECT_EQ(EscapeBytes("\xf0\x80\x80\x8a"), "\\xf0\\x80\\x80\\x8a") << "overlong line feed";
  EXPECT_EQ(EscapeBytes("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "a surrogate";
  EXPECT_EQ(EscapeBytes("\xed\xbf\xbf"), "\\xed\\xbf\\xbf") << "a surrogate";
  EXPECT_EQ(EscapeBytes("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "beyond U+10FFFF";
  EXPECT_EQ(EscapeBytes("\xf8\x88\x80\x80\x80\xfe\xff"), "\\xf8\\x88\\x80\\x80\\x80\\xfe\\xff");
}

TEST(EscapeBytes, KeepsTheFirstAndLastCharacterOfEachLength) {
  for (const std::string_view character : {" ", "~", "\u00a0", "\u07ff", "\u0800", "\ud7ff",
                                           "\ue000", "\uffff", "\U00010000", "\U0010ffff"}) {
    EXPECT_EQ(EscapeBytes(character), character);
  }
}

TEST(UnescapeBytes, KeepsWhatIsNoEscape) {
  for (const std::string_view text :
       {"\\", "\\x", "\\x4", "\\xg0", "\\x0g", "\\n", "x41", "\\X41"}) {
    EXPECT_EQ(UnescapeBytes(text), text);
  }
  EXPECT_EQ(UnescapeBytes("\\x4\\x41"), "\\x4A");
  EXPECT_EQ(UnescapeBytes("\\xaB"), "\xab") << "digits of either case";
}

TEST(EscapeBytes, LosesNothing) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    const std::string bytes = RandomBytes(random);
    const std::string escaped = EscapeBytes(bytes);
    ASSERT_EQ(UnescapeBytes(escaped), bytes) << escaped;
    const bool safe = std::none_of(escaped.begin(), escaped.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
    ASSERT_TRUE(safe) << escaped;
  }
}

TEST(EscapeBytes, TwoTextsAreNeverEscapedToTheSame) {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);
  EXPECT_EQ(UnescapeBytes(EscapeBytes(every_byte)), every_byte);
  EXPECT_NE(EscapeBytes("\\x1b"), EscapeBytes("\x1b"));
}

}  // namespace
}  // namespace soleguard

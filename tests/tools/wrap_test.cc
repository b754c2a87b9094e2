#include "show/wrap.h"

#include <string>

#include <gtest/gtest.h>

namespace guardcheck {
namespace {

TEST(WrapLine, BreaksAtTheLastBlankThatFits) {
  EXPECT_EQ(WrapLine("one two three four five six", 20), "one two three four\nfive six");
  // exactly as wide
  EXPECT_EQ(WrapLine("aaaa bbbb cccc dddd e", 21), "aaaa bbbb cccc dddd e");
  EXPECT_EQ(WrapLine("aaaa bbbb cccc ddddd eeee", 20), "aaaa bbbb cccc ddddd\neeee");
  EXPECT_EQ(WrapLine("", 20), "");
}

TEST(WrapLine, GoesOnBelowTheValue) {
  EXPECT_EQ(WrapLine("  file    cannot create /x: No such file", 30),
            "  file    cannot create /x: No\n          such file");
  // A key that takes more than half of the width leaves no room for that.
  EXPECT_EQ(WrapLine("  a key of many words  the value goes on", 30),
            "  a key of many words  the\n      value goes on");
  EXPECT_EQ(WrapLine("  an indented line goes on to the right", 30),
            "  an indented line goes on to\n      the right");
}

TEST(WrapLine, LeavesWhatIsCopiedAndWhatIsATable) {
  for (const std::string line :
       {"  guardcheck stop trading_bot --scope /srv/bots --duplicates", "  kill 1 2 3 4 5 6 7 8 9",
        "NAME        PID     STARTED        USER      COMMAND"}) {
    EXPECT_EQ(WrapLine(line, 20), line);
  }
}

TEST(WrapLine, NeverBreaksAWord) {
  const std::string path(40, 'p');
  EXPECT_EQ(WrapLine("it is " + path + " that is missing", 20),
            "it is\n" + path + "\nthat is missing");
  EXPECT_EQ(WrapLine("  " + path, 20), "  " + path);
  EXPECT_EQ(WrapLine(path, 20), path);
}

TEST(WrapLine, CountsCharactersAndNotBytes) {
  const std::string line = "ääää ääää ääää ääää ä";  // 21 columns
  EXPECT_EQ(WrapLine(line, 21), line);
  EXPECT_EQ(WrapLine(line, 20), "ääää ääää ääää ääää\nä");
}

TEST(WrapLine, AWidthThatNobodyReadsIsNone) {
  EXPECT_EQ(WrapLine("one two three four five six", 5), "one two three four five six");
}

}  // namespace
}  // namespace guardcheck

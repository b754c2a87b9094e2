// The policy language as a specification: what parses, what it prints as, when it is met, and what
// an error says. Different paths make different layers of `file`.
#include "soleguard/policy.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/layer.h"
#include "soleguard/policy_builder.h"
#include "soleguard/registry.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

using std::string_view_literals::operator""sv;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string Repeat(std::string_view part, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += part;
  return all;
}

std::string LayersBuilt() {
  std::string names;
  for (const LayerKind& kind : LayerKinds()) {
    if (!names.empty()) names += ", ";
    names += kind.name;
  }
  return names;
}

// What Parse says of `text`, which it must refuse.
std::string ErrorOf(std::string_view text) {
  const absl::StatusOr<Policy> policy = Policy::Parse(text);
  if (policy.ok()) return "no error";
  EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(policy.status().message());
}

std::string CanonicalOf(std::string_view text) {
  const absl::StatusOr<Policy> policy = Policy::Parse(text);
  return policy.ok() ? policy->ToString() : policy.status().ToString();
}

std::vector<std::string> LayersOf(std::string_view text) {
  std::vector<std::string> layers;
  const absl::StatusOr<Policy> policy = Policy::Parse(text);
  if (!policy.ok()) return {policy.status().ToString()};
  for (const LayerSpec& layer : policy->layers()) layers.push_back(layer.ToString());
  return layers;
}

bool Met(std::string_view text, const std::vector<bool>& confirmed) {
  const absl::StatusOr<Policy> policy = Policy::Parse(text);
  EXPECT_TRUE(policy.ok()) << text << ": " << policy.status();
  return policy.ok() && policy->MetBy(confirmed);
}

// --- canonical text ---

TEST(PolicyTextTest, OnlyBlanksQuotesAndParameterOrderAreNormalised) {
  const struct {
    std::string_view text;
    std::string_view canonical;
  } kCases[] = {
      {"file", "file"},
      {" \t file\t ", "file"},
      {"all(file)", "all(file)"},
      {"any(file)", "any(file)"},
      {"all ( file )", "all(file)"},
      {"all(file,file(path=/a))", "all(file, file(path=/a))"},
      {"any(file(path=/b),file(path=/a))", "any(file(path=/b), file(path=/a))"},
      {"at_least(1,file)", "at_least(1, file)"},
      {"at_least ( 002 ,file, file(path=/a) )", "at_least(2, file, file(path=/a))"},
      {"all(file,file)", "all(file, file)"},
      {"any(all(file),at_least(1,any(file)))", "any(all(file), at_least(1, any(file)))"},
      {"file ( path\t= /a )", "file(path=/a)"},
      {R"(file(path="/a"))", "file(path=/a)"},
      {R"(file(path="/a b"))", R"(file(path="/a b"))"},
      {R"(file(path="/a,b"))", R"(file(path="/a,b"))"},
      {R"(file(path="/(a"))", R"(file(path="/(a"))"},
      {R"(file(path="/a=b"))", R"(file(path="/a=b"))"},
      {R"(file(path="/\"a\""))", R"(file(path="/\"a\""))"},
      {R"(file(path="/a\\b"))", R"(file(path=/a\b))"},
      {R"(file(path="/a \\"))", R"(file(path="/a \\"))"},
      {"file(path=/\xc3\xa4)", "file(path=/\xc3\xa4)"},
      {"file(path=/\xff)", "file(path=/\xff)"},
  };
  for (const auto& [text, canonical] : kCases) {
    SCOPED_TRACE(text);
    EXPECT_EQ(CanonicalOf(text), canonical);
    EXPECT_EQ(CanonicalOf(canonical), canonical);
  }
}

TEST(PolicyTextTest, PoliciesAreEqualWhenTheirCanonicalTextIs) {
  const Policy a = *Policy::Parse("all(file,file(path=/a))");
  EXPECT_EQ(a, *Policy::Parse("all( file, file(path=\"/a\") )"));
  EXPECT_FALSE(a == *Policy::Parse("all(file(path=/a), file)"));
  EXPECT_FALSE(*Policy::Parse("all(file)") == *Policy::Parse("file"));
}

TEST(PolicyTextTest, VetoOffIsPartOfTheCanonicalText) {
  for (const std::string_view text :
       {"any(file, file(path=/a), veto=off)", "all(file, veto=off)",
        "at_least(1, file, file(path=/a), veto=off)", "any(all(file), veto=off)"}) {
    SCOPED_TRACE(text);
    const absl::StatusOr<Policy> policy = Policy::Parse(text);
    ASSERT_TRUE(policy.ok()) << policy.status();
    EXPECT_FALSE(policy->veto());
    EXPECT_EQ(policy->ToString(), text);
  }
  EXPECT_TRUE(Policy::Parse("any(file)")->veto());
  EXPECT_EQ(CanonicalOf("any ( file ,veto\t= off )"), "any(file, veto=off)");
  EXPECT_FALSE(*Policy::Parse("any(file)") == *Policy::Parse("any(file, veto=off)"));
  EXPECT_FALSE(Policy::Parse("at_least(2, file, veto=off)").ok()) << "it is no member of the list";
}

// Records carry the policy: what a name stands for must not depend on who reads it.
TEST(PolicyTextTest, ANamedPolicyIsWhatItStandsFor) {
  EXPECT_EQ(CanonicalOf("default"), "all(file, mutex, port)");
  EXPECT_EQ(CanonicalOf(" strict "), "all(file, mutex, port, scan)");
  EXPECT_EQ(CanonicalOf("available"), "at_least(2, file, mutex, port)");
  EXPECT_EQ(Policy::Default(), *Policy::Parse("default"));
  ASSERT_EQ(Policy::Named().size(), 3u);
  for (const NamedPolicy& named : Policy::Named()) {
    EXPECT_EQ(named.policy, *Policy::Parse(named.name));
    EXPECT_EQ(named.policy, *Policy::Parse(named.policy.ToString())) << named.name;
    EXPECT_EQ(LayersOf(named.name), LayersOf(named.policy.ToString()));
  }
}

TEST(PolicyTextTest, DefaultNeedsAllOfItsLayers) {
  const Policy policy = Policy::Default();
  EXPECT_EQ(policy.ToString(), "all(file, mutex, port)");
  EXPECT_EQ(policy, *Policy::Parse(policy.ToString()));
  EXPECT_TRUE(policy.MetBy(std::vector<bool>(policy.layers().size(), true)));
  EXPECT_FALSE(policy.MetBy(std::vector<bool>(policy.layers().size(), false)));
}

TEST(PolicyTextTest, NoLayerHasTheNameOfAKeyword) {
  for (const std::string_view keyword :
       {"all", "any", "at_least", "veto", "default", "strict", "available"}) {
    EXPECT_EQ(FindLayerKind(keyword), nullptr) << keyword;
  }
}

TEST(LayerSpecTest, PrintsWhatParsesBack) {
  EXPECT_EQ((LayerSpec{FindLayerKind("file"), {}}).ToString(), "file");
  EXPECT_EQ((LayerSpec{FindLayerKind("port"), {{"", "47777"}}}).ToString(), "port(47777)");
  EXPECT_EQ((LayerSpec{FindLayerKind("port"), {{"", ""}}}).ToString(), "port(\"\")");
  EXPECT_EQ((LayerSpec{FindLayerKind("port"), {{"b", "2 3"}, {"", "1"}, {"a", "\""}}}).ToString(),
            R"(port(1, a="\"", b="2 3"))");
}

// --- layers() ---

TEST(PolicyLayersTest, AreInCanonicalOrderWhateverTheTextSays) {
  EXPECT_THAT(LayersOf("any(file(path=/b), file, file(path=/a))"),
              ElementsAre("file", "file(path=/a)", "file(path=/b)"));
  EXPECT_THAT(LayersOf("any(file(path=/b), file(path=\"/b c\"), file(path=/a))"),
              ElementsAre("file(path=\"/b c\")", "file(path=/a)", "file(path=/b)"));
}

TEST(PolicyLayersTest, NameEachLayerOnce) {
  EXPECT_THAT(LayersOf("all(file, any(file, file(path=/a)), file(path=\"/a\"))"),
              ElementsAre("file", "file(path=/a)"));
  EXPECT_THAT(LayersOf("any(file( path=/a ), file(path=\"/a\"))"), ElementsAre("file(path=/a)"));
}

// --- MetBy ---

TEST(PolicyMetByTest, CountsTheConfirmationsOfTheLayersInCanonicalOrder) {
  EXPECT_TRUE(Met("file", {true}));
  EXPECT_FALSE(Met("file", {false}));
  EXPECT_TRUE(Met("all(file, file(path=/a))", {true, true}));
  EXPECT_FALSE(Met("all(file, file(path=/a))", {true, false}));
  EXPECT_TRUE(Met("any(file, file(path=/a))", {false, true}));
  EXPECT_FALSE(Met("any(file, file(path=/a))", {false, false}));
  // layers() are file, file(path=/a), file(path=/b).
  constexpr std::string_view kMajority = "at_least(2, file(path=/b), file(path=/a), file)";
  EXPECT_TRUE(Met(kMajority, {true, false, true}));
  EXPECT_FALSE(Met(kMajority, {false, false, true}));
  constexpr std::string_view kNested = "any(file(path=/b), all(file, file(path=/a)))";
  EXPECT_TRUE(Met(kNested, {false, false, true}));
  EXPECT_TRUE(Met(kNested, {true, true, false}));
  EXPECT_FALSE(Met(kNested, {true, false, false}));
}

TEST(PolicyMetByTest, ALayerThatAListNamesTwiceCountsTwice) {
  EXPECT_TRUE(Met("at_least(2, file, file, file(path=/a))", {true, false}));
}

TEST(PolicyMetByTest, AMissingEntryDoesNotConfirm) {
  EXPECT_FALSE(Met("all(file, file(path=/a))", {true}));
  EXPECT_FALSE(Met("file", {}));
  EXPECT_TRUE(Met("file", {true, false, false}));
}

// --- errors ---

TEST(PolicyErrorTest, NamesTheColumnWhatWasExpectedAndWhatWasFound) {
  const std::string kLayer = "expected a layer, all(, any( or at_least(, found ";
  const std::string kBuilt = "; layers built: " + LayersBuilt();
  const std::string kOrNamed = kBuilt + "; named policies: default, strict, available";
  const struct {
    std::string_view text;
    std::string error;
  } kCases[] = {
      // no layer
      {"", "column 1: " + kLayer + "the end" + kOrNamed},
      {"  \t", "column 4: " + kLayer + "the end" + kOrNamed},
      {"foo", "column 1: " + kLayer + "'foo'" + kOrNamed},
      {"all(file, foo)", "column 11: " + kLayer + "'foo'" + kBuilt},
      {"ALL(file)", "column 1: " + kLayer + "'ALL' (did you mean all?)" + kOrNamed},
      {"(file)", "column 1: " + kLayer + "'('" + kOrNamed},
      {"\"file\"", "column 1: " + kLayer + "'\"'" + kOrNamed},
      {"\0"sv, "column 1: " + kLayer + "'\\x00'" + kOrNamed},
      {"fil\0e"sv, "column 1: " + kLayer + "'fil' (did you mean file?)" + kOrNamed},
      {"\xc3\xa4", "column 1: " + kLayer + "'\xc3\xa4'" + kOrNamed},
      {"\xff\xfe", "column 1: " + kLayer + "'" + EscapeBytes("\xff\xfe") + "'" + kOrNamed},
      // lists
      {"all()", "column 5: " + kLayer + "')'" + kBuilt},
      {"any( )", "column 6: " + kLayer + "')'" + kBuilt},
      {"all(file,)", "column 10: " + kLayer + "')'" + kBuilt},
      {"all(,file)", "column 5: " + kLayer + "','" + kBuilt},
      {"all", "column 4: expected '(' after all, found the end"},
      {"any file", "column 5: expected '(' after any, found 'file'"},
      {"all(file", "column 9: expected ',' or ')', found the end"},
      {"all(file file)", "column 10: expected ',' or ')', found 'file'"},
      {"all(file\0)"sv, "column 9: expected ',' or ')', found '\\x00'"},
      {"file)", "column 5: expected the end, found ')'"},
      {"file file", "column 6: expected the end, found 'file'"},
      {"all(file))", "column 10: expected the end, found ')'"},
      // at_least
      {"at_least", "column 9: expected '(' after at_least, found the end"},
      {"at_least()", "column 10: expected a number, found ')'"},
      {"at_least(file, file)", "column 10: expected a number, found 'file'"},
      {"at_least(-1, file)", "column 10: expected a number, found '-1'"},
      {"at_least(1.5, file)", "column 10: expected a number, found '1.5'"},
      {"at_least(1)", "column 11: expected ',' and a list after the number, found ')'"},
      {"at_least(1,)", "column 12: " + kLayer + "')'" + kBuilt},
      {"at_least(0, file)",
       "column 10: expected a number from 1 to 1 (as many as the list has), found '0'"},
      {"any(at_least( 3, file, file(path=/a)))",
       "column 15: expected a number from 1 to 2 (as many as the list has), found '3'"},
      {"at_least(99999999999999999999999999, file)",
       "column 10: expected a number from 1 to 1 (as many as the list has), found "
       "'99999999999999999999999999'"},
      // veto=off
      {"any(file, veto)", "column 15: expected '=' after veto, found ')'"},
      {"any(file, veto=on)",
       "column 16: expected off (without veto=off the veto is on), found 'on'"},
      {"any(file, veto=)", "column 16: expected off (without veto=off the veto is on), found ')'"},
      {"any(file, veto=off, file)", "column 19: expected ')' after veto=off, found ','"},
      {"any(file, veto=off", "column 19: expected ')' after veto=off, found the end"},
      {"any(veto=off)", "column 5: veto=off stands behind the last member of the outermost group"},
      {"any(file, all(file, veto=off))",
       "column 21: veto=off stands behind the last member of the outermost group"},
      {"veto=off", "column 1: " + kLayer + "'veto'" + kOrNamed},
      {"file, veto=off", "column 5: expected the end, found ','"},
      // named policies
      {"strict, file", "column 7: expected the end, found ','"},
      {"strict()", "column 7: expected the end, found '('"},
      {"Default", "column 1: " + kLayer + "'Default' (did you mean default?)" + kOrNamed},
      {"avialable", "column 1: " + kLayer + "'avialable' (did you mean available?)" + kOrNamed},
      // inside a group a named policy is no better
      {"all(file, avialable)", "column 11: " + kLayer + "'avialable'" + kBuilt},
      {"all(flie, file)", "column 5: " + kLayer + "'flie' (did you mean file?)" + kBuilt},
      // layers without a group
      {"file,file(path=/a)",
       "column 5: expected the end, found ','; several layers stand in a group: "
       "all(file, file(path=/a))"},
      {"file,foo", "column 5: expected the end, found ','"},
      {"all(file),file",
       "column 10: expected the end, found ','; several layers stand in a "
       "group: all(all(file), file)"},
      {"all(file, default)",
       "column 11: named policy 'default' stands alone; here write all(file, mutex, port)"},
      {"all(strict)",
       "column 5: named policy 'strict' stands alone; here write all(file, mutex, port, scan)"},
      // parameters
      {"file()", "column 6: expected a parameter, found ')'"},
      {"file(=/a)", "column 6: expected a parameter, found '='"},
      {"file(path=/a,)", "column 14: expected a parameter, found ')'"},
      {"file(path=)", "column 11: expected a value, found ')'"},
      {"file(path= , path=/a)", "column 12: expected a value, found ','"},
      {"file(path=/a", "column 13: expected ',' or ')', found the end"},
      {"file(path=/a b)", "column 14: expected ',' or ')', found 'b'"},
      {"file(path=/a=b)", "column 13: expected ',' or ')', found '='"},
      {"file(path=/a(b))", "column 13: expected ',' or ')', found '('"},
      {"file(\"path\"=/a)", "column 12: expected ',' or ')', found '='"},
      {"file(Path=/a)", "column 6: expected a key of a-z, 0-9 and _, found 'Path'"},
      {"file(path\xff=/a)",
       "column 6: expected a key of a-z, 0-9 and _, found '" + EscapeBytes("path\xff") + "'"},
      {"file(path=/a, path=/b)", "column 15: parameter 'path' is given twice"},
      {"file(/a, /b)", "column 10: a second parameter without a key"},
      // quotes
      {"file(path=\"/a)", "column 11: expected a quote that closes this one, found the end"},
      {"file(path=\"/a\\", "column 11: expected a quote that closes this one, found the end"},
      {"file(path=\"/a\\n\")", "column 15: expected \" or \\ after the backslash, found 'n'"},
      {"file(path=\"/a\x01\")", "column 14: a value has no control characters, found '\\x01'"},
      {"file(path=\"/a\tb\")", "column 14: a value has no control characters, found '\\x09'"},
      {"file(path=\"/\0\")"sv, "column 13: a value has no control characters, found '\\x00'"},
  };
  for (const auto& [text, error] : kCases) {
    SCOPED_TRACE(text);
    EXPECT_EQ(ErrorOf(text), error);
  }
}

TEST(PolicyErrorTest, WhatTheLayerRefusesStandsAtTheLayersColumn) {
  EXPECT_THAT(ErrorOf("file(path=relative)"), StartsWith("column 1: file: "));
  EXPECT_THAT(ErrorOf("all(file,  file(colour=red))"), StartsWith("column 12: file: "));
  EXPECT_THAT(ErrorOf("all(file, file(path=\"\"))"), StartsWith("column 11: file: "));
}

TEST(PolicyErrorTest, CutsALongWord) {
  EXPECT_THAT(ErrorOf(std::string(500, 'x')), HasSubstr("'" + std::string(40, 'x') + "...'"));
}

// --- limits ---

TEST(PolicyLimitTest, Bytes) {
  const std::string longest = "file" + std::string(4092, ' ');
  EXPECT_EQ(CanonicalOf(longest), "file");
  EXPECT_EQ(ErrorOf(longest + ' '),
            "column 4097: a policy has at most 4096 bytes, this one has 4097");
  EXPECT_THAT(ErrorOf(std::string(1 << 20, '(')), StartsWith("column 4097: "));
}

TEST(PolicyLimitTest, BytesOfTheCanonicalText) {
  // "all(" and 682 times "file, " are 4,096 bytes, with a closing parenthesis for the last comma
  // one less: 682 layers fit, 683 do not, though without blanks both are shorter.
  const auto all = [](std::size_t files) {
    return absl::StrCat("all(file", Repeat(",file", files - 1), ")");
  };
  EXPECT_EQ(CanonicalOf(all(682)).size(), 4095u);
  EXPECT_EQ(CanonicalOf(CanonicalOf(all(682))), CanonicalOf(all(682)));
  EXPECT_EQ(ErrorOf(all(683)),
            "column 1: a policy has at most 4096 bytes, this one has 4101 with a blank after each "
            "comma");
}

TEST(PolicyLimitTest, Levels) {
  const auto nested = [](std::size_t groups) {
    return absl::StrCat(Repeat("any(", groups), "file", Repeat(")", groups));
  };
  EXPECT_EQ(CanonicalOf(nested(31)), nested(31));
  EXPECT_EQ(ErrorOf(nested(32)), "column 129: a policy has at most 32 levels");
  EXPECT_EQ(ErrorOf(Repeat("all(", 1024)), "column 129: a policy has at most 32 levels");
}

TEST(PolicyLimitTest, DifferentLayers) {
  const auto any = [](int layers) {
    std::string text = "any(file(path=/1)";
    for (int i = 2; i <= layers; ++i) absl::StrAppend(&text, ", file(path=/", i, ")");
    return text + ")";
  };
  EXPECT_EQ(LayersOf(any(32)).size(), 32u);
  const std::string too_many = any(33);
  EXPECT_EQ(ErrorOf(too_many), absl::StrCat("column ", too_many.find("file(path=/33") + 1,
                                            ": a policy names at most 32 different layers"));
}

// --- random policies, against an evaluator and a printer of their own ---

constexpr std::string_view kLayers[] = {"file", "file(path=\"/a,b\")", "file(path=\"/b c\")",
                                        "file(path=/a)", "file(path=/b)"};
using Confirmed = std::set<std::string_view>;

struct Sample {
  std::string noisy;  // with odd blanks and quotes
  std::string canonical;
  std::function<bool(const Confirmed&)> met;
  Confirmed layers;
  bool veto = true;
};

class Generator {
 public:
  explicit Generator(std::uint32_t seed) : random_(seed) {}

  std::size_t Below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }

  Sample Expression(int levels) { return levels == 1 || Below(3) == 0 ? Layer() : Group(levels); }

  // A whole policy: a group may have its veto off.
  Sample Text(int levels) {
    Sample sample = Expression(levels);
    if (sample.canonical.back() != ')' || sample.canonical.starts_with("file")) return sample;
    if (Below(2) == 0) return sample;
    sample.veto = false;
    sample.canonical.insert(sample.canonical.size() - 1, ", veto=off");
    sample.noisy.resize(sample.noisy.find_last_of(')'));
    absl::StrAppend(&sample.noisy, Token(","), Token("veto"), Token("="), Token("off"), Token(")"),
                    Blanks());
    return sample;
  }

 private:
  std::string Blanks() {
    constexpr std::string_view kBlanks[] = {"", "", " ", "\t", " \t  "};
    return std::string(kBlanks[Below(std::size(kBlanks))]);
  }

  std::string Token(std::string_view text) { return absl::StrCat(Blanks(), std::string(text)); }

  Sample Layer() {
    const std::size_t which = Below(std::size(kLayers));
    const std::string_view kValues[] = {"", "\"/a,b\"", "\"/b c\"", Below(2) == 0 ? "/a" : "\"/a\"",
                                        "/b"};
    std::string noisy = Token("file");
    if (which != 0) {
      absl::StrAppend(&noisy, Token("("), Token("path"), Token("="), Token(kValues[which]),
                      Token(")"));
    }
    const std::string_view layer = kLayers[which];
    return {noisy + Blanks(),
            std::string(layer),
            [layer](const Confirmed& confirmed) { return confirmed.contains(layer); },
            {layer}};
  }

  Sample Group(int levels) {
    std::vector<Sample> children(1 + Below(4));
    for (Sample& child : children) child = Expression(levels - 1);
    const std::size_t kind = Below(3);
    const std::size_t number = 1 + Below(children.size());
    Sample group;
    group.noisy = Token(kind == 0 ? "all" : kind == 1 ? "any" : "at_least") + Token("(");
    group.canonical = kind == 0 ? "all(" : kind == 1 ? "any(" : absl::StrCat("at_least(", number);
    if (kind == 2) absl::StrAppend(&group.noisy, Token(absl::StrCat(number)), Token(","));
    if (kind == 2) group.canonical += ", ";
    for (std::size_t i = 0; i < children.size(); ++i) {
      absl::StrAppend(&group.noisy, i > 0 ? "," : "", children[i].noisy);
      absl::StrAppend(&group.canonical, i > 0 ? ", " : "", children[i].canonical);
      group.layers.insert(children[i].layers.begin(), children[i].layers.end());
    }
    absl::StrAppend(&group.noisy, Token(")"), Blanks());
    group.canonical += ')';
    const std::size_t needed = kind == 0 ? children.size() : kind == 1 ? 1 : number;
    group.met = [children = std::move(children), needed](const Confirmed& confirmed) {
      std::size_t met = 0;
      for (const Sample& child : children) met += child.met(confirmed) ? 1 : 0;
      return met >= needed;
    };
    return group;
  }

  std::mt19937 random_;
};

class RandomPolicyTest : public testing::Test {
 protected:
  const std::uint32_t seed_ = std::random_device()();
  const testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("seed ", seed_)};
  Generator generator_{seed_};
};

TEST_F(RandomPolicyTest, PrintsAndParsesBackExactly) {
  for (int i = 0; i < 5000; ++i) {
    const Sample sample = generator_.Text(/*levels=*/4);
    if (sample.noisy.size() > 4096 || sample.canonical.size() > 4096) continue;
    SCOPED_TRACE(sample.noisy);
    ASSERT_EQ(CanonicalOf(sample.noisy), sample.canonical);
    ASSERT_EQ(CanonicalOf(sample.canonical), sample.canonical);
    const std::vector<std::string> layers(sample.layers.begin(), sample.layers.end());
    ASSERT_EQ(LayersOf(sample.noisy), layers);
    ASSERT_EQ(Policy::Parse(sample.noisy)->veto(), sample.veto);
  }
}

// The confirmations that `subset` (one bit per layer of `policy`) stands for.
std::vector<bool> Bits(const Policy& policy, unsigned subset) {
  std::vector<bool> confirmed;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) {
    confirmed.push_back((subset >> i & 1) != 0);
  }
  return confirmed;
}

TEST_F(RandomPolicyTest, IsMetByExactlyTheSubsetsThatTheEvaluatorNames) {
  for (int i = 0; i < 2000; ++i) {
    const Sample sample = generator_.Expression(/*levels=*/4);
    const absl::StatusOr<Policy> policy = Policy::Parse(sample.canonical);
    if (sample.canonical.size() > 4096) continue;
    SCOPED_TRACE(sample.canonical);
    ASSERT_TRUE(policy.ok()) << policy.status();
    const std::vector<std::string_view> layers(sample.layers.begin(), sample.layers.end());
    for (unsigned subset = 0; subset < 1u << layers.size(); ++subset) {
      Confirmed confirmed;
      for (std::size_t bit = 0; bit < layers.size(); ++bit) {
        if ((subset >> bit & 1) != 0) confirmed.insert(layers[bit]);
      }
      ASSERT_EQ(policy->MetBy(Bits(*policy, subset)), sample.met(confirmed)) << "subset " << subset;
      ASSERT_EQ(policy->MetBy(LayerSet{subset}), sample.met(confirmed)) << "subset " << subset;
    }
  }
}

TEST_F(RandomPolicyTest, OneMoreConfirmationNeverUnmeetsIt) {
  for (int i = 0; i < 2000; ++i) {
    const absl::StatusOr<Policy> policy = Policy::Parse(generator_.Expression(4).canonical);
    if (!policy.ok()) continue;
    SCOPED_TRACE(policy->ToString());
    const std::size_t layers = policy->layers().size();
    for (unsigned subset = 0; subset < 1u << layers; ++subset) {
      if (!policy->MetBy(Bits(*policy, subset))) continue;
      for (std::size_t added = 0; added < layers; ++added) {
        ASSERT_TRUE(policy->MetBy(Bits(*policy, subset | 1u << added))) << subset << " " << added;
      }
    }
    EXPECT_TRUE(policy->MetBy(std::vector<bool>(layers, true)));
    EXPECT_FALSE(policy->MetBy(std::vector<bool>(layers, false)));
  }
}

// --- policies written in C++ ---

TEST(PolicyBuilderTest, GivesWhatTheTextGives) {
  using policy::All, policy::Any, policy::AtLeast, policy::Layer, policy::VetoOff;
  const std::pair<policy::Expression, std::string_view> kCases[] = {
      {Layer("file"), "file"},
      {Layer("port", {{"", "47777"}}), "port(47777)"},
      {Layer("scan", {{"cmdline", "a \"b\", c"}, {"env", "X=1"}}),
       R"(scan(cmdline="a \"b\", c", env="X=1"))"},
      {All(Layer("file")), "all(file)"},
      {All(Layer("file"), AtLeast(2, Layer("mutex"), Layer("port"), Layer("scan"))),
       "all(file, at_least(2, mutex, port, scan))"},
      {Any(Layer("file"), All(Layer("mutex"), Layer("port"))), "any(file, all(mutex, port))"},
      {VetoOff(Any(Layer("file"), Layer("port"))), "any(file, port, veto=off)"},
      {Layer("strict"), "strict"},
  };
  for (const auto& [built, text] : kCases) {
    SCOPED_TRACE(text);
    const absl::StatusOr<Policy> policy = built.Build();
    ASSERT_TRUE(policy.ok()) << policy.status();
    EXPECT_EQ(*policy, *Policy::Parse(text));
  }
}

TEST(PolicyBuilderTest, RefusesWhatTheTextRefusesAndShowsIt) {
  using policy::All, policy::Any, policy::AtLeast, policy::Layer, policy::VetoOff;
  const std::pair<policy::Expression, std::string_view> kCases[] = {
      {All(), "column 5: expected a layer"},
      {AtLeast(3, Layer("file"), Layer("port")), "expected a number from 1 to 2"},
      {AtLeast(-1, Layer("file")), "expected a number, found '-1'"},
      {Layer("foo"), "(in the policy foo)"},
      {Layer("port", {{"", "0"}}), "port: a port is a number"},
      {VetoOff(Layer("file")), "expected the end"},
      {All(VetoOff(Any(Layer("file")))), "veto=off stands behind the last member"},
      // What is no word is not read as anything else.
      {Layer("file, port"), "column 1: expected a layer"},
      {All(Layer("file), any(port")), "column 5: expected a layer"},
      {Layer("file", {{"path=/a, path", "/b"}}), "expected ',' or ')'"},
      {Layer("file", {{"path", "/a\n"}}), "no control characters"},
      {Layer("file", {{"path", ""}}), "path must be absolute"},
  };
  for (const auto& [built, error] : kCases) {
    SCOPED_TRACE(built.text());
    const absl::StatusOr<Policy> policy = built.Build();
    EXPECT_TRUE(absl::IsInvalidArgument(policy.status()));
    EXPECT_THAT(std::string(policy.status().message()), HasSubstr(std::string(error)));
  }
}

// --- hostile text ---

std::string WithoutBackslashes(std::string text) {
  std::erase(text, '\\');
  return text;
}

// Whatever `text` is: a policy that prints and parses back, or an error with a column of the text
// and nothing that a terminal would obey.
void ExpectSane(const std::string& text) {
  SCOPED_TRACE(EscapeBytes(text));
  const absl::StatusOr<Policy> policy = Policy::Parse(text);
  if (policy.ok()) {
    EXPECT_EQ(CanonicalOf(policy->ToString()), policy->ToString());
    EXPECT_LE(policy->layers().size(), 32u);
    (void)policy->MetBy({});  // must not crash; there is nothing to compare with
    return;
  }
  const std::string message(policy.status().message());
  ASSERT_THAT(message, StartsWith("column "));
  const std::size_t digits = std::string("column ").size();
  std::size_t column = 0;
  ASSERT_TRUE(absl::SimpleAtoi(message.substr(digits, message.find(':') - digits), &column));
  EXPECT_GE(column, 1u);
  EXPECT_LE(column, text.size() + 1);
  EXPECT_EQ(EscapeBytes(WithoutBackslashes(message)), WithoutBackslashes(message));
}

TEST(HostilePolicyTest, EveryPrefixAndEveryDeletion) {
  const std::string text = R"(any(at_least(2,file,file(path="/\"a\\")),all(file),veto=off))";
  for (std::size_t i = 0; i <= text.size(); ++i) ExpectSane(text.substr(0, i));
  for (std::size_t i = 0; i < text.size(); ++i) ExpectSane(text.substr(0, i) + text.substr(i + 1));
}

TEST(HostilePolicyTest, EveryByteInEveryPlace) {
  const std::string text = R"(at_least(1,file(path="/\\")))";
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string hostile = text;
      hostile[i] = static_cast<char>(byte);
      ExpectSane(hostile);
    }
  }
}

TEST(HostilePolicyTest, LongAndDeep) {
  for (const std::string_view part : {"all(", "at_least(1,", "(", ")", ",", "\"", "\\", "=",
                                      "file,", "file(", "file(path=\"", "9", " ", "\xff", "\xc3"}) {
    ExpectSane(Repeat(part, 4096 / part.size()));
    ExpectSane(Repeat(part, 5000));
  }
  ExpectSane("at_least(" + std::string(4000, '9') + ",file)");
  ExpectSane("file(path=/" + std::string(4000, 'a') + ")");
  ExpectSane(std::string(4096, '\0'));
}

TEST_F(RandomPolicyTest, SurvivesRandomBytesAndMutations) {
  constexpr auto kTime = std::chrono::seconds(1);
  constexpr std::string_view kTokens[] = {"all", "any", "at_least", "file",  "path", "(",
                                          ")",   ",",   "=",        "\"",    "\\",   " ",
                                          "2",   "/x",  "veto=off", "strict"};
  const auto end = std::chrono::steady_clock::now() + kTime;
  while (std::chrono::steady_clock::now() < end && !HasFailure()) {
    std::string text;
    if (generator_.Below(2) == 0) text = generator_.Text(/*levels=*/3).noisy;
    for (std::size_t edits = generator_.Below(20); edits > 0; --edits) {
      const std::size_t at = generator_.Below(text.size() + 1);
      const std::size_t what = generator_.Below(4);
      if (what == 0) text.insert(at, kTokens[generator_.Below(std::size(kTokens))]);
      if (what == 1) text.insert(at, 1, static_cast<char>(generator_.Below(256)));
      if (what == 2) text.erase(at, 1 + generator_.Below(3));
      if (what == 3) text.insert(at, text.substr(generator_.Below(text.size() + 1), 30));
    }
    ExpectSane(text);
  }
}

}  // namespace
}  // namespace soleguard

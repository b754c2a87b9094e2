// The policy language: a recursive-descent parser, the canonical text, and the evaluation.
#include "soleguard/policy.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "soleguard/layer.h"
#include "soleguard/nearest.h"
#include "soleguard/registry.h"
#include "soleguard/text.h"

namespace soleguard {

struct Policy::Node {
  enum class Kind { kLayer, kAll, kAny, kAtLeast };

  Kind kind = Kind::kLayer;
  std::size_t layer = 0;   // of a leaf: the index into layers()
  std::size_t needed = 0;  // of a group: how many children must be met
  std::vector<Node> children;
};

namespace {

using Node = Policy::Node;

constexpr std::size_t kMaxBytes = 4096;
// Bounds the recursion of parsing, printing, evaluating and destroying.
constexpr int kMaxLevels = 32;
constexpr std::size_t kMaxLayers = 32;
constexpr std::size_t kMaxQuotedInError = 40;

constexpr std::string_view kAllWord = "all";
constexpr std::string_view kAnyWord = "any";
constexpr std::string_view kAtLeastWord = "at_least";
constexpr std::string_view kVetoWord = "veto";
constexpr std::string_view kOffWord = "off";

// The named policies, in the order in which they are shown. Literal: what a name stands for is the
// same in every build, whichever layers are added to it.
struct Name {
  std::string_view word;
  std::string_view text;
};
constexpr Name kNames[] = {{"default", "all(file, mutex, port)"},
                           {"strict", "all(file, mutex, port, scan)"},
                           {"available", "at_least(2, file, mutex, port)"}};

const Name* FindName(std::string_view word) {
  const auto* found = std::find_if(std::begin(kNames), std::end(kNames),
                                   [&](const Name& name) { return name.word == word; });
  return found == std::end(kNames) ? nullptr : found;
}

std::string NamesOfPolicies() {
  std::string names;
  for (const Name& name : kNames) {
    if (!names.empty()) names += ", ";
    names += name.word;
  }
  return names;
}

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

bool IsWordByte(char c) {
  return !IsBlank(c) && !IsControl(c) &&
         std::string_view(",()=\"").find(c) == std::string_view::npos;
}

bool IsKey(std::string_view word) {
  return std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// `last`: what stands behind the members of the group, if it is one.
std::string Print(const Node& node, const std::vector<LayerSpec>& layers,
                  std::string_view last = "") {
  std::string text;
  switch (node.kind) {
    case Node::Kind::kLayer:
      return layers[node.layer].ToString();
    case Node::Kind::kAll:
      text = "all(";
      break;
    case Node::Kind::kAny:
      text = "any(";
      break;
    case Node::Kind::kAtLeast:
      text = absl::StrCat("at_least(", node.needed, ", ");
      break;
  }
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    if (i > 0) text += ", ";
    text += Print(node.children[i], layers);
  }
  text += last;
  return text + ')';
}

bool Met(const Node& node, LayerSet confirmed) {
  if (node.kind == Node::Kind::kLayer) return (confirmed >> node.layer & 1) != 0;
  const auto met = std::count_if(node.children.begin(), node.children.end(),
                                 [&](const Node& child) { return Met(child, confirmed); });
  return static_cast<std::size_t>(met) >= node.needed;
}

void Renumber(Node& node, const std::vector<std::size_t>& new_index) {
  if (node.kind == Node::Kind::kLayer) node.layer = new_index[node.layer];
  for (Node& child : node.children) Renumber(child, new_index);
}

// Brings `layers` into the canonical order and lets the leaves under `root` follow.
void SortLayers(Node& root, std::vector<LayerSpec>& layers) {
  std::vector<std::size_t> order(layers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (layers[a].kind == layers[b].kind) return layers[a].ToString() < layers[b].ToString();
    return ComesBefore(*layers[a].kind, *layers[b].kind);
  });
  std::vector<std::size_t> new_index(layers.size());
  std::vector<LayerSpec> sorted;
  for (std::size_t i = 0; i < order.size(); ++i) {
    new_index[order[i]] = i;
    sorted.push_back(std::move(layers[order[i]]));
  }
  layers = std::move(sorted);
  Renumber(root, new_index);
}

std::string KindNames() {
  std::string names;
  for (const LayerKind& kind : LayerKinds()) {
    if (!names.empty()) names += ", ";
    names += kind.name;
  }
  return names;
}

// The words with which an expression begins; `outermost`: of the whole text.
std::vector<std::string> FirstWords(bool outermost) {
  std::vector<std::string> words = {std::string(kAllWord), std::string(kAnyWord),
                                    std::string(kAtLeastWord)};
  for (const LayerKind& kind : LayerKinds()) words.emplace_back(kind.name);
  for (const Name& name : kNames) {
    if (outermost) words.emplace_back(name.word);
  }
  return words;
}

// Reads one policy. Positions are byte offsets from 0; errors print them as columns from 1.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  // The whole text as one expression; its leaves are indices into layers(), in order of appearance.
  absl::StatusOr<Node> Run();

  std::vector<LayerSpec>& layers() { return layers_; }
  bool veto() const { return veto_; }
  // Whether Run found more policies behind the first one.
  bool is_list() const { return is_list_; }

 private:
  absl::StatusOr<Node> ParseExpression(int level);
  absl::StatusOr<Node> ParseGroup(Node::Kind kind, std::string_view word, int level);
  absl::StatusOr<Node> ParseAtLeast(int level);
  absl::StatusOr<std::size_t> ParseNumber();
  absl::StatusOr<std::vector<Node>> ParseList(int level);
  absl::Status ParseVeto();
  absl::StatusOr<Node> ParseNamed(const Name& name, int level, std::size_t start);
  absl::StatusOr<Node> ParseLayer(const LayerKind& kind, std::size_t start);
  absl::StatusOr<LayerParameters> ParseParameters();
  absl::Status ParseParameter(LayerParameters& parameters);
  absl::StatusOr<std::string> ParseValue(std::string_view what);
  absl::StatusOr<std::string> ParseQuoted();

  // Whether the list goes on after one of its members.
  absl::StatusOr<bool> ListContinues();
  // Consumes `c`, over blanks before it, if it is next.
  bool Accept(char c);
  bool AtEnd() const { return position_ == text_.size(); }
  void SkipBlanks();
  // The word at the position; empty if none stands there.
  std::string_view PeekWord(std::size_t position) const;
  std::string_view TakeWord();

  absl::Status Error(std::size_t position, std::string_view message) const;
  absl::Status Expected(std::size_t position, std::string_view what) const;
  std::string Found(std::size_t position) const;

  const std::string_view text_;
  std::size_t position_ = 0;
  std::vector<LayerSpec> layers_;
  bool veto_ = true;
  bool is_list_ = false;
};

absl::StatusOr<Node> Parser::Run() {
  if (text_.size() > kMaxBytes) {
    return Error(kMaxBytes, absl::StrCat("a policy has at most ", kMaxBytes,
                                         " bytes, this one has ", text_.size()));
  }
  absl::StatusOr<Node> root = ParseExpression(/*level=*/1);
  if (!root.ok()) return root;
  SkipBlanks();
  if (AtEnd()) return root;
  is_list_ = text_[position_] == ',';
  return Expected(position_, "the end");
}

absl::StatusOr<Node> Parser::ParseExpression(int level) {
  SkipBlanks();
  const std::size_t start = position_;
  if (level > kMaxLevels) {
    return Error(start, absl::StrCat("a policy has at most ", kMaxLevels, " levels"));
  }
  const std::string_view word = TakeWord();
  if (word == kAllWord) return ParseGroup(Node::Kind::kAll, word, level);
  if (word == kAnyWord) return ParseGroup(Node::Kind::kAny, word, level);
  if (word == kAtLeastWord) return ParseAtLeast(level);
  if (const LayerKind* kind = FindLayerKind(word)) return ParseLayer(*kind, start);
  if (const Name* name = FindName(word)) return ParseNamed(*name, level, start);
  if (word == kVetoWord && level > 1) {
    return Error(start, "veto=off stands behind the last member of the outermost group");
  }
  const std::string names =
      level == 1 ? absl::StrCat("; named policies: ", NamesOfPolicies()) : std::string();
  return Error(start, absl::StrCat("expected a layer, all(, any( or at_least(, found ",
                                   Found(start), DidYouMean(word, FirstWords(level == 1)),
                                   "; layers built: ", KindNames(), names));
}

absl::StatusOr<Node> Parser::ParseNamed(const Name& name, int level, std::size_t start) {
  if (level > 1) {
    return Error(start, absl::StrCat("named policy '", std::string(name.word),
                                     "' stands alone; here write ", std::string(name.text)));
  }
  Parser parser(name.text);
  absl::StatusOr<Node> root = parser.Run();
  layers_ = std::move(parser.layers_);
  return root;
}

absl::StatusOr<Node> Parser::ParseGroup(Node::Kind kind, std::string_view word, int level) {
  if (!Accept('(')) return Expected(position_, absl::StrCat("'(' after ", std::string(word)));
  absl::StatusOr<std::vector<Node>> children = ParseList(level + 1);
  if (!children.ok()) return children.status();
  const std::size_t needed = kind == Node::Kind::kAny ? 1 : children->size();
  return Node{.kind = kind, .needed = needed, .children = *std::move(children)};
}

absl::StatusOr<Node> Parser::ParseAtLeast(int level) {
  if (!Accept('(')) return Expected(position_, "'(' after at_least");
  SkipBlanks();
  const std::size_t start = position_;
  const absl::StatusOr<std::size_t> needed = ParseNumber();
  if (!needed.ok()) return needed.status();
  if (!Accept(',')) return Expected(position_, "',' and a list after the number");
  absl::StatusOr<std::vector<Node>> children = ParseList(level + 1);
  if (!children.ok()) return children.status();
  if (*needed < 1 || *needed > children->size()) {
    return Expected(
        start, absl::StrCat("a number from 1 to ", children->size(), " (as many as the list has)"));
  }
  return Node{.kind = Node::Kind::kAtLeast, .needed = *needed, .children = *std::move(children)};
}

absl::StatusOr<std::size_t> Parser::ParseNumber() {
  const std::size_t start = position_;
  const std::string_view word = TakeWord();
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (word.empty() || end != word.data() + word.size()) return Expected(start, "a number");
  // More than fits is more than any list has: the caller refuses it and knows the list's length.
  if (error == std::errc::result_out_of_range) return std::numeric_limits<std::size_t>::max();
  return number;
}

absl::StatusOr<std::vector<Node>> Parser::ParseList(int level) {
  std::vector<Node> children;
  for (;;) {
    SkipBlanks();
    if (level == 2 && !children.empty() && PeekWord(position_) == kVetoWord) {
      absl::Status veto = ParseVeto();
      if (!veto.ok()) return veto;
      return children;
    }
    absl::StatusOr<Node> child = ParseExpression(level);
    if (!child.ok()) return child.status();
    children.push_back(*std::move(child));
    const absl::StatusOr<bool> more = ListContinues();
    if (!more.ok()) return more.status();
    if (!*more) return children;
  }
}

// "veto=off)": the end of the outermost group's list.
absl::Status Parser::ParseVeto() {
  (void)TakeWord();
  if (!Accept('=')) return Expected(position_, "'=' after veto");
  SkipBlanks();
  const std::size_t start = position_;
  if (TakeWord() != kOffWord) return Expected(start, "off (without veto=off the veto is on)");
  if (!Accept(')')) return Expected(position_, "')' after veto=off");
  veto_ = false;
  return absl::OkStatus();
}

absl::StatusOr<Node> Parser::ParseLayer(const LayerKind& kind, std::size_t start) {
  LayerSpec spec{.kind = &kind, .parameters = {}};
  if (Accept('(')) {
    absl::StatusOr<LayerParameters> parameters = ParseParameters();
    if (!parameters.ok()) return parameters.status();
    spec.parameters = *std::move(parameters);
  }
  if (const absl::Status status = kind.check(spec.parameters); !status.ok()) {
    return Error(start, absl::StrCat(std::string(kind.name), ": ", status.message()));
  }
  const auto known = std::find(layers_.begin(), layers_.end(), spec);
  const auto index = static_cast<std::size_t>(known - layers_.begin());
  if (known == layers_.end()) {
    if (layers_.size() == kMaxLayers) {
      return Error(start, absl::StrCat("a policy names at most ", kMaxLayers, " different layers"));
    }
    layers_.push_back(std::move(spec));
  }
  return Node{.kind = Node::Kind::kLayer, .layer = index, .children = {}};
}

absl::StatusOr<LayerParameters> Parser::ParseParameters() {
  LayerParameters parameters;
  for (;;) {
    if (absl::Status status = ParseParameter(parameters); !status.ok()) return status;
    const absl::StatusOr<bool> more = ListContinues();
    if (!more.ok()) return more.status();
    if (!*more) return parameters;
  }
}

absl::Status Parser::ParseParameter(LayerParameters& parameters) {
  SkipBlanks();
  const std::size_t start = position_;
  const bool quoted = !AtEnd() && text_[start] == '"';
  absl::StatusOr<std::string> value = ParseValue("a parameter");
  if (!value.ok()) return value.status();
  std::string key;
  if (!quoted && Accept('=')) {
    if (!IsKey(*value)) return Expected(start, "a key of a-z, 0-9 and _");
    key = *std::move(value);
    SkipBlanks();
    value = ParseValue("a value");
    if (!value.ok()) return value.status();
  }
  if (parameters.emplace(key, *std::move(value)).second) return absl::OkStatus();
  if (key.empty()) return Error(start, "a second parameter without a key");
  return Error(start, absl::StrCat("parameter '", key, "' is given twice"));
}

absl::StatusOr<std::string> Parser::ParseValue(std::string_view what) {
  if (!AtEnd() && text_[position_] == '"') return ParseQuoted();
  const std::string_view word = TakeWord();
  if (word.empty()) return Expected(position_, what);
  return std::string(word);
}

absl::StatusOr<std::string> Parser::ParseQuoted() {
  const std::size_t start = position_++;
  std::string value;
  for (; !AtEnd(); ++position_) {
    char c = text_[position_];
    if (c == '"') {
      ++position_;
      return value;
    }
    if (IsControl(c)) {
      return Error(position_,
                   absl::StrCat("a value has no control characters, found ", Found(position_)));
    }
    if (c == '\\') {
      if (++position_ == text_.size()) break;
      c = text_[position_];
      if (c != '"' && c != '\\') return Expected(position_, "\" or \\ after the backslash");
    }
    value += c;
  }
  return Error(start, "expected a quote that closes this one, found the end");
}

absl::StatusOr<bool> Parser::ListContinues() {
  if (Accept(',')) return true;
  if (Accept(')')) return false;
  return Expected(position_, "',' or ')'");
}

bool Parser::Accept(char c) {
  SkipBlanks();
  if (AtEnd() || text_[position_] != c) return false;
  ++position_;
  return true;
}

void Parser::SkipBlanks() {
  while (!AtEnd() && IsBlank(text_[position_])) ++position_;
}

std::string_view Parser::PeekWord(std::size_t position) const {
  const std::string_view rest = text_.substr(position);
  const auto end = std::find_if_not(rest.begin(), rest.end(), IsWordByte);
  return rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
}

std::string_view Parser::TakeWord() {
  const std::string_view word = PeekWord(position_);
  position_ += word.size();
  return word;
}

absl::Status Parser::Error(std::size_t position, std::string_view message) const {
  return absl::InvalidArgumentError(
      absl::StrCat("column ", position + 1, ": ", std::string(message)));
}

absl::Status Parser::Expected(std::size_t position, std::string_view what) const {
  return Error(position, absl::StrCat("expected ", std::string(what), ", found ", Found(position)));
}

// What stands at `position`, for a message: a word, else one byte, else the end.
std::string Parser::Found(std::size_t position) const {
  if (position == text_.size()) return "the end";
  const std::string_view word = PeekWord(position);
  if (word.empty()) return absl::StrCat("'", EscapeBytes(text_.substr(position, 1)), "'");
  const bool cut = word.size() > kMaxQuotedInError;
  return absl::StrCat("'", EscapeBytes(word.substr(0, kMaxQuotedInError)), cut ? "...'" : "'");
}

// "all(file, mutex)" of "file,mutex"; empty: that is no policy either.
std::string AsGroup(std::string_view text) {
  const std::string group = absl::StrCat("all(", std::string(text), ")");
  Parser parser(group);
  const absl::StatusOr<Node> root = parser.Run();
  // veto=off is nothing to suggest.
  return root.ok() && parser.veto() ? Print(*root, parser.layers()) : "";
}

}  // namespace

std::string LayerSpec::ToString() const {
  std::string text(kind->name);
  if (parameters.empty()) return text;
  char separator = '(';
  for (const auto& [key, value] : parameters) {
    text += separator;
    if (separator == ',') text += ' ';
    if (!key.empty()) text += key + '=';
    text += QuotePolicyValue(value);
    separator = ',';
  }
  return text + ')';
}

Policy::Policy(std::shared_ptr<const Node> root, std::vector<LayerSpec> layers, bool veto)
    : root_(std::move(root)), layers_(std::move(layers)), veto_(veto) {}

absl::StatusOr<Policy> Policy::Parse(std::string_view text) {
  Parser parser(text);
  absl::StatusOr<Node> root = parser.Run();
  if (!root.ok()) {
    const std::string group = parser.is_list() ? AsGroup(text) : "";
    if (group.empty()) return root.status();
    return absl::InvalidArgumentError(
        absl::StrCat(root.status().message(), "; several layers stand in a group: ", group));
  }
  SortLayers(*root, parser.layers());
  Policy policy(std::make_shared<const Node>(*std::move(root)), std::move(parser.layers()),
                parser.veto());
  // The canonical text has a blank after each comma. It must be a policy as well: other processes
  // read it from records.
  if (const std::size_t size = policy.ToString().size(); size > kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrCat("column 1: a policy has at most ", kMaxBytes,
                                                   " bytes, this one has ", size,
                                                   " with a blank after each comma"));
  }
  return policy;
}

Policy Policy::Default() { return *Parse(kNames[0].text); }

std::vector<NamedPolicy> Policy::Named() {
  std::vector<NamedPolicy> named;
  for (const Name& name : kNames) {
    named.push_back({.name = name.word, .policy = *Parse(name.text)});
  }
  return named;
}

std::string Policy::ToString() const { return Print(*root_, layers_, veto_ ? "" : ", veto=off"); }

bool Policy::MetBy(const std::vector<bool>& confirmed) const {
  LayerSet set = 0;
  for (std::size_t i = 0; i < std::min(confirmed.size(), layers_.size()); ++i) {
    if (confirmed[i]) set |= LayerSet{1} << i;
  }
  return MetBy(set);
}

bool Policy::MetBy(LayerSet confirmed) const { return Met(*root_, confirmed); }

}  // namespace soleguard

#include "soleguard/text.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/str_replace.h>

namespace soleguard {
namespace {

struct CodePoint {
  char32_t value = 0;
  std::size_t size = 0;  // bytes
};

// The lengths and lowest values of UTF-8 sequences, by their first byte (RFC 3629, section 3).
struct Lead {
  std::uint8_t mask;
  std::uint8_t bits;
  std::size_t size;
  char32_t lowest;  // a smaller value is an overlong form, which could hide a control character
};
constexpr Lead kLeads[] = {
    {0x80, 0x00, 1, 0x0},
    {0xe0, 0xc0, 2, 0x80},
    {0xf0, 0xe0, 3, 0x800},
    {0xf8, 0xf0, 4, 0x10000},
};

// The well-formed UTF-8 sequence at the start of `bytes`, which is not empty.
std::optional<CodePoint> FirstCodePoint(std::string_view bytes) {
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  for (const Lead& lead : kLeads) {
    if ((first & lead.mask) != lead.bits) continue;
    if (bytes.size() < lead.size) return std::nullopt;
    char32_t value = first & static_cast<std::uint8_t>(~lead.mask);
    for (const char c : bytes.substr(1, lead.size - 1)) {
      const auto byte = static_cast<std::uint8_t>(c);
      if ((byte & 0xc0) != 0x80) return std::nullopt;
      value = (value << 6) | (byte & 0x3fU);
    }
    const bool surrogate = value >= 0xd800 && value <= 0xdfff;
    if (value < lead.lowest || value > 0x10ffff || surrogate) return std::nullopt;
    return CodePoint{value, lead.size};
  }
  return std::nullopt;
}

bool IsControl(char32_t c) { return c < 0x20 || (c >= 0x7f && c <= 0x9f); }

// The characters with which a foreign text could make a line look like another one: line and
// paragraph separators, and all that have the property Bidi_Control (Unicode Standard Annex 9).
bool RearrangesLine(char32_t c) {
  return c == 0x2028 || c == 0x2029 || c == 0x061c || c == 0x200e || c == 0x200f ||
         (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void AppendHex(std::string& out, std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<std::uint8_t>(c);
    out += "\\x";
    out += kDigits[byte >> 4];
    out += kDigits[byte & 0xf];
  }
}

std::optional<unsigned> HexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

// The byte that `\xNN` at the start of `text` stands for.
std::optional<char> HexEscape(std::string_view text) {
  if (text.size() < 4 || text[0] != '\\' || text[1] != 'x') return std::nullopt;
  const std::optional<unsigned> high = HexDigit(text[2]);
  const std::optional<unsigned> low = HexDigit(text[3]);
  if (!high || !low) return std::nullopt;
  return static_cast<char>(static_cast<unsigned char>(*high << 4 | *low));
}

constexpr std::array<std::string_view, 7> kSecretNames = {
    "password", "passwd", "token", "secret", "api-key", "apikey", "access-key"};

// "bot-token" and "BOT_TOKEN" are of "token".
bool IsSecretName(std::string_view name) {
  const std::string text = absl::StrReplaceAll(
      absl::AsciiStrToLower(absl::string_view(name.data(), name.size())), {{"_", "-"}});
  return std::any_of(kSecretNames.begin(), kSecretNames.end(), [&text](std::string_view secret) {
    return text == secret || text.ends_with("-" + std::string(secret));
  });
}

}  // namespace

std::string EscapeBytes(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::optional<CodePoint> c = FirstCodePoint(bytes);
    const std::string_view unit = bytes.substr(0, c ? c->size : 1);
    bytes.remove_prefix(unit.size());
    if (!c || IsControl(c->value) || RearrangesLine(c->value)) {
      AppendHex(out, unit);
    } else if (c->value == U'\\') {
      out += "\\\\";
    } else {
      out += unit;
    }
  }
  return out;
}

std::string UnescapeBytes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    if (const std::optional<char> byte = HexEscape(text)) {
      out += *byte;
      text.remove_prefix(4);
    } else {
      out += text[0];
      text.remove_prefix(text.substr(0, 2) == "\\\\" ? 2 : 1);
    }
  }
  return out;
}

std::string QuotePolicyValue(std::string_view value) {
  const auto is_plain = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f && std::string_view(",()=\"").find(c) == std::string::npos;
  };
  if (!value.empty() && std::all_of(value.begin(), value.end(), is_plain)) {
    return std::string(value);
  }
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::vector<Secret> SecretsIn(const std::vector<std::string>& argv) {
  std::vector<Secret> secrets;
  std::string next;  // whose the next word is
  for (std::size_t i = 0; i < argv.size(); ++i) {
    const std::string& word = argv[i];
    if (!next.empty()) {
      secrets.push_back({.word = i, .begin = 0, .name = std::exchange(next, "")});
      continue;
    }
    const std::size_t dashes = std::min(word.find_first_not_of('-'), word.size());
    const std::size_t equals = word.find('=', dashes);
    const bool has_value = equals != std::string::npos;
    const std::string name = word.substr(dashes, has_value ? equals - dashes : equals);
    if (dashes > 2 || (dashes == 0 && !has_value) || !IsSecretName(name)) continue;
    if (has_value) {
      secrets.push_back({.word = i, .begin = equals + 1, .name = name});
    } else {
      next = name;
    }
  }
  return secrets;
}

std::vector<std::string> MaskSecrets(std::vector<std::string> argv) {
  for (const Secret& secret : SecretsIn(argv))
    argv[secret.word].replace(secret.begin, std::string::npos, "***");
  return argv;
}

}  // namespace soleguard

// Foreign bytes as text. What other processes chose (names, arguments, paths) is untrusted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace soleguard {

// `bytes` as printable UTF-8 on one line, without loss: well-formed printable UTF-8 stays as it is;
// a backslash becomes `\\`; a control character (C0, DEL, C1), a byte that is not UTF-8 and the
// characters that reorder or break a line on a terminal (U+2028, U+2029, U+061C, U+200E, U+200F,
// U+202A to U+202E, U+2066 to U+2069) become `\xNN` per byte. So a hostile argv cannot control a
// terminal, and JSON made from the result is valid.
std::string EscapeBytes(std::string_view bytes);

// The inverse of EscapeBytes. Anything that is not a valid escape is kept as it is.
std::string UnescapeBytes(std::string_view text);

// Where a secret stands in an argument vector.
struct Secret {
  std::size_t word = 0;
  std::size_t begin = 0;  // in the word
  std::string name;       // "api-key"
};
// The value of --password, --passwd, --token, --secret, --api-key, --apikey and --access-key, as
// the next word or after '='; one dash counts as two. And that of a variable of such a name
// (API_KEY=...). A name that ends so (--bot-token, DB_PASSWORD) is one of them.
std::vector<Secret> SecretsIn(const std::vector<std::string>& argv);

// `argv` for showing: each secret is replaced by "***".
std::vector<std::string> MaskSecrets(std::vector<std::string> argv);

// `value` as it is written in the text of a policy: unchanged if it is one word there, else in
// quotes.
std::string QuotePolicyValue(std::string_view value);

}  // namespace soleguard

// Text that may be shown. What other processes chose (names, arguments, paths) drives a terminal
// and breaks JSON; escaped twice it is another text. So it has a type of its own.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/string_view.h>

namespace guardcheck {

// Printable UTF-8, with newlines where guardcheck itself breaks a line. It is made of literals and
// by the functions below; no std::string becomes one by itself.
class Shown {
 public:
  Shown() = default;
  template <std::size_t size>
  Shown(const char (&literal)[size]) : text_(literal) {}  // NOLINT(google-explicit-constructor)
  template <std::size_t size>
  Shown(char (&buffer)[size]) = delete;

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }

  Shown& operator+=(const Shown& more) {
    text_ += more.text_;
    return *this;
  }
  friend bool operator==(const Shown& a, const Shown& b) = default;

 private:
  friend Shown Escape(std::string_view);
  friend Shown Said(std::string_view);
  friend Shown ShellWord(std::string_view);
  friend Shown Padded(const Shown&, std::size_t);
  friend Shown PaddedLeft(const Shown&, std::size_t);
  template <typename... Parts>
  friend Shown Text(const Parts&... parts);

  explicit Shown(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

// Foreign bytes, escaped as EscapeBytes does it.
Shown Escape(std::string_view foreign);

// What the library says (evidence, a status, a word for an enumerator), where the foreign bytes are
// escaped already, and what guardcheck itself makes of numbers and times. It stays as it is; what
// should have been escaped and was not is escaped here.
Shown Said(std::string_view text);
inline Shown Said(absl::string_view text) {
  return Said(std::string_view(text.data(), text.size()));
}
inline Shown Said(const std::string& text) { return Said(std::string_view(text)); }

// The library's word for an enumerator.
template <typename Enumerator>
requires std::is_enum_v<Enumerator> Shown WordOf(Enumerator enumerator) {
  return Said(ToString(enumerator));
}

// `bytes` as one word for bash, printable on any terminal: as they are, quoted, or as $'...' with
// escapes.
Shown ShellWord(std::string_view bytes);

// With blanks behind it or before it, at least so many bytes.
Shown Padded(const Shown& text, std::size_t width);
Shown PaddedLeft(const Shown& text, std::size_t width);

// What Text takes: literals, Shown and whole numbers.
class Part {
 public:
  // NOLINTBEGIN(google-explicit-constructor): it is named nowhere but in Text
  template <std::size_t size>
  Part(const char (&literal)[size]) : text_(literal) {}
  template <std::size_t size>
  Part(char (&buffer)[size]) = delete;
  Part(const Shown& text) : text_(text.text()) {}
  template <std::integral Number>
  Part(Number number) : text_(number) {}
  // NOLINTEND(google-explicit-constructor)
  Part(bool) = delete;

  const absl::AlphaNum& text() const { return text_; }

 private:
  absl::AlphaNum text_;
};

// All in a row.
template <typename... Parts>
Shown Text(const Parts&... parts) {
  return Shown(absl::StrCat(Part(parts).text()...));
}

// In a row, with `between` between two.
Shown Join(const std::vector<Shown>& texts, const Shown& between);

}  // namespace guardcheck

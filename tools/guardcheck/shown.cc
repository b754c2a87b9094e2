#include "shown.h"

#include <algorithm>

#include <absl/strings/str_replace.h>

#include <soleguard/text.h>

namespace guardcheck {

Shown Escape(std::string_view foreign) { return Shown(soleguard::EscapeBytes(foreign)); }

Shown Said(std::string_view text) {
  return Shown(soleguard::EscapeBytes(soleguard::UnescapeBytes(text)));
}

Shown ShellWord(std::string_view bytes) {
  std::string shown = soleguard::EscapeBytes(bytes);
  if (shown != bytes) {
    std::string quoted;
    for (const char c : shown) {
      if (c == '\'') quoted += '\\';
      quoted += c;
    }
    return Shown(
        absl::StrCat("$'", quoted, "'"));  // bash reads \\ and \xNN as EscapeBytes writes them
  }
  constexpr std::string_view kSpecial = " '\"$&|;<>()*?[]{}!#~`";
  if (!shown.empty() && shown.find_first_of(kSpecial) == std::string::npos) {
    return Shown(std::move(shown));
  }
  return Shown(absl::StrCat("'", absl::StrReplaceAll(shown, {{"'", "'\\''"}}), "'"));
}

Shown Padded(const Shown& text, std::size_t width) {
  std::string padded = text.text();
  padded.resize(std::max(padded.size(), width), ' ');
  return Shown(std::move(padded));
}

Shown PaddedLeft(const Shown& text, std::size_t width) {
  const std::size_t size = text.text().size();
  return Shown(std::string(std::max(size, width) - size, ' ') + text.text());
}

Shown Join(const std::vector<Shown>& texts, const Shown& between) {
  Shown joined;
  for (const Shown& text : texts) {
    if (&text != &texts.front()) joined += between;
    joined += text;
  }
  return joined;
}

}  // namespace guardcheck

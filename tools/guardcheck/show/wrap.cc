#include "show/wrap.h"

#include <algorithm>

namespace guardcheck {
namespace {

constexpr std::size_t kLeastWidth = 20;  // less is no terminal that somebody reads

bool BeginsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }

std::size_t Columns(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), BeginsCharacter));
}

// Where the lines below begin that go on with this one; npos: it is not to be broken.
std::size_t HangingIndent(std::string_view line, std::size_t width) {
  const std::size_t begin = line.find_first_not_of(' ');
  if (begin == std::string_view::npos) return begin;
  const std::string_view text = line.substr(begin);
  if (begin > 0 && (text.starts_with("guardcheck ") || text.starts_with("kill "))) {
    return std::string_view::npos;
  }
  const std::size_t gap = text.find("  ");
  if (gap == std::string_view::npos) return begin > 0 ? begin + 4 : 0;
  if (begin == 0) return std::string_view::npos;  // the row of a table
  const std::size_t value = line.find_first_not_of(' ', begin + gap);
  return value <= width / 2 ? value : begin + 4;
}

// The last blank at which what stands before it has at most `width` columns, else the first one
// behind; not within the first `from` bytes.
std::size_t BreakOf(std::string_view text, std::size_t from, std::size_t width) {
  std::size_t found = std::string_view::npos;
  std::size_t columns = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (columns > width && found != std::string_view::npos) break;
    if (text[at] == ' ' && at > from) found = at;
    if (BeginsCharacter(text[at])) ++columns;
  }
  return found;
}

}  // namespace

std::string WrapLine(std::string_view line, std::size_t width) {
  if (width < kLeastWidth || Columns(line) <= width) return std::string(line);
  const std::size_t indent = HangingIndent(line, width);
  if (indent == std::string_view::npos) return std::string(line);
  std::string wrapped;
  std::string_view rest = line;
  for (std::size_t used = 0; used + Columns(rest) > width; used = indent) {
    const std::size_t end = BreakOf(rest, used == 0 ? indent : 0, width - used);
    const std::size_t next = end == std::string_view::npos ? end : rest.find_first_not_of(' ', end);
    if (next == std::string_view::npos) break;
    wrapped.append(rest.substr(0, end)).append("\n").append(indent, ' ');
    rest.remove_prefix(next);
  }
  return wrapped.append(rest);
}

}  // namespace guardcheck

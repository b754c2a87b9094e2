#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "show/terminal.h"
#include "show/wrap.h"
#include "system.h"

namespace guardcheck {

bool IsTerminal(std::FILE* stream) { return isatty(fileno(stream)) != 0; }

bool AwaitRoom(std::FILE* stream, absl::Duration patience) {
  return AwaitOne(fileno(stream), POLLOUT, patience);  // of a pipe: PIPE_BUF bytes, 4 KiB on Linux
}

namespace {

bool IsSet(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

bool MayBeBold(std::FILE* stream) {
  if (!IsTerminal(stream) || IsSet("NO_COLOR")) return false;
  return IsSet("TERM") && std::string_view(std::getenv("TERM")) != "dumb";
}

// Of a terminal that does not say how wide it is, what most programs suppose.
std::size_t WidthOf(std::FILE* stream) {
  winsize size = {};
  const bool is_known = ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return is_known ? size.ws_col : 80;
}

std::string ForTerminal(std::string_view text, std::size_t width, bool may_be_bold) {
  std::string shown;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const bool is_heading = may_be_bold && end > at && text[at] != ' ' &&
                            (at == 0 || text.substr(end).starts_with("\n "));
    shown.append(is_heading ? "\033[1m" : "").append(WrapLine(text.substr(at, end - at), width));
    shown.append(is_heading ? "\033[0m" : "").append(end < text.size() ? "\n" : "");
    at = end + 1;
  }
  return shown;
}

}  // namespace

void Show(const Shown& text, std::FILE* stream) {
  const std::string bytes = IsTerminal(stream)
                                ? ForTerminal(text.text(), WidthOf(stream), MayBeBold(stream))
                                : text.text();
  (void)std::fputs(bytes.c_str(), stream);
}

}  // namespace guardcheck

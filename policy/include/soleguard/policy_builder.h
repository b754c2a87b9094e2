// Policies written in C++ instead of text.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "soleguard/layer.h"
#include "soleguard/policy.h"

// policy::All(policy::Layer("file"), policy::Layer("port", {{"", "47777"}})).Build() is what
// Policy::Parse makes of "all(file, port(47777))". Everything here only computes, and is
// thread-safe.
namespace soleguard::policy {

// A policy, or a part of one, that is not checked yet. A value.
class Expression {
 public:
  // The same Policy, or the same InvalidArgument, as Policy::Parse gives for text(). The message
  // names the column of text(), and text() itself.
  absl::StatusOr<Policy> Build() const;

  // As policy text. Whatever the strings contain that it was made of, it is one expression, or text
  // that Parse refuses.
  const std::string& text() const { return text_; }

 private:
  explicit Expression(std::string text) : text_(std::move(text)) {}

  std::string text_;

  friend Expression Layer(std::string_view kind, const LayerParameters& parameters);
  friend Expression VetoOff(Expression outermost);
  template <typename... Parts>
  friend Expression Group(std::string head, const Parts&... parts);
};

// One layer: Layer("scan", {{"cmdline", "bot"}}). A parameter without a key has the empty one.
Expression Layer(std::string_view kind, const LayerParameters& parameters = {});

// Lets evidence of another instance be outvoted. Only for the outermost group. Unsafe: see
// Policy::veto.
Expression VetoOff(Expression outermost);

// For the functions below.
template <typename... Parts>
Expression Group(std::string head, const Parts&... parts) {
  std::string separator;
  [[maybe_unused]] const auto append = [&](const Expression& part) {
    absl::StrAppend(&head, separator, part.text());
    separator = ", ";
  };
  (append(parts), ...);
  return Expression(absl::StrCat(head, ")"));
}

template <typename... Parts>
Expression All(const Parts&... parts) {
  return Group("all(", parts...);
}
template <typename... Parts>
Expression Any(const Parts&... parts) {
  return Group("any(", parts...);
}
template <typename... Parts>
Expression AtLeast(int needed, const Parts&... parts) {
  return Group(absl::StrCat("at_least(", needed, ", "), parts...);
}

}  // namespace soleguard::policy

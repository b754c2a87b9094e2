#include "soleguard/policy_builder.h"

#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include "soleguard/text.h"

namespace soleguard::policy {

absl::StatusOr<Policy> Expression::Build() const {
  absl::StatusOr<Policy> policy = Policy::Parse(text_);
  if (policy.ok()) return policy;
  constexpr std::size_t kMaxShown = 200;
  const bool cut = text_.size() > kMaxShown;
  return absl::Status(policy.status().code(),
                      absl::StrCat(policy.status().message(), " (in the policy ",
                                   EscapeBytes(text_.substr(0, kMaxShown)), cut ? "...)" : ")"));
}

// Kind and keys are printed as values are: what is no word comes out in quotes, and no quoted text
// is a kind or a key.
Expression Layer(std::string_view kind, const LayerParameters& parameters) {
  std::string text = QuotePolicyValue(kind);
  char separator = '(';
  for (const auto& [key, value] : parameters) {
    absl::StrAppend(&text, absl::string_view(&separator, 1));
    if (!key.empty()) absl::StrAppend(&text, QuotePolicyValue(key), "=");
    absl::StrAppend(&text, QuotePolicyValue(value));
    separator = ',';
  }
  if (separator == ',') text += ')';
  return Expression(std::move(text));
}

Expression VetoOff(Expression outermost) {
  std::string& text = outermost.text_;
  if (!text.empty() && text.back() == ')') text.pop_back();
  text += ", veto=off)";
  return outermost;
}

}  // namespace soleguard::policy

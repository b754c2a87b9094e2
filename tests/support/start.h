// What a traced child does, and who meets it.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include <absl/strings/numbers.h>
#include <absl/time/time.h>

#include "support/child.h"
#include "support/shared.h"
#include "support/test_scope.h"

namespace soleguard::testing {

// The token of a start that said "unique TOKEN", else 0.
inline std::uint64_t TokenIn(const std::string& said) {
  std::uint64_t token = 0;
  const std::size_t blank = said.find(' ');
  if (!said.starts_with("unique ") || !absl::SimpleAtoi(said.substr(blank + 1), &token)) return 0;
  return token;
}

// What a child said, which is killed before it could say it otherwise.
class Answer {
 public:
  void Set(const std::string& said) const {
    std::copy_n(said.data(), std::min(said.size(), text_->size() - 1), text_->data());
  }
  std::string said() const { return text_->data(); }  // empty: nothing yet
  std::uint64_t token() const { return TokenIn(said()); }

 private:
  Shared<std::array<char, 8192>> text_;
};

// A start that meets a traced one. Made by this process or, where the policy looks at processes, by
// a child of it, beside the traced one: the scan layer passes over ancestors and descendants, and
// over the descendants of whoever has registered. What it got it keeps until its end.
class Start {
 public:
  explicit Start(const TestScope& scope, absl::Duration settle = absl::Seconds(1)) {
    const auto acquire = [&] {
      verdict_.emplace(scope.Acquire(settle));
      return Say(*verdict_);
    };
    if (scope.Asks("scan")) {
      child_.emplace(acquire);
      said_ = child_->answer();
    } else {
      said_ = acquire();
    }
  }
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;

  const std::string& said() const { return said_; }
  bool unique() const { return said_.starts_with("unique"); }
  std::uint64_t token() const { return TokenIn(said_); }
  pid_t pid() const { return child_.has_value() ? child_->pid() : getpid(); }
  // What a start of this process got; nullptr in a child.
  const Guard* guard() const {
    const auto* unique = verdict_.has_value() ? std::get_if<Unique>(&*verdict_) : nullptr;
    return unique != nullptr ? &unique->guard : nullptr;
  }

 private:
  std::optional<Verdict> verdict_;
  std::optional<Child> child_;
  std::string said_;
};

}  // namespace soleguard::testing

#include "layers/leased/target.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "soleguard/scope_view.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

struct Settings {
  std::string called;  // the server
  std::optional<std::string> server;
  std::optional<std::string> time;
};

std::optional<std::string> Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

std::optional<std::string> Setting(const Profile& profile, std::string_view key) {
  const std::string* const value = profile.Find(key);
  return value != nullptr ? std::optional(*value) : std::nullopt;
}

absl::StatusOr<Settings> SettingsOf(const LayerContext& context) {
  const auto name = context.parameters.find("");
  if (name == context.parameters.end()) {
    return Settings{.called = "the lease server of SOLEGUARD_LEASE_SERVER",
                    .server = Variable("SOLEGUARD_LEASE_SERVER"),
                    .time = Variable("SOLEGUARD_LEASE_TIME")};
  }
  if (!context.profile.has_value()) {
    return absl::UnavailableError(
        absl::StrCat("there is no profile ", name->second, ": Options::profiles"));
  }
  return Settings{.called = absl::StrCat("the lease server of profile ", name->second),
                  .server = Setting(*context.profile, "server"),
                  .time = Setting(*context.profile, "time")};
}

}  // namespace

absl::Status CheckLeaseParameters(const LayerParameters& parameters) {
  for (const auto& [key, value] : parameters) {
    const bool is_word =
        std::all_of(value.begin(), value.end(), [](char c) { return absl::ascii_isalnum(c); });
    if (key.empty() && !value.empty() && is_word) continue;
    return absl::InvalidArgumentError("lease takes the name of a profile, of letters and digits");
  }
  return absl::OkStatus();
}

std::string LeaseTextOf(const LayerParameters& parameters) {
  const auto name = parameters.find("");
  return name == parameters.end() ? "lease" : absl::StrCat("lease(", name->second, ")");
}

std::string LeaseKeyOf(const Scope& scope, const InstanceName& name) {
  return EscapeBytes(absl::StrCat(IdentityOf(scope), "//", name.key()));
}

absl::StatusOr<LeaseTarget> LeaseTargetOf(const LayerContext& context) {
  absl::StatusOr<Settings> settings = SettingsOf(context);
  if (!settings.ok()) return settings.status();
  if (!settings->server.has_value()) {
    return absl::UnavailableError(absl::StrCat(settings->called, " is not set"));
  }
  int milliseconds = 10'000;
  if (settings->time.has_value() &&
      (!absl::SimpleAtoi(*settings->time, &milliseconds) || milliseconds <= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the time for ", settings->called, " is no number of milliseconds"));
  }
  return LeaseTarget{
      .server = {.address = *std::move(settings->server), .called = std::move(settings->called)},
      .key = LeaseKeyOf(context.scope, context.name),
      .time = absl::Milliseconds(milliseconds)};
}

}  // namespace soleguard

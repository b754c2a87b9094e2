#include "line/command_line.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include <CLI/CLI.hpp>
#include <absl/strings/str_cat.h>

#include "line/config_file.h"
#include "show/policy_error.h"
#include "shown.h"
#include <soleguard/name.h>
#include <soleguard/options.h>
#include <soleguard/patience.h>
#include <soleguard/version.h>

namespace guardcheck {
namespace {

using Takes = CommandKind::Takes;
using Behind = CommandKind::Behind;

Reader IntoPolicy(soleguard::Policy& target) {
  return [&target](const std::string& text) {
    absl::StatusOr<soleguard::Policy> policy = soleguard::Policy::Parse(text);
    if (!policy.ok()) return absl::InvalidArgumentError(PolicyError(text, policy.status()));
    target = *std::move(policy);
    return absl::OkStatus();
  };
}

template <typename Parse>
Reader IntoScope(soleguard::Scope& target, Parse parse) {
  return [&target, parse](const std::string& text) {
    absl::StatusOr<soleguard::Scope> scope = parse(text);
    if (scope.ok()) target = *std::move(scope);
    return scope.status();
  };
}

// In the order in which they are read: the state directory is a part of the scope.
std::vector<Option> CommonOptions(Takes takes, Common& common, std::string& config) {
  if (takes == Takes::kNothing) return {};
  soleguard::Options& options = common.options;
  std::vector<Option> all = {
      {.name = "--config",
       .value = "FILE",
       .help = "the configuration file, instead of ~/.config/soleguard/config.toml and "
               "/etc/soleguard.toml",
       .read = Into(config),
       .is_setting = false},
      {.name = "--policy",
       .value = "POLICY",
       .help =
           "which layers must confirm: default, strict, available, or such as 'all(file, port)'",
       .read = IntoPolicy(common.policy),
       .standard = "default"},
      {.name = "--scope",
       .value = "SCOPE",
       .help = "who shares the name: user, system or an absolute directory",
       .read = IntoScope(options.scope, &soleguard::Scope::Parse),
       .standard = "user"},
      {.name = "--state-dir",
       .value = "DIR",
       .help = "where the ceilings of fencing tokens are kept",
       .read = IntoScope(
           options.scope,
           [&options](const std::string& text) { return options.scope.WithStateDirectory(text); })},
      {.name = "--json", .help = "print JSON", .read = Into(common.json), .is_setting = false}};
  if (takes != Takes::kTimes) return all;
  all.push_back({.name = "--settle",
                 .value = "DURATION",
                 .help = "how long an unknown holder is waited for",
                 .read = Into(options.settle),
                 .standard = "1s"});
  all.push_back({.name = "--deadline",
                 .value = "DURATION",
                 .help = "how long a dying holder is waited for",
                 .read = Into(options.deadline),
                 .standard = "10s"});
  return all;
}

// What the command line says.
class Given {
 public:
  // Tells `app` of the options; their texts are here once it has parsed.
  void Declare(CLI::App& app, const std::vector<Option>& options) {
    for (const Option& option : options) {
      std::string help = option.help;
      if (!option.standard.empty()) absl::StrAppend(&help, " (default: ", option.standard, ")");
      if (option.is_setting) absl::StrAppend(&help, " [", option.variable(), "]");
      std::vector<std::string>& texts = texts_[option.name];
      if (option.is_flag()) {
        app.add_flag(option.name, texts, help);
      } else if (option.bare.empty()) {
        app.add_option(option.name, texts, help)->type_name(option.value)->allow_extra_args(false);
      } else {  // a flag to CLI11: its value needs the "="
        app.add_flag(absl::StrCat(option.name, "{", option.bare, "}"), texts, help)
            ->type_name(absl::StrCat("=", option.value));
      }
    }
  }
  const std::vector<std::string>& Of(const Option& option) const { return texts_.at(option.name); }

 private:
  std::map<std::string, std::vector<std::string>> texts_;  // by the option's name
};

// Settings of the environment count only where the caller can be trusted to set them (AT_SECURE).
std::vector<std::string> FromEnvironment(const std::string& variable) {
  const char* value = secure_getenv(variable.c_str());
  if (value == nullptr || *value == '\0') return {};
  return {value};
}

void Read(const Option& option, const std::vector<std::string>& texts, const std::string& origin) {
  if (texts.size() > 1 && !option.repeats) {
    throw UsageError(absl::StrCat(origin, ": it is said ", texts.size(), " times"));
  }
  for (const std::string& text : texts) {
    // A script's unset variable more often than a wish, and the default instead of it could be
    // another scope, in which a second instance runs.
    if (text.empty()) throw UsageError(absl::StrCat(origin, ": the value is empty"));
    const absl::Status read = option.read(text);
    if (!read.ok()) throw UsageError(absl::StrCat(origin, ": ", std::string(read.message())));
  }
}

// Reads it from the environment or else the files.
InForce ReadSetting(const Option& option, const Config& config) {
  InForce found{.key = option.key(), .standard = option.standard, .texts = {}, .origin = ""};
  if (!option.is_setting) return found;
  found.texts = FromEnvironment(option.variable());
  found.origin = found.texts.empty() ? "" : option.variable();
  const Config::Setting* setting = found.texts.empty() ? config.Find(option.key()) : nullptr;
  if (setting != nullptr) {
    found.texts = setting->texts;
    found.origin = setting->origin;
  }
  Read(option, found.texts,
       setting != nullptr ? absl::StrCat(setting->origin, ": ", setting->key) : found.origin);
  return found;
}

// The options of a command, which are read into it and into `common` and `config`.
std::vector<Option> OptionsOf(const CommandKind& kind, Command& command, Common& common,
                              std::string& config) {
  std::vector<Option> options = CommonOptions(kind.takes, common, config);
  for (Option& own : command.Options()) options.push_back(std::move(own));
  return options;
}

// The settings that some command has.
bool IsSetting(const std::string& key) {
  static const std::set<std::string> keys = [] {
    std::set<std::string> all;
    for (const CommandKind& kind : CommandKinds()) {
      Common common;
      std::string config;
      const std::unique_ptr<Command> command = kind.make();
      for (const Option& option : OptionsOf(kind, *command, common, config)) {
        if (option.is_setting) all.insert(option.key());
      }
    }
    return all;
  }();
  return keys.contains(key);
}

std::string ConfigFile(const std::string& given) {
  if (!given.empty()) return given;
  const std::vector<std::string> named = FromEnvironment("SOLEGUARD_CONFIG");
  return named.empty() ? "" : named.front();
}

void CheckName(const std::string& name) {
  const auto parsed = soleguard::InstanceName::Parse(name);
  if (!parsed.ok())
    throw UsageError(absl::StrCat("NAME: ", std::string(parsed.status().message())));
}

void CheckBehind(const CommandKind& kind, bool dashes, const std::vector<std::string>& command) {
  const std::string name(kind.name);
  if (kind.behind == Behind::kNothing && dashes) {
    throw UsageError(name + ": it takes nothing behind --");
  }
  if (kind.behind == Behind::kCommand && command.empty()) {
    throw UsageError(name + ": expected -- and a command behind the options");
  }
}

const CommandKind* FindKind(const std::string& name) {
  const std::span<const CommandKind> kinds = CommandKinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&name](const CommandKind& kind) { return kind.name == name; });
  return found != kinds.end() ? &*found : nullptr;
}

// `words`: all of the call. `extra`: those that are neither options of the command nor its operand.
void CheckExtra(const CommandKind& kind, const std::vector<Option>& options,
                const std::vector<std::string>& words, const std::vector<std::string>& extra) {
  if (extra.empty()) return;
  // A value without its "=" may have become the operand, so the extra word is perhaps another.
  for (const Option& option : options) {
    const auto said = std::find(words.begin(), words.end(), option.name);
    if (option.bare.empty() || words.end() - said < 2 || !option.read(said[1]).ok()) continue;
    throw UsageError(absl::StrCat(std::string(kind.name), ": ", option.name,
                                  " takes its value behind a '=': ", option.name, "=",
                                  Escape(said[1]).text()));
  }
  const bool is_option = extra.front().starts_with('-');
  throw UsageError(
      absl::StrCat(std::string(kind.name), ": '", Escape(extra.front()).text(),
                   is_option ? "' is no option of it" : "' is not expected",
                   kind.behind == Behind::kNothing ? "" : "; the command stands behind --",
                   "\nRun with --help for more information."));
}

constexpr char kExitCodes[] =
    "Exit codes: 0 yes, 1 send: the holder answered no, 3 not running, 64 usage, 69 cannot tell or "
    "not safe, 70 internal error,\n"
    "75 another instance holds the name, 76 the claim was lost; run: the command's own, 126 and "
    "127\n"
    "as in a shell, 128+n for signal n.";

}  // namespace

std::optional<Parsed> ParseCommandLine(std::vector<std::string> words) {
  // Everything behind the first "--" is the command's: it is never read as options.
  const auto dashes = std::find(words.begin(), words.end(), "--");
  const bool has_dashes = dashes != words.end();
  std::vector<std::string> behind(has_dashes ? dashes + 1 : dashes, words.end());
  words.erase(dashes, words.end());

  const auto is_help = [](const std::string& word) { return word == "-h" || word == "--help"; };
  // "-h run" is the help of run.
  if (words.size() > 1 && is_help(words[0]) && FindKind(words[1]) != nullptr) {
    std::swap(words[0], words[1]);
  }
  if (!words.empty() && words[0].starts_with('-') && !is_help(words[0]) &&
      words[0] != "--version") {
    throw UsageError(absl::StrCat("there is no option '", Escape(words[0]).text(),
                                  "' before a command; guardcheck --help lists the commands, "
                                  "guardcheck COMMAND --help the options of one"));
  }

  CLI::App app("Guards a command against running twice, and shows what is guarded.", "guardcheck");
  app.set_version_flag("--version", std::string(soleguard::Version()));
  app.require_subcommand(1);
  app.footer(kExitCodes);
  const CommandKind* called = nullptr;
  CLI::App* subcommand = nullptr;
  for (const CommandKind& kind : CommandKinds()) {
    CLI::App* added = app.add_subcommand(std::string(kind.name), std::string(kind.help));
    if (words.empty() || words[0] != kind.name) continue;
    called = &kind;
    subcommand = added;
    subcommand->description(absl::StrCat("guardcheck ", words[0], " ", kind.synopsis(), "\n\n",
                                         std::string(kind.help), "\n"));
  }
  if (!words.empty() && !words[0].starts_with('-') && called == nullptr) {
    throw UsageError("there is no command '" + words[0] + "'; guardcheck --help lists them");
  }

  Parsed parsed;
  CLI::Option* operand = nullptr;
  std::vector<Option> options;
  Given given;
  std::string config;
  // The options of a command that is not called are not built: 70 us of each start.
  if (called != nullptr) {
    parsed.command = called->make();
    options = OptionsOf(*called, *parsed.command, parsed.call.common, config);
    if (!called->operand.empty()) {
      operand = subcommand->add_option(called->has_name() ? "NAME" : std::string(called->operand),
                                       parsed.call.operand);
      if (!called->operand.starts_with('[')) operand->required();
    }
    given.Declare(*subcommand, options);
    subcommand->allow_extras();  // complained of below
  }

  try {
    // CLI11 takes a flag's empty value for its default. Here it is a script's unset variable.
    for (const Option& option : options) {
      if (std::find(words.begin(), words.end(), option.name + "=") != words.end()) {
        throw UsageError(option.name + ": the value is empty");
      }
    }
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // it takes them backwards
  } catch (const CLI::Success& asked) {
    (void)app.exit(asked);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    // An unknown option is why NAME is missing, more often than not.
    if (called != nullptr) CheckExtra(*called, options, words, subcommand->remaining());
    throw UsageError(absl::StrCat(error.what(), "\nRun with --help for more information."));
  }
  CheckExtra(*called, options, words, subcommand->remaining());
  CheckBehind(*called, has_dashes, behind);
  if (called->has_name() && operand->count() > 0) CheckName(parsed.call.operand);
  parsed.call.command = std::move(behind);
  if (called->takes == Takes::kNothing) {
    for (const Option& option : options) Read(option, given.Of(option), option.name);
    return parsed;
  }
  // The time that the caller gives for all of it is for a home's server too.
  absl::Duration patience = soleguard::Patience::kMost;
  for (const Option& option : options) {
    if (!option.bounds_call || given.Of(option).size() != 1) continue;
    absl::Duration time;
    if (absl::ParseDuration(given.Of(option).front(), &time)) patience = std::min(patience, time);
  }
  const std::vector<std::string>& named = given.Of(options.front());  // --config
  const Config files(ConfigFile(named.empty() ? "" : named.front()),
                     called->has_name() ? parsed.call.operand : "", &IsSetting, patience);
  for (const Option& option : options) {
    const std::vector<std::string>& texts = given.Of(option);
    if (texts.empty()) {
      (void)ReadSetting(option, files);
    } else {
      Read(option, texts, option.name);
      parsed.call.said.insert(option.name);
    }
  }
  return parsed;
}

std::vector<Option> DocumentedCommonOptions() {
  Common common;
  std::string config;
  std::vector<Option> options = CommonOptions(Takes::kCommon, common, config);
  for (Option& option : options) option.read = nullptr;  // it would read into what is gone
  return options;
}

std::vector<Option> DocumentedOptions(const CommandKind& kind) {
  Common common;
  std::string config;
  const std::unique_ptr<Command> command = kind.make();
  std::vector<Option> options = OptionsOf(kind, *command, common, config);
  for (Option& option : options) option.read = nullptr;  // it would read into what is gone
  return options;
}

std::vector<InForce> SettingsInForce(const std::string& name, const std::string& config) {
  const Config files(ConfigFile(config), name, &IsSetting, soleguard::Patience::kMost);
  std::map<std::string, InForce> settings;  // some are of several commands
  for (const CommandKind& kind : CommandKinds()) {
    Common common;
    std::string ignored;
    const std::unique_ptr<Command> command = kind.make();
    for (const Option& option : OptionsOf(kind, *command, common, ignored)) {
      if (option.is_setting) settings.try_emplace(option.key(), ReadSetting(option, files));
    }
  }
  std::vector<InForce> all;
  for (auto& [key, setting] : settings) all.push_back(std::move(setting));
  return all;
}

}  // namespace guardcheck

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
#include "line/usage.h"
#include "show/policy_error.h"
#include "shown.h"
#include <soleguard/nearest.h>
#include <soleguard/options.h>
#include <soleguard/patience.h>
#include <soleguard/place_name.h>
#include <soleguard/version.h>

namespace guardcheck {
namespace {

using Takes = CommandKind::Takes;

Reader IntoPolicy(soleguard::Policy& target) {
  return [&target](const std::string& text) {
    absl::StatusOr<soleguard::Policy> policy = soleguard::Policy::Parse(text);
    if (!policy.ok()) return absl::InvalidArgumentError(PolicyError(text, policy.status()));
    target = *std::move(policy);
    return absl::OkStatus();
  };
}

// Of what is no scope: a word that is mistyped, or the path from here.
absl::Status WithWhatIsMeant(const std::string& text, const absl::Status& status) {
  if (text.starts_with('/')) return status;
  std::string meant = text.find('/') == std::string::npos
                          ? soleguard::DidYouMean(text, {"user", "system"})
                          : std::string();
  if (meant.empty()) {
    meant = absl::StrCat(" (did you mean ", Escape(AbsolutePath(text)).text(), "?)");
  }
  return absl::InvalidArgumentError(absl::StrCat(status.message(), meant));
}

template <typename Parse>
Reader IntoScope(soleguard::Scope& target, Parse parse) {
  return [&target, parse](const std::string& text) {
    absl::StatusOr<soleguard::Scope> scope = parse(text);
    if (!scope.ok()) return WithWhatIsMeant(text, scope.status());
    target = *std::move(scope);
    return absl::OkStatus();
  };
}

// What is read before the command's own options: it says which settings count.
struct Early {
  std::string config;
  std::string place;
};

Option NameFromOption(Early& early) {
  return {.name = "--name-from",
          .value = "DIR",
          .help =
              "instead of NAME: the name of this directory, however its path is written; the "
              "same for all that start in one place",
          .read = Into(early.place),
          .is_setting = false,
          .is_kept = false};
}

// In the order in which they are read: the state directory is a part of the scope.
std::vector<Option> CommonOptions(Takes takes, Common& common, Early& early) {
  if (takes == Takes::kNothing) return {};
  soleguard::Options& options = common.options;
  std::vector<Option> all = {
      {.name = "--config",
       .value = "FILE",
       .help = "the configuration file, instead of ~/.config/soleguard/config.toml and "
               "/etc/soleguard.toml",
       .read = Into(early.config),
       .is_setting = false},
      {.name = "--policy",
       .value = "POLICY",
       .help =
           "which layers must confirm: default, strict, available, or such as 'all(file, port)'",
       .read = IntoPolicy(common.policy),
       .standard = "default"},
      {.name = "--scope",
       .value = "SCOPE",
       .help =
           "who shares the name: user, system or an absolute directory; for root also user:NAME, "
           "the scope of another user",
       .read = IntoScope(options.scope, &soleguard::Scope::Parse),
       .standard = "user"},
      {.name = "--state-dir",
       .value = "DIR",
       .help = "where the ceilings of fencing tokens and the histories are kept",
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
  InForce found{.key = option.key(), .standard = option.standard, .texts = {}, .origin = {}};
  if (!option.is_setting) return found;
  found.texts = FromEnvironment(option.variable());
  if (!found.texts.empty()) found.origin = Said(option.variable());
  const Config::Setting* setting = found.texts.empty() ? config.Find(option.key()) : nullptr;
  if (setting != nullptr) {
    found.texts = setting->texts;
    found.origin = setting->origin;
  }
  Read(option, found.texts,
       setting != nullptr ? absl::StrCat(setting->origin.text(), ": ", setting->key)
                          : found.origin.text());
  return found;
}

// The options of a command, which are read into it and into `common` and `early`.
std::vector<Option> OptionsOf(const CommandKind& kind, Command& command, Common& common,
                              Early& early) {
  std::vector<Option> options = CommonOptions(kind.takes, common, early);
  if (kind.has_name()) options.push_back(NameFromOption(early));
  for (Option& own : command.Options()) options.push_back(std::move(own));
  return options;
}

// The settings that some command has.
bool IsSetting(const std::string& key) {
  static const std::set<std::string> keys = [] {
    std::set<std::string> all;
    for (const CommandKind& kind : CommandKinds()) {
      Common common;
      Early early;
      const std::unique_ptr<Command> command = kind.make();
      for (const Option& option : OptionsOf(kind, *command, common, early)) {
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

const CommandKind* FindKind(const std::string& name) {
  const std::span<const CommandKind> kinds = CommandKinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&name](const CommandKind& kind) { return kind.name == name; });
  return found != kinds.end() ? &*found : nullptr;
}

bool HasOption(std::string_view command, std::string_view option) {
  const CommandKind* kind = FindKind(std::string(command));
  if (kind == nullptr) return false;
  Common common;
  Early early;
  const std::unique_ptr<Command> made = kind->make();
  const std::vector<Option> options = OptionsOf(*kind, *made, common, early);
  return std::any_of(options.begin(), options.end(),
                     [option](const Option& one) { return one.name == option; });
}

constexpr char kExitCodes[] =
    "Exit codes: 0 yes, 1 send: the holder answered no, 3 not running, 64 usage, 69 cannot tell or "
    "not safe, 70 internal error,\n"
    "75 another instance holds the name, 76 the claim was lost; run: the command's own, 124 after "
    "--max-runtime or --on-no-beat,\n"
    "126 and 127 as in a shell, 128+n for signal n.";

}  // namespace

namespace {

// The words of a call. Everything behind the first "--" is the command's: it is never read as
// options.
struct Words {
  explicit Words(std::vector<std::string> all) : own(std::move(all)) {
    const auto dashes = std::find(own.begin(), own.end(), "--");
    has_dashes = dashes != own.end();
    behind.assign(has_dashes ? dashes + 1 : dashes, own.end());
    own.erase(dashes, own.end());
    if (!own.empty() && own[0] == "help") {
      own[0] = "--help";
      // Of a word that is no command, Called complains.
      if (own.size() > 1 && FindKind(own[1]) == nullptr) own.erase(own.begin());
    }
    // "-h run" is the help of run.
    if (own.size() > 1 && IsHelp(own[0]) && FindKind(own[1]) != nullptr) std::swap(own[0], own[1]);
  }

  static bool IsHelp(const std::string& word) { return word == "-h" || word == "--help"; }

  // The command that is called; nullptr: help or the version is asked for, or nothing is said.
  const CommandKind* Called() const {
    if (own.empty() || IsHelp(own[0]) || own[0] == "--version") return nullptr;
    if (const CommandKind* kind = FindKind(own[0])) return kind;
    if (!own[0].starts_with('-')) RefuseCommand(own[0], behind);
    throw UsageError(absl::StrCat("there is no option '", Escape(own[0]).text(),
                                  "' before a command; guardcheck --help lists the commands, "
                                  "guardcheck COMMAND --help the options of one"));
  }

  std::vector<std::string> own;  // before "--"
  std::vector<std::string> behind;
  bool has_dashes = false;
};

// What CLI11 reads of a command line.
class CommandLine {
 public:
  explicit CommandLine(const Words& words) : words_(words), called_(words.Called()) {
    app_.set_version_flag("--version", std::string(soleguard::Version()));
    app_.require_subcommand(1);
    app_.footer(kExitCodes);
    for (const CommandKind& kind : CommandKinds()) {
      CLI::App* added = app_.add_subcommand(std::string(kind.name), std::string(kind.help));
      if (&kind == called_) subcommand_ = added;
    }
    // The options of a command that is not called are not built: 70 us of each start.
    if (called_ != nullptr) DeclareCalled();
  }

  // False: help or the version was asked for, and has been printed. Else the operand is there; the
  // options are not read yet.
  bool Parse() {
    // CLI11 takes a flag's empty value for its default. Here it is a script's unset variable.
    for (const Option& option : options_) {
      if (std::find(words_.own.begin(), words_.own.end(), option.name + "=") != words_.own.end()) {
        throw UsageError(option.name + ": the value is empty");
      }
    }
    try {
      app_.parse(std::vector(words_.own.rbegin(), words_.own.rend()));  // it takes them backwards
    } catch (const CLI::Success& asked) {
      (void)app_.exit(asked);
      return false;
    } catch (const CLI::ParseError& error) {
      if (called_ != nullptr) Complain();
      throw UsageError(absl::StrCat(Said(std::string(error.what())).text(),
                                    "\nRun with --help for more information."));
    }
    Complain();  // first: an unknown option is why NAME is missing, more often than not
    if (called_->has_name()) TakeNameFromPlace();
    const bool has_operand =
        operand_ != nullptr && (operand_->count() > 0 || !early_.place.empty());
    const bool may_be_without = called_->operand.empty() || called_->operand.starts_with('[');
    if (!has_operand && !may_be_without) RefuseMissingOperand(AsTyped());
    CheckBehind(AsTyped());
    if (has_operand) CheckName(*called_, parsed_.call.operand);
    parsed_.call.command = words_.behind;
    parsed_.call.has_option = &HasOption;
    return true;
  }

  // Reads the options, and of those that were not given the settings.
  Parsed Finish() {
    if (called_->takes == Takes::kNothing) {
      for (const Option& option : options_) Read(option, given_.Of(option), option.name);
      return std::move(parsed_);
    }
    const std::vector<std::string>& named = given_.Of(options_.front());  // --config
    const Config files(ConfigFile(named.empty() ? "" : named.front()),
                       called_->has_name() ? parsed_.call.operand : "", &IsSetting, TimeForFiles());
    parsed_.call.common.options.profiles = files.profiles();
    for (const Option& option : options_) {
      const std::vector<std::string>& texts = given_.Of(option);
      if (texts.empty()) {
        (void)ReadSetting(option, files);
      } else {
        Read(option, texts, option.name);
        for (const std::string& text : texts) {
          if (!option.is_kept) continue;
          parsed_.call.said.push_back({.name = option.name, .words = option.Words(text)});
        }
      }
    }
    return std::move(parsed_);
  }

 private:
  void DeclareCalled() {
    subcommand_->description(absl::StrCat("guardcheck ", words_.own[0], " ", called_->synopsis(),
                                          "\n\n", std::string(called_->help), "\n"));
    parsed_.command = called_->make();
    options_ = OptionsOf(*called_, *parsed_.command, parsed_.call.common, early_);
    if (!called_->operand.empty()) {
      operand_ = subcommand_->add_option(
          called_->has_name() ? "NAME" : std::string(called_->operand), parsed_.call.operand);
    }
    given_.Declare(*subcommand_, options_);
    subcommand_->allow_extras();  // complained of by Complain
  }

  // The settings of a name are its own: it is needed before they are read.
  void TakeNameFromPlace() {
    const auto option = std::find_if(options_.begin(), options_.end(),
                                     [](const Option& one) { return one.name == "--name-from"; });
    const std::vector<std::string>& texts = given_.Of(*option);
    if (texts.empty()) return;
    if (operand_->count() > 0) {
      throw UsageError(absl::StrCat("--name-from: the name is said already: '",
                                    Escape(parsed_.call.operand).text(),
                                    "'; leave one of them out"));
    }
    Read(*option, texts, option->name);
    const auto name = soleguard::NameOfPlace(early_.place);
    if (!name.ok()) throw UsageError(absl::StrCat("--name-from: ", name.status().message()));
    parsed_.call.operand = name->text();
  }

  Typed AsTyped() const {
    return {.kind = *called_,
            .options = options_,
            .words = words_.own,
            .behind = words_.behind,
            .has_dashes = words_.has_dashes,
            .operand = parsed_.call.operand,
            .extra = subcommand_->remaining()};
  }

  void Complain() const {
    CheckValues(AsTyped());
    CheckExtra(AsTyped());
  }

  // The time that the caller gives for all of it is for a home's server too.
  absl::Duration TimeForFiles() const {
    absl::Duration patience = soleguard::Patience::kMost;
    for (const Option& option : options_) {
      if (!option.bounds_call || given_.Of(option).size() != 1) continue;
      absl::Duration time;
      if (absl::ParseDuration(given_.Of(option).front(), &time))
        patience = std::min(patience, time);
    }
    return patience;
  }

  const Words& words_;
  const CommandKind* const called_;
  CLI::App app_{"Guards a command against running twice, and shows what is guarded.", "guardcheck"};
  CLI::App* subcommand_ = nullptr;
  CLI::Option* operand_ = nullptr;
  Parsed parsed_;  // the options are read into it
  Early early_;
  std::vector<Option> options_;
  Given given_;
};

}  // namespace

std::optional<Parsed> ParseCommandLine(std::vector<std::string> words) {
  const Words split(std::move(words));
  CommandLine line(split);
  if (!line.Parse()) return std::nullopt;
  return line.Finish();
}

std::vector<Option> DocumentedCommonOptions() {
  Common common;
  Early early;
  std::vector<Option> options = CommonOptions(Takes::kCommon, common, early);
  options.push_back(NameFromOption(early));
  for (Option& option : options) option.read = nullptr;  // it would read into what is gone
  return options;
}

std::vector<Option> DocumentedOptions(const CommandKind& kind) {
  Common common;
  Early early;
  const std::unique_ptr<Command> command = kind.make();
  std::vector<Option> options = OptionsOf(kind, *command, common, early);
  for (Option& option : options) option.read = nullptr;  // it would read into what is gone
  return options;
}

std::vector<InForce> SettingsInForce(const std::string& name, const std::string& config) {
  const Config files(ConfigFile(config), name, &IsSetting, soleguard::Patience::kMost);
  std::map<std::string, InForce> settings;  // some are of several commands
  for (const CommandKind& kind : CommandKinds()) {
    Common common;
    Early early;
    const std::unique_ptr<Command> command = kind.make();
    for (const Option& option : OptionsOf(kind, *command, common, early)) {
      if (option.is_setting) settings.try_emplace(option.key(), ReadSetting(option, files));
    }
  }
  std::vector<InForce> all;
  for (auto& [key, setting] : settings) all.push_back(std::move(setting));
  return all;
}

}  // namespace guardcheck

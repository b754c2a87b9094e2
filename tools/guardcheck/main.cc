// guardcheck: guards any command against running twice, and shows what is guarded.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <absl/time/time.h>

#include "command.h"
#include "exit_code.h"
#include "supervise.h"
#include <soleguard/name.h>
#include <soleguard/version.h>

namespace guardcheck {
namespace {

// The command line as it was given, before it is checked.
struct Settings {
  std::string name;
  std::string policy;
  std::string scope;
  std::string state_directory;
  std::string settle;
  std::string deadline;
  std::string grace;
  std::string wait;
  bool json = false;
  bool exec = false;
};

// Settings of the environment count only where the caller can be trusted to set them (AT_SECURE).
std::string Environment(const char* variable) {
  const char* value = secure_getenv(variable);
  return value != nullptr ? value : "";
}

class UsageError : public std::exception {
 public:
  explicit UsageError(std::string what) : what_(std::move(what)) {}
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  const std::string what_;
};

template <typename Value>
Value OrUsage(absl::StatusOr<Value> value, const std::string& option) {
  if (value.ok()) return *std::move(value);
  throw UsageError(option + ": " + std::string(value.status().message()));
}

void ReadDuration(const std::string& text, const std::string& option, absl::Duration& duration) {
  if (text.empty()) return;
  absl::Duration parsed;
  if (!absl::ParseDuration(text, &parsed) || parsed < absl::ZeroDuration()) {
    throw UsageError(option + ": expected a duration such as 500ms, 30s or 2m, found '" + text +
                     "'");
  }
  // In effect for ever; more would overflow the clock that it is added to.
  duration = std::min(parsed, absl::Hours(100 * 365 * 24));
}

// The command line wins over the environment, and that over the built-in rule.
Common Resolve(const Settings& settings) {
  Common common;
  common.json = settings.json;
  const std::string policy =
      settings.policy.empty() ? Environment("SOLEGUARD_POLICY") : settings.policy;
  if (!policy.empty()) {
    absl::StatusOr<soleguard::Policy> parsed = soleguard::Policy::Parse(policy);
    if (!parsed.ok()) {
      throw UsageError(PolicyError(settings.policy.empty() ? "SOLEGUARD_POLICY" : "--policy",
                                   policy, parsed.status()));
    }
    common.policy = *std::move(parsed);
  }
  const std::string directory = Environment("SOLEGUARD_DIR");
  if (!settings.scope.empty()) {
    common.options.scope = OrUsage(soleguard::Scope::Parse(settings.scope), "--scope");
  } else if (!directory.empty()) {
    common.options.scope = OrUsage(soleguard::Scope::Directory(directory), "SOLEGUARD_DIR");
  }
  const std::string state = settings.state_directory.empty() ? Environment("SOLEGUARD_STATE_DIR")
                                                             : settings.state_directory;
  if (!state.empty()) {
    common.options.scope =
        OrUsage(common.options.scope.WithStateDirectory(state),
                settings.state_directory.empty() ? "SOLEGUARD_STATE_DIR" : "--state-dir");
  }
  ReadDuration(settings.settle, "--settle", common.options.settle);
  ReadDuration(settings.deadline, "--deadline", common.options.deadline);
  return common;
}

std::string CheckedName(const std::string& name) {
  (void)OrUsage(soleguard::InstanceName::Parse(name), "NAME");
  return name;
}

// An observer looks for the like of the command, unless its parameters say what to look for.
void NeedsNoCommand(const soleguard::Policy& policy) {
  for (const soleguard::LayerSpec& layer : policy.layers()) {
    if (soleguard::FindLayerKind(layer.kind)->observer && layer.parameters.empty()) {
      throw UsageError("check: layer " + layer.kind +
                       " looks for other instances of the command: say behind -- which one it is");
    }
  }
}

// An option with a value. An empty one is a script's unset variable more often than a wish, and the
// default instead of it could be another scope, in which a second instance runs.
void AddOption(CLI::App& command, const std::string& option, std::string& value,
               const std::string& help) {
  command.add_option(option, value, help)->check([](const std::string& text) {
    return text.empty() ? std::string("the value is empty") : std::string();
  });
}

void AddCommonOptions(CLI::App& command, Settings& settings) {
  AddOption(command, "--policy", settings.policy,
            "which layers must confirm: default, strict, available, or such as 'all(file, port)' "
            "(environment: SOLEGUARD_POLICY)");
  AddOption(command, "--scope", settings.scope,
            "who shares the name: user, system or an absolute directory (default: user; "
            "environment: SOLEGUARD_DIR, a directory)");
  AddOption(command, "--state-dir", settings.state_directory,
            "where the ceilings of fencing tokens are kept (environment: SOLEGUARD_STATE_DIR)");
  command.add_flag("--json", settings.json, "print JSON");
}

void AddTimeOptions(CLI::App& command, Settings& settings) {
  AddOption(command, "--settle", settings.settle,
            "how long an unknown holder is waited for (default: 1s)");
  AddOption(command, "--deadline", settings.deadline,
            "how long a dying holder is waited for (default: 10s)");
}

int Main(int argc, char** argv) {
  // Everything behind the first "--" is the command's: it is never read as options.
  int own = 1;
  while (own < argc && std::string(argv[own]) != "--") ++own;
  std::vector<std::string> words(argv + 1, argv + own);
  std::vector<std::string> command(argv + std::min(own + 1, argc), argv + argc);

  Settings settings;
  std::function<int()> action;
  CLI::App app("Guards a command against running twice, and shows what is guarded.", "guardcheck");
  app.set_version_flag("--version", std::string(soleguard::Version()));
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 yes, 3 not running, 64 usage, 69 cannot tell or not safe, 70 internal error,\n"
      "75 another instance holds the name; run: the command's own, 126 and 127 as in a shell, "
      "128+n for\n"
      "signal n.");

  CLI::App* run = app.add_subcommand("run",
                                     "run NAME [options] -- COMMAND...: run COMMAND as the only "
                                     "instance of NAME");
  // The options of a command that is not called are not built: 70 us of each start.
  const std::string called = words.empty() ? "" : words[0];
  if (called == "run") {
    run->add_option("NAME", settings.name, "the instance name")->required();
    AddCommonOptions(*run, settings);
    AddTimeOptions(*run, settings);
    AddOption(
        *run, "--grace", settings.grace,
        "how long what COMMAND leaves behind may take to end before it is killed (default: 5s)");
    run->add_flag("--wait{forever}", settings.wait,
                  "wait until the name is free, first come first served; --wait=30s: not longer");
    run->add_flag(
        "--exec", settings.exec,
        "become COMMAND instead of watching over it: no guardian, nothing is ended with it");
    run->allow_extras();  // complained of below
    run->callback([&] {
      action = [&] {
        if (const std::vector<std::string> extra = run->remaining(); !extra.empty()) {
          throw UsageError("run: '" + extra.front() +
                           "' is no option of it; the command stands behind --");
        }
        if (command.empty()) throw UsageError("run: expected -- and a command behind the options");
        RunRequest request{.common = Resolve(settings),
                           .name = CheckedName(settings.name),
                           .command = std::move(command),
                           .exec = settings.exec};
        ReadDuration(settings.grace, "--grace", request.grace);
        if (settings.wait == "forever") {
          request.common.options.wait = absl::InfiniteDuration();
        } else {
          ReadDuration(settings.wait, "--wait", request.common.options.wait);
        }
        return Run(request);
      };
    });
  }

  CLI::App* check = app.add_subcommand(
      "check", "check NAME [-- COMMAND...]: may it start now? Asks every layer, takes none");
  if (called == "check") {
    check->add_option("NAME", settings.name, "the instance name")->required();
    AddCommonOptions(*check, settings);
    AddTimeOptions(*check, settings);
    check->callback([&] {
      action = [&] {
        const Common common = Resolve(settings);
        if (command.empty()) NeedsNoCommand(common.policy);
        return ShowCheck(
            {.common = common, .name = CheckedName(settings.name), .command = std::move(command)});
      };
    });
  }

  CLI::App* status = app.add_subcommand("status", "status NAME: is it running, and who is it");
  if (called == "status") {
    status->add_option("NAME", settings.name, "the instance name")->required();
    AddCommonOptions(*status, settings);
    status->callback([&] {
      action = [&] { return ShowStatus(Resolve(settings), CheckedName(settings.name)); };
    });
  }

  CLI::App* list = app.add_subcommand("list", "list the running instances of the scope");
  if (called == "list") {
    AddCommonOptions(*list, settings);
    list->callback([&] { action = [&] { return ShowList(Resolve(settings)); }; });
  }

  CLI::App* explain = app.add_subcommand(
      "explain", "explain POLICY: what a policy guarantees, and what it does not");
  if (called == "explain") {
    explain->add_option("POLICY", settings.policy, "a policy, as for --policy")->required();
    explain->add_flag("--json", settings.json, "print JSON");
    explain->callback([&] {
      action = [&] { return ShowExplanation({.policy = settings.policy, .json = settings.json}); };
    });
  }

  try {
    const auto is_called = [&](const CLI::App* known) { return known->check_name(words[0]); };
    if (!words.empty() && !words[0].starts_with('-') && app.get_subcommands(is_called).empty()) {
      throw UsageError("there is no command '" + words[0] + "'; guardcheck --help lists them");
    }
    // A flag's empty value is its default to CLI11. Here it is a script's unset variable.
    if (std::find(words.begin(), words.end(), "--wait=") != words.end()) {
      throw UsageError("--wait: the value is empty");
    }
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
    app.parse(std::move(words));
    if (own < argc && !run->parsed() && !check->parsed()) {
      throw UsageError("-- and a command belong to run and check only");
    }
    return action();
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kYes : kUsage;  // --help and --version are no errors
  } catch (const UsageError& error) {
    (void)std::fprintf(stderr, "guardcheck: %s\n", error.what());
    return kUsage;
  }
}

}  // namespace
}  // namespace guardcheck

int main(int argc, char** argv) {
  try {
    const absl::Status occupied = guardcheck::OccupyStandardStreams();
    if (!occupied.ok()) throw std::runtime_error(std::string(occupied.message()));
    return guardcheck::Main(argc, argv);
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "guardcheck: internal error: %s\n", error.what());
    return guardcheck::kInternal;
  }
}

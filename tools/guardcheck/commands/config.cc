// config: which settings are in force, and where each comes from.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "line/command_line.h"
#include "line/config_file.h"
#include "show/json.h"
#include "show/terminal.h"
#include "show/words.h"

namespace guardcheck {
namespace {

Shown SettingsText(const std::string& name, const std::vector<InForce>& settings) {
  Shown text = Text("The settings of ", Escape(name), ", but for what a command line says\n");
  for (const InForce& setting : settings) {
    const bool said = !setting.texts.empty();
    const Shown value = said ? ShellWords(setting.texts) : Said(setting.standard);
    text += Text("  ", Padded(Said(setting.key), 15), " ", Padded(value.empty() ? "-" : value, 30),
                 " ", said ? setting.origin : "default", "\n");
  }
  return text;
}

Json SettingsJson(const std::string& name, const std::vector<InForce>& settings) {
  Json values = Json::Object({});
  for (const InForce& setting : settings) {
    values.Set(Said(setting.key), Json::Object({{"values", WordsJson(setting.texts)},
                                                {"default", OrNull(Said(setting.standard))},
                                                {"origin", OrNull(setting.origin)}}));
  }
  return Json::Object({{"schema", 1}, {"name", Escape(name)}, {"settings", values}});
}

class ShowConfig final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--config",
             .value = "FILE",
             .help = "as for the other commands",
             .read = Into(config_),
             .is_setting = false},
            {.name = "--json", .help = "print JSON", .read = Into(json_), .is_setting = false}};
  }

  int Run(const Call& call) override {
    const std::vector<InForce> settings = SettingsInForce(call.operand, config_);
    if (json_) {
      Print(SettingsJson(call.operand, settings));
    } else {
      Show(SettingsText(call.operand, settings), stdout);
    }
    return kYes;
  }

 private:
  std::string config_;
  bool json_ = false;
};

}  // namespace

CommandKind ConfigCommand() {
  return {.name = "config",
          .help = "the settings that are in force, and where each comes from",
          .operand = "NAME",
          .takes = CommandKind::Takes::kNothing,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<ShowConfig>()); }};
}

}  // namespace guardcheck

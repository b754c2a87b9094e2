// config: which settings are in force, and where each comes from.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <boost/json.hpp>

#include "command.h"
#include "command_line.h"
#include "config_file.h"
#include "exit_code.h"
#include "report.h"
#include "terminal.h"
#include <soleguard/text.h>

namespace guardcheck {
namespace {

namespace json = boost::json;
using soleguard::EscapeBytes;

std::string SettingsText(const std::string& name, const std::vector<InForce>& settings) {
  std::string text =
      absl::StrCat("The settings of ", EscapeBytes(name), ", but for what a command line says\n");
  for (const InForce& setting : settings) {
    std::vector<std::string> words;
    for (const std::string& word : setting.texts) words.push_back(ShellWord(word));
    const bool said = !words.empty();
    const std::string value = said ? absl::StrJoin(words, " ") : setting.standard;
    absl::StrAppendFormat(&text, "  %-15s %-30s %s\n", setting.key, value.empty() ? "-" : value,
                          said ? EscapeBytes(setting.origin) : "default");
  }
  return text;
}

json::value SettingsJson(const std::string& name, const std::vector<InForce>& settings) {
  json::object values;
  for (const InForce& setting : settings) {
    json::array texts;
    for (const std::string& text : setting.texts) texts.push_back(json::string(EscapeBytes(text)));
    values[setting.key] =
        json::object{{"values", std::move(texts)},
                     {"default", setting.standard.empty() ? json::value(nullptr)
                                                          : json::value(setting.standard)},
                     {"origin", setting.origin.empty() ? json::value(nullptr)
                                                       : json::value(EscapeBytes(setting.origin))}};
  }
  return json::object{{"schema", 1}, {"name", EscapeBytes(name)}, {"settings", std::move(values)}};
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

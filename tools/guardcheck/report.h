// What guardcheck says, as text for people and as JSON for programs. Foreign strings are escaped,
// secrets in argument vectors are masked.
#pragma once

#include <string>
#include <vector>

#include <absl/strings/string_view.h>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

#include "command.h"
#include <soleguard/guard.h>
#include <soleguard/inspect.h>
#include <soleguard/layer.h>
#include <soleguard/name.h>
#include <soleguard/stop.h>

namespace guardcheck {

// `command`: what was to be started, if it is known.
std::string RefusalText(const std::string& name, const Common& common,
                        const soleguard::Duplicate& duplicate,
                        const std::vector<std::string>& command = {});
boost::json::value RefusalJson(const std::string& name, const Common& common,
                               const soleguard::Duplicate& duplicate);

std::string UndeterminedText(const std::string& name, const soleguard::Undetermined& undetermined);
boost::json::value UndeterminedJson(const std::string& name, const Common& common,
                                    const soleguard::Undetermined& undetermined);

// A slot of a name, and what was seen of it.
struct Listed {
  soleguard::InstanceName name;
  soleguard::Inspection inspection;
};
// `slots`: those of the name that are known, at least one.
std::string StatusText(const std::string& name, const std::vector<Listed>& slots);
boost::json::value StatusJson(const std::string& name, const Common& common,
                              const std::vector<Listed>& slots);

std::string CheckText(const std::string& name, const Common& common,
                      const soleguard::Forecast& forecast,
                      const std::vector<std::string>& command = {});
boost::json::value CheckJson(const std::string& name, const Common& common,
                             const soleguard::Forecast& forecast);

// Of one slot.
std::string StopText(const soleguard::InstanceName& name, const Common& common,
                     const soleguard::StopReport& report);
boost::json::value StopJson(const soleguard::InstanceName& name, const Common& common,
                            const soleguard::StopReport& report);

// Of names that somebody holds.
std::string ListText(const std::vector<Listed>& running);
boost::json::value ListJson(const Common& common, const std::vector<Listed>& running);

boost::json::value UniqueJson(const std::string& name, const Common& common,
                              const soleguard::Guard& guard);

// What the library says, evidence or a status: the foreign bytes in it are escaped already.
boost::json::string Said(absl::string_view text);

// What a layer shows, as one of the `layers` of an object.
boost::json::value SightingJson(const std::string& layer, const soleguard::Sighting& sighting);

// The options without which another guardcheck would look elsewhere: "", or " --scope ..." and
// " --policy ...". (It may have been the environment that said so here; it need not be the same
// there.)
std::string Where(const Common& common);

// As one line, without a newline.
std::string Line(const boost::json::value& value);
// A process as it is now: one line for a person, and the object of the reference.
std::string ProcessLine(const soleguard::ProcessIdentity& process);
boost::json::value ProcessObject(const soleguard::ProcessIdentity& process);

// A message that was answered, and one that was not delivered.
boost::json::value AnswerJson(const std::string& name, const Common& common,
                              const soleguard::Answer& answer);
boost::json::value NotDeliveredJson(const std::string& name, const Common& common,
                                    const absl::Status& why);
// What a program that answers messages for `guard` is given.
boost::json::value MessageJson(const soleguard::Guard& guard, const soleguard::Sender& sender,
                               const soleguard::Message& message);

// To standard output, as one line.
void Print(const boost::json::value& value);

// `argv` for showing: what follows --password, --passwd, --token, --secret, --api-key, --apikey and
// --access-key, as the next word or after '=', is replaced by "***". One dash counts as two.
std::vector<std::string> MaskSecrets(std::vector<std::string> argv);

// `bytes` as one word for bash, printable on any terminal: as they are, quoted, or as $'...' with
// escapes.
std::string ShellWord(const std::string& bytes);

}  // namespace guardcheck

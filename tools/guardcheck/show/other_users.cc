#include "show/other_users.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>

#include "show/words.h"
#include <soleguard/name.h>
#include <soleguard/scope.h>

namespace guardcheck {
namespace {

using soleguard::OtherUsersHolder;

constexpr std::size_t kMostTold = 10;

// "pid 4711 of trader (uid 1000)".
Shown Who(const OtherUsersHolder& holder) {
  return Text("pid ", holder.record.running().pid, " of ", Escape(holder.user), " (uid ",
              holder.uid, ")");
}

Shown AndMore(std::size_t all) {
  return all > kMostTold ? Text("  and ", all - kMostTold, " more\n") : Shown();
}

}  // namespace

std::vector<OtherUsersHolder> HoldersElsewhere(const Call& call) {
  if (call.common.options.scope.kind() != soleguard::Scope::Kind::kUser) return {};
  std::optional<soleguard::InstanceName> name;
  if (!call.operand.empty()) name = *soleguard::InstanceName::Parse(call.operand);
  return soleguard::HoldersOfOtherUsers(name);
}

Shown ElsewhereText(const Call& call, const std::vector<OtherUsersHolder>& holders,
                    std::string_view command) {
  if (holders.empty()) return "";
  Shown text = "\nIn scopes of other users, at which this call does not look\n";
  std::set<std::string> users;
  for (std::size_t i = 0; i < std::min(holders.size(), kMostTold); ++i) {
    text += Text("  ", Escape(holders[i].record.name), " runs as ", Who(holders[i]), "\n");
    users.insert(holders[i].user);
  }
  text += Text(AndMore(holders.size()), "\nWhat you can do\n");
  for (const std::string& user : users) {
    text += ProposalText(call, {.command = command,
                                .options = {"--scope", "user:" + user},
                                .without = {"--scope"},
                                .has_command = true,
                                .what = Text("the same in the scope of ", Escape(user))});
  }
  return text;
}

Shown BesideText(const Call& call, const std::vector<OtherUsersHolder>& holders) {
  if (holders.empty()) return "";
  const OtherUsersHolder& first = holders.front();
  return Text(Escape(call.operand), " runs as ", Who(first),
              holders.size() > 1 ? Text(", and as ", holders.size() - 1, " more,") : Shown(),
              " in a scope of that user; this start is in root's own, and runs beside it\n",
              ProposalText(call, {.command = "run",
                                  .as_user = first.user,
                                  .has_command = true,
                                  .what = "starts it as that user, in that user's scope; or let "
                                          "both use --scope system or one directory"}));
}

void SetElsewhere(Json& object, const std::vector<OtherUsersHolder>& holders) {
  if (holders.empty()) return;
  object.Set("other_users", ArrayOf(holders, [](const OtherUsersHolder& holder) {
               return Json::Object({{"user", Escape(holder.user)},
                                    {"uid", holder.uid},
                                    {"name", Escape(holder.record.name)},
                                    {"slot", holder.record.slot},
                                    {"pid", holder.record.running().pid}});
             }));
}

}  // namespace guardcheck

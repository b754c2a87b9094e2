#include "show/other_names.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "look.h"
#include <soleguard/inspect.h>
#include <soleguard/name.h>
#include <soleguard/names.h>
#include <soleguard/nearest.h>

namespace guardcheck {
namespace {

using soleguard::InstanceName;

constexpr std::size_t kMostShown = 5;
// A look at a name costs some hundred microseconds, and names that do not run may be many.
constexpr std::size_t kMostLooks = 50;

std::vector<Shown> Like(const std::string& name, const std::vector<InstanceName>& known) {
  std::vector<Shown> like;
  for (const InstanceName& other : known) {
    if (like.size() == kMostShown) break;
    if (soleguard::IsLike(name, other.text())) like.push_back(ShellWord(other.text()));
  }
  return like;
}

std::vector<Shown> Running(const std::vector<InstanceName>& known, const Common& common) {
  std::vector<Shown> running;
  const std::size_t looks = std::min(known.size(), kMostLooks);
  for (std::size_t i = 0; i < looks && running.size() < kMostShown; ++i) {
    const auto inspection = soleguard::Inspect(known[i], common.policy, ToLook(common));
    if (inspection.holder() != nullptr) running.push_back(ShellWord(known[i].text()));
  }
  return running;
}

}  // namespace

Shown OtherNamesText(const std::string& name, const Common& common) {
  auto known = soleguard::KnownNames(common.options.scope);
  if (absl::IsNotFound(known.status())) known = std::vector<InstanceName>();
  if (!known.ok()) return "";
  std::erase_if(*known, [](const InstanceName& one) { return one.slot() != 0; });
  const auto is_it = [&name](const InstanceName& one) { return one.text() == name; };
  if (std::any_of(known->begin(), known->end(), is_it)) return "";
  const Shown text = Text("Nothing is recorded under this name in scope ",
                          Escape(common.options.scope.ToString()), ".\n");
  const std::vector<Shown> like = Like(name, *known);
  if (!like.empty()) return Text(text, "Names that look like it: ", Join(like, ", "), "\n");
  const std::vector<Shown> running = Running(*known, common);
  if (running.empty()) return text;
  return Text(text, "What runs there: ", Join(running, ", "), "\n");
}

}  // namespace guardcheck

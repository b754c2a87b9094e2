#include "policy/explorer/survey.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

namespace soleguard::explorer {
namespace {

using Clock = std::chrono::steady_clock;

std::size_t Index(int i) { return static_cast<std::size_t>(i); }

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What one layer may be to each process: unavailable, or one of up to as many objects as there are
// processes, numbered in the order of their first user (another numbering is the same pattern).
using Column = std::vector<int>;

std::vector<Column> Columns(int processes, bool observer) {
  std::vector<Column> columns = {{}};
  for (int p = 0; p < processes; ++p) {
    std::vector<Column> longer;
    for (const Column& column : columns) {
      int next = 0;
      for (const int object : column) next = std::max(next, object + 1);
      if (observer) next = 0;  // there is one process table
      for (int object = Configuration::kUnavailable; object <= next; ++object) {
        longer.push_back(column);
        longer.back().push_back(object);
      }
    }
    columns = std::move(longer);
  }
  return columns;
}

// All patterns, each as a Configuration without a policy.
std::vector<Configuration> Patterns(const Configuration& space) {
  std::vector<Configuration> patterns = {space};
  for (int layer = 0; layer < space.layers; ++layer) {
    std::vector<Configuration> wider;
    for (const Configuration& pattern : patterns) {
      for (const Column& column : Columns(space.processes, !space.IsExclusive(layer))) {
        Configuration next = pattern;
        for (int p = 0; p < space.processes; ++p) {
          const int object = column[Index(p)];
          next.object[Index(p)][Index(layer)] = static_cast<std::int8_t>(
              object == Configuration::kUnavailable ? object : layer * 3 + object);
        }
        wider.push_back(next);
      }
    }
    patterns = std::move(wider);
  }
  return patterns;
}

Set Rename(Set set, const std::vector<int>& names) {
  Set renamed = 0;
  for (std::size_t p = 0; p < names.size(); ++p) {
    if (Has(set, static_cast<int>(p))) renamed |= Bit(names[p]);
  }
  return renamed;
}

// Of the class of a pattern in which the processes `able` meet the policy.
using ClassKey = std::vector<Set>;

ClassKey KeyOf(const Configuration& pattern, Set able) {
  ClassKey key;
  Set observing = 0;
  for (int p = 0; p < pattern.processes; ++p) {
    if (pattern.observer && pattern.IsAvailable(p, pattern.layers - 1)) observing |= Bit(p);
  }
  key.push_back(able);
  key.push_back(observing);
  key.push_back(pattern.standbys);
  key.push_back(pattern.replacers);
  for (int layer = 0; layer < pattern.exclusive(); ++layer) {
    // At most three processes: at most one object is shared.
    Set sharing = 0;
    Set owning = 0;
    for (int p = 0; p < pattern.processes; ++p) {
      if (!pattern.IsAvailable(p, layer)) continue;
      (pattern.IsPrivate(p, layer) ? owning : sharing) |= Bit(p);
    }
    if (!pattern.observer) owning = 0;
    if (sharing == 0 && owning == 0) continue;
    key.push_back(sharing);
    key.push_back(owning);
  }
  std::vector<int> names(Index(pattern.processes));
  std::iota(names.begin(), names.end(), 0);
  ClassKey smallest = key;
  while (std::next_permutation(names.begin(), names.end())) {
    ClassKey renamed;
    for (const Set set : key) renamed.push_back(Rename(set, names));
    smallest = std::min(smallest, renamed);
  }
  return smallest;
}

struct Function {
  std::uint16_t table;
  std::string text;
  bool MetBy(Set set) const { return Has(table, set); }
};

std::vector<Function> Functions(const Configuration& space) {
  std::vector<Function> functions;
  for (const std::uint16_t table : MonotoneFunctions(space.layers)) {
    functions.push_back({table, PolicyText(table, space.layers, space.observer)});
  }
  return functions;
}

Set AbleIn(const Configuration& pattern, const Function& function) {
  Set able = 0;
  for (int p = 0; p < pattern.processes; ++p) {
    if (function.MetBy(pattern.AvailableTo(p))) able |= Bit(p);
  }
  return able;
}

// Behaviours are the same for all patterns, and kept.
class Programs {
 public:
  const Policy& PolicyOf(const std::string& text) { return Find(text).policy; }

  std::vector<Behaviour*> For(const Configuration& configuration) {
    Known& known = Find(configuration.policy);
    if (configuration.starts) {
      std::vector<Behaviour*> behaviours;
      for (int p = 0; p < configuration.processes; ++p) {
        const Role role = Has(configuration.standbys, p)    ? Role::kStandby
                          : Has(configuration.replacers, p) ? Role::kReplacer
                                                            : Role::kNewcomer;
        std::unique_ptr<Behaviour>& found = known.start[static_cast<std::size_t>(role)];
        if (found == nullptr) {
          found = std::make_unique<Behaviour>(StartProgram(known.policy, role));
        }
        behaviours.push_back(found.get());
      }
      return behaviours;
    }
    std::vector<Behaviour*> behaviours(Index(configuration.processes), known.canonical.get());
    if (configuration.mutation == Mutation::kOtherOrder) {
      std::vector<int> order(Index(configuration.layers));
      std::iota(order.rbegin(), order.rend(), 0);
      known.other = std::make_unique<Behaviour>(ArbiterProgram(known.policy, std::move(order)));
      behaviours.back() = known.other.get();
    }
    return behaviours;
  }

 private:
  struct Known {
    Policy policy;
    std::unique_ptr<Behaviour> canonical;
    std::unique_ptr<Behaviour> other;
    std::array<std::unique_ptr<Behaviour>, 3> start = {};  // by Role
  };
  Known& Find(const std::string& text) {
    auto found = known_.find(text);
    if (found == known_.end()) {
      absl::StatusOr<Policy> policy = Policy::Parse(text);
      if (!policy.ok()) {
        (void)std::fprintf(stderr, "explorer: %s\n", policy.status().ToString().c_str());
        std::abort();
      }
      std::vector<int> order(policy->layers().size());
      std::iota(order.begin(), order.end(), 0);
      auto canonical = std::make_unique<Behaviour>(ArbiterProgram(*policy, std::move(order)));
      found =
          known_.try_emplace(text, Known{*std::move(policy), std::move(canonical), nullptr}).first;
    }
    return found->second;
  }

  std::map<std::string, Known> known_;
};

Exploration ExploreWith(Programs& programs, const Configuration& configuration,
                        std::size_t max_states) {
  World world(configuration, programs.PolicyOf(configuration.policy), programs.For(configuration));
  return Explore(world, max_states);
}

// What an exploration and the others of its class have in common.
void Count(const Exploration& one, std::size_t times, SurveyResult& result) {
  const auto pairs = [times](unsigned set) {
    return times * static_cast<std::size_t>(std::popcount(set));
  };
  result.configurations += times;
  result.predicted += pairs(one.predicted);
  result.found += pairs(one.predicted & one.doubles);
  result.unpredicted += pairs(one.doubles & ~one.predicted);
  if (one.Broke(Invariant::kNoLostStart)) result.lost += times;
  if (one.lost_by_expiry != 0) result.lost_by_expiry += times;
  if (one.lost_by_bypasser != 0) result.lost_by_bypasser += times;
  if (one.lost_by_cancel != 0) result.lost_by_cancel += times;
  if (one.behind_a_waiting_head != 0) result.behind_a_waiting_head += times;
}

void CountWork(const Configuration& configuration, const Exploration& one, SurveyResult& result) {
  ++result.explored;
  result.states += one.states;
  result.moves += one.moves;
  result.complete = result.complete && one.complete;
  if (result.trace.empty() && one.broken != 0) {
    result.trace = absl::StrCat(configuration.ToString(), "\nbreaks: ", BrokenText(one.broken),
                                "\n", one.trace);
  }
  result.broken |= one.broken;
}

}  // namespace

namespace {

SurveyResult RunClassesOf(const Survey& survey, const std::vector<Configuration>& patterns) {
  const Clock::time_point begin = Clock::now();
  SurveyResult result;
  Programs programs;
  const std::vector<Function> functions = Functions(survey.space);
  struct Class {
    std::size_t members = 0;
    Exploration exploration;
  };
  std::map<ClassKey, Class> classes;
  for (const Configuration& pattern : patterns) {
    // The policies that differ for this pattern, by who meets them.
    std::map<Set, std::pair<std::size_t, const Function*>> by_able;
    for (const Function& function : functions) {
      auto& [count, first] = by_able[AbleIn(pattern, function)];
      if (count++ == 0) first = &function;
    }
    for (const auto& [able, found] : by_able) {
      const auto [known, fresh] = classes.try_emplace(KeyOf(pattern, able));
      known->second.members += found.first;
      if (!fresh) continue;
      Configuration configuration = pattern;
      configuration.policy = found.second->text;
      known->second.exploration = ExploreWith(programs, configuration, survey.max_states);
      CountWork(configuration, known->second.exploration, result);
    }
  }
  for (const auto& [key, each] : classes) Count(each.exploration, each.members, result);
  result.seconds = Since(begin);
  return result;
}

}  // namespace

SurveyResult RunByClass(const Survey& survey) {
  return RunClassesOf(survey, Patterns(survey.space));
}

SurveyResult RunStarts(const Survey& survey) {
  std::vector<Configuration> patterns;
  for (Configuration pattern : Patterns(survey.space)) {
    pattern.starts = true;
    const Set all = static_cast<Set>(Bit(pattern.processes) - 1);
    const bool replacing = survey.space.replacers != 0;
    for (Set standbys = 0; standbys <= all; ++standbys) {
      for (Set replacers = replacing ? 1 : 0; replacers <= (replacing ? all : 0); ++replacers) {
        if ((standbys & replacers) != 0) continue;
        pattern.standbys = standbys;
        pattern.replacers = replacers;
        patterns.push_back(pattern);
      }
    }
  }
  return RunClassesOf(survey, patterns);
}

SurveyResult RunEach(const Survey& survey) {
  const Clock::time_point begin = Clock::now();
  SurveyResult result;
  Programs programs;
  const std::vector<Function> functions = Functions(survey.space);
  std::map<ClassKey, Exploration> classes;
  for (const Configuration& pattern : Patterns(survey.space)) {
    for (const Function& function : functions) {
      Configuration configuration = pattern;
      configuration.policy = function.text;
      const auto [known, fresh] = classes.try_emplace(KeyOf(pattern, AbleIn(pattern, function)));
      if (fresh) known->second = ExploreWith(programs, configuration, survey.max_states);
      configuration.hurry = false;
      Exploration one = ExploreWith(programs, configuration, survey.max_states);
      const Exploration& reduced = known->second;
      const auto some = [](std::size_t n) { return n != 0; };
      // Which pairs these are depends on how the processes are named.
      if (one.broken != reduced.broken ||
          std::popcount(one.predicted) != std::popcount(reduced.predicted) ||
          std::popcount(one.doubles) != std::popcount(reduced.doubles) ||
          some(one.lost_by_expiry) != some(reduced.lost_by_expiry) ||
          some(one.lost_by_bypasser) != some(reduced.lost_by_bypasser)) {
        absl::StrAppend(&result.trace, configuration.ToString(), " is not as its class\n");
      }
      CountWork(configuration, one, result);
      Count(one, 1, result);
    }
  }
  result.seconds = Since(begin);
  return result;
}

Exploration ExploreOne(const Configuration& configuration, std::size_t max_states) {
  Programs programs;
  return ExploreWith(programs, configuration, max_states);
}

std::string StartTableHead() {
  return "| processes, layers, events | configurations | explored | states | doubles predicted | "
         "found | unpredicted | starts lost | lost after an expired wait | lost to a cancel | "
         "a newcomer waits behind a waiting head | seconds |\n"
         "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
}

std::string StartTableRow(const Survey& survey, const SurveyResult& result) {
  return absl::StrFormat("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %.1f |\n",
                         survey.title, result.configurations, result.explored, result.states,
                         result.predicted, result.found, result.unpredicted, result.lost,
                         result.lost_by_expiry, result.lost_by_cancel, result.behind_a_waiting_head,
                         result.seconds);
}

std::string TableHead() {
  return "| processes, layers, events | configurations | explored | states | doubles predicted | "
         "found | unpredicted | starts lost | lost after an expired wait | lost to a bypasser | "
         "seconds |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
}

std::string TableRow(const Survey& survey, const SurveyResult& result) {
  return absl::StrFormat("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %.1f |\n",
                         survey.title, result.configurations, result.explored, result.states,
                         result.predicted, result.found, result.unpredicted, result.lost,
                         result.lost_by_expiry, result.lost_by_bypasser, result.seconds);
}

}  // namespace soleguard::explorer

#include "report.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/time/time.h>
#include <boost/json.hpp>

#include <soleguard/text.h>
#include <soleguard/version.h>

namespace launch_storm {
namespace {

namespace json = boost::json;

constexpr std::uint32_t kMostFindings = 20;

struct Rule {
  const char* text;
  const char* key;
  std::uint64_t Violations::*count;
};
constexpr std::array<Rule, 7> kRules = {{
    {"overlaps", "overlaps", &Violations::overlaps},
    {"rounds without a winner", "without_winner", &Violations::without_winner},
    {"rounds with a second winner", "second_winners", &Violations::second_winners},
    {"wrong refusals", "wrong_refusals", &Violations::wrong_refusals},
    {"undetermined", "undetermined", &Violations::undetermined},
    {"unfinished", "unfinished", &Violations::unfinished},
    {"lost claims", "lost_claims", &Violations::lost_claims},
}};

// The value below which `share` of the values are, in milliseconds; 0 for none.
double Quantile(std::vector<std::int64_t> values, double share) {
  if (values.empty()) return 0;
  const auto wanted = values.begin() + std::lround(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), wanted, values.end());
  return static_cast<double>(*wanted) / 1e6;
}

std::vector<std::int64_t> VerdictTimes(const Tally& tally) {
  std::vector<std::int64_t> all;
  for (const RoundResult& round : tally.rounds) {
    all.insert(all.end(), round.verdicts.begin(), round.verdicts.end());
  }
  return all;
}

double MedianOfRounds(const Tally& tally,
                      std::int64_t RoundResult::*time = &RoundResult::last_verdict) {
  std::vector<std::int64_t> times;
  for (const RoundResult& round : tally.rounds) times.push_back(round.*time);
  return Quantile(std::move(times), 0.5);
}

template <typename Count>
std::uint64_t Sum(const Tally& tally, Count RoundResult::*count) {
  std::uint64_t sum = 0;
  for (const RoundResult& round : tally.rounds) sum += round.*count;
  return sum;
}

// Counts of winners are few, so they are shown as they were: "1" or "3 to 41".
std::string WinnersPerRound(const Tally& tally) {
  std::uint32_t least = UINT32_MAX;
  std::uint32_t most = 0;
  for (const RoundResult& round : tally.rounds) {
    least = std::min(least, round.winners);
    most = std::max(most, round.winners);
  }
  return least < most ? absl::StrCat(least, " to ", most) : absl::StrCat(most);
}

double PerLaunch(const Tally& tally) {
  const std::size_t launches = tally.rounds.empty() ? 0 : tally.rounds.front().verdicts.size();
  return launches == 0 ? 0 : MedianOfRounds(tally) * 1000 / static_cast<double>(launches);
}

std::string HoldText(const Settings& settings) {
  return settings.hold.has_value() ? absl::FormatDuration(*settings.hold)
                                   : "until all have their verdict";
}

std::vector<std::string> Disturbances(const Settings& settings) {
  std::vector<std::string> words;
  if (settings.linger) words.emplace_back("linger");
  if (settings.standby) words.emplace_back("standby");
  if (settings.kill) words.emplace_back("kill");
  if (settings.freeze) words.emplace_back("freeze");
  if (settings.unlink) words.emplace_back("unlink");
  return words;
}

json::object TallyJson(const Tally& tally) {
  json::array rounds;
  for (const RoundResult& round : tally.rounds) {
    json::array findings;
    for (const std::string& finding : round.findings) {
      findings.push_back(json::string(soleguard::EscapeBytes(finding)));
    }
    rounds.push_back({{"winners", round.winners},
                      {"refused", round.refused},
                      {"first_winner_us", round.first_winner / 1000},
                      {"last_verdict_us", round.last_verdict / 1000},
                      {"killed", round.killed},
                      {"frozen", round.frozen},
                      {"deleted", round.deleted},
                      {"violations", round.violations.sum()},
                      {"findings", std::move(findings)}});
  }
  const Violations violations = tally.violations();
  json::object counts;
  for (const Rule& rule : kRules) counts[rule.key] = violations.*rule.count;
  const std::vector<std::int64_t> verdicts = VerdictTimes(tally);
  return {{"name", tally.name},
          {"verdict_ms",
           {{"p50", Quantile(verdicts, 0.5)},
            {"p99", Quantile(verdicts, 0.99)},
            {"max", Quantile(verdicts, 1)}}},
          {"first_winner_ms", MedianOfRounds(tally, &RoundResult::first_winner)},
          {"last_verdict_ms", MedianOfRounds(tally)},
          {"violations", std::move(counts)},
          {"rounds", std::move(rounds)}};
}

}  // namespace

Violations Tally::violations() const {
  Violations sum;
  for (const RoundResult& round : rounds) sum += round.violations;
  return sum;
}

void PrintHead(const Settings& settings) {
  std::string disturbances;
  for (const std::string& word : Disturbances(settings)) absl::StrAppend(&disturbances, ", ", word);
  absl::PrintF("%u rounds of %u launches, mode %s, policy %s, hold %s%s, seed %u\n",
               settings.rounds, settings.launches, ToString(settings.mode),
               soleguard::EscapeBytes(settings.policy), HoldText(settings), disturbances,
               settings.seed);
  (void)std::fflush(stdout);
}

Progress::Progress(std::uint32_t rounds)
    : rounds_(rounds), on_terminal_(isatty(STDERR_FILENO) == 1) {
  if (on_terminal_) DrawBar(0);
}

void Progress::DrawBar(std::uint32_t round) const {
  constexpr std::uint32_t kWidth = 40;
  const std::uint32_t done = static_cast<std::uint32_t>(std::uint64_t{kWidth} * round / rounds_);
  absl::FPrintF(stderr, "\r[%s%s] %u/%u rounds, %u violations ", std::string(done, '#'),
                std::string(kWidth - done, ' '), round, rounds_, violations_);
}

void Progress::Add(std::uint32_t round, const std::string& name, const RoundResult& result) {
  violations_ += result.violations.sum();
  const bool tell = !result.findings.empty() && shown_ < kMostFindings;
  if (on_terminal_ && tell) absl::FPrintF(stderr, "\r%70s\r", "");
  if (!on_terminal_) {
    absl::FPrintF(stderr, "round %u/%u, %s: winners %u, refused %u, last verdict after %.1f ms\n",
                  round, rounds_, name, result.winners, result.refused,
                  static_cast<double>(result.last_verdict) / 1e6);
  }
  for (const std::string& finding : result.findings) {
    if (shown_++ < kMostFindings) {
      absl::FPrintF(stderr, "  round %u, %s: %s\n", round, name, soleguard::EscapeBytes(finding));
    }
  }
  if (on_terminal_) DrawBar(round);
}

void Progress::End() const {
  if (on_terminal_) absl::FPrintF(stderr, "\n");
  if (shown_ > kMostFindings) {
    absl::FPrintF(stderr, "  and %u more; --json has them all\n", shown_ - kMostFindings);
  }
}

void PrintTable(const std::vector<Tally>& tallies) {
  const auto row = [&](const char* title, const std::function<std::string(const Tally&)>& cell) {
    absl::PrintF("%-30s", title);
    for (const Tally& tally : tallies) absl::PrintF(" %16s", cell(tally));
    absl::PrintF("\n");
  };
  const auto milliseconds = [](double share) {
    return [share](const Tally& tally) {
      return absl::StrFormat("%.1f ms", Quantile(VerdictTimes(tally), share));
    };
  };
  const auto number = [](std::uint64_t value) { return absl::StrCat(value); };

  row("", [](const Tally& tally) { return tally.name; });
  row("verdict after, p50", milliseconds(0.5));
  row("               p99", milliseconds(0.99));
  row("               max", milliseconds(1));
  row("first winner, median of rounds", [](const Tally& tally) {
    return absl::StrFormat("%.1f ms", MedianOfRounds(tally, &RoundResult::first_winner));
  });
  row("last verdict, median of rounds",
      [](const Tally& tally) { return absl::StrFormat("%.1f ms", MedianOfRounds(tally)); });
  row("  per launch",
      [](const Tally& tally) { return absl::StrFormat("%.0f us", PerLaunch(tally)); });
  row("winners", [&](const Tally& tally) { return number(Sum(tally, &RoundResult::winners)); });
  row("  in a round", &WinnersPerRound);
  row("refused", [&](const Tally& tally) { return number(Sum(tally, &RoundResult::refused)); });
  // Of what was not asked for nothing is shown.
  const auto disturbance = [&](const char* title, std::uint64_t RoundResult::*count) {
    const bool any = std::any_of(tallies.begin(), tallies.end(),
                                 [&](const Tally& tally) { return Sum(tally, count) > 0; });
    if (any) row(title, [&](const Tally& tally) { return number(Sum(tally, count)); });
  };
  disturbance("killed", &RoundResult::killed);
  disturbance("rounds with a frozen winner", &RoundResult::frozen);
  disturbance("files deleted", &RoundResult::deleted);
  row("violations", [&](const Tally& tally) { return number(tally.violations().sum()); });
  for (const Rule& rule : kRules) {
    const std::string title = absl::StrCat("  ", rule.text);
    row(title.c_str(), [&](const Tally& tally) { return number(tally.violations().*rule.count); });
  }
  if (tallies.size() == 2) {
    absl::PrintF("%-30s %16.2f\n", "ratio of the medians",
                 MedianOfRounds(tallies[0]) / MedianOfRounds(tallies[1]));
  }
}

void WriteJson(const Settings& settings, const std::vector<Tally>& tallies) {
  json::array disturbances;
  for (const std::string& word : Disturbances(settings)) disturbances.push_back(json::string(word));
  json::array storms;
  std::uint64_t violations = 0;
  for (const Tally& tally : tallies) {
    storms.push_back(TallyJson(tally));
    violations += tally.violations().sum();
  }
  const json::object document = {
      {"schema", 1},
      {"version", std::string(soleguard::Version())},
      {"launches", settings.launches},
      {"rounds", settings.rounds},
      {"mode", ToString(settings.mode)},
      {"policy", soleguard::EscapeBytes(settings.policy)},
      {"hold_ms", settings.hold.has_value()
                      ? json::value(absl::ToDoubleMilliseconds(*settings.hold))
                      : json::value()},
      {"disturbances", std::move(disturbances)},
      {"seed", settings.seed},
      {"violations", violations},
      {"ratio_to_flock", tallies.size() == 2
                             ? json::value(MedianOfRounds(tallies[0]) / MedianOfRounds(tallies[1]))
                             : json::value()},
      {"storms", std::move(storms)}};
  std::ofstream file(settings.json);
  file << json::serialize(document) << "\n";
  file.close();
  if (!file) throw std::runtime_error("cannot write " + settings.json);
}

}  // namespace launch_storm

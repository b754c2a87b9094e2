#include "policy/explorer/behaviour.h"

#include <cstdlib>
#include <limits>
#include <utility>

#include "soleguard/event.h"

namespace soleguard::explorer {

Behaviour::Behaviour(MakeProgram make) : make_(std::move(make)), edges_(1) { Add(*make_(), {}); }

Behaviour::NodeId Behaviour::Add(const Program& program, std::vector<Answer> history) {
  std::string state = program.State();
  const auto [known, fresh] = known_.try_emplace(state, static_cast<NodeId>(nodes_.size()));
  if (fresh) {
    if (nodes_.size() > std::numeric_limits<NodeId>::max()) std::abort();
    nodes_.push_back({.question = program.question(),
                      .held = program.held(),
                      .state = std::move(state),
                      .history = std::move(history)});
  }
  return known->second;
}

Behaviour::EdgeId Behaviour::Learn(NodeId from, const Answer& answer) {
  const std::unique_ptr<Program> program = make_();
  std::vector<Answer> history = nodes_[from].history;
  history.push_back(answer);
  std::vector<Effect> effects = program->TellAll(history);
  executed_ += history.size();
  const NodeId to = Add(*program, std::move(history));
  const auto id = static_cast<EdgeId>(edges_.size());
  edges_.push_back({.node = to, .effects = std::move(effects)});
  nodes_[from].told[static_cast<std::size_t>(answer.code())] = id;
  return id;
}

}  // namespace soleguard::explorer

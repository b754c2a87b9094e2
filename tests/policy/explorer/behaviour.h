// What a program does, learned by running it, and remembered.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "policy/explorer/program.h"
#include "soleguard/event.h"

namespace soleguard::explorer {

// A program cannot be copied, so a search that goes back would have to run it anew from its start
// at every step. But it sees nothing of the world except for the answers, so what it does is a
// function of what it was told: each new (state, answer) is executed once, on a program that was
// brought there by the shortest sequence of answers known, and looked up ever after. Programs that
// give the same State() are taken for the same; random_test.cc checks that against programs which
// are never replaced.
//
// Not thread-safe.
class Behaviour {
 public:
  using NodeId = std::uint16_t;
  using EdgeId = std::uint16_t;
  static constexpr NodeId kStart = 0;
  static constexpr EdgeId kNoEdge = 0;

  struct Node {
    Question question;
    Set held = 0;
    std::string state;
    std::vector<Answer> history;  // that leads here
    std::array<EdgeId, Answer::kCodes> told{};
  };
  struct Edge {
    NodeId node = kStart;  // what comes of it
    std::vector<Effect> effects;
  };

  explicit Behaviour(MakeProgram make);

  const Node& node(NodeId id) const { return nodes_[id]; }
  const Edge& edge(EdgeId id) const { return edges_[id]; }
  EdgeId Tell(NodeId from, const Answer& answer) {
    const EdgeId known = nodes_[from].told[static_cast<std::size_t>(answer.code())];
    return known != kNoEdge ? known : Learn(from, answer);
  }
  std::size_t nodes() const { return nodes_.size(); }
  // Steps of real programs that were run to learn.
  std::size_t executed() const { return executed_; }
  std::unique_ptr<Program> Make() const { return make_(); }

 private:
  EdgeId Learn(NodeId from, const Answer& answer);
  NodeId Add(const Program& program, std::vector<Answer> history);

  const MakeProgram make_;
  std::deque<Node> nodes_;
  std::deque<Edge> edges_;
  std::map<std::string, NodeId> known_;
  std::size_t executed_ = 0;
};

}  // namespace soleguard::explorer

// What the started processes do.
#pragma once

#include <string>

namespace launch_storm {

// The environment variable that tells a process its slot. Not an argument: all processes of a round
// have the same command line, as copies of one program have.
inline constexpr char kSlotVariable[] = "LAUNCH_STORM_SLOT";

// `launch_storm contend BOARD`: waits at the barrier, asks, and does what follows from the verdict.
inline constexpr char kContend[] = "contend";
// `launch_storm hold BOARD`: the command that is guarded. That it runs is the verdict.
inline constexpr char kHold[] = "hold";

// The process's whole life after main has seen its argument. The exit code.
int Contend(const std::string& board_name);
int Hold(const std::string& board_name);

}  // namespace launch_storm

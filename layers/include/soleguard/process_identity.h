// What distinguishes processes, and files, from each other: plain values.
#pragma once

#include <cstdint>
#include <string>

namespace soleguard {

// What distinguishes a process from every other one that ever ran, later owners of its pid
// included. It is a plain value, and stays comparable after the process is gone.
struct ProcessIdentity {
  // MachineId of the machine that it runs on; empty: this one. Only records that other machines
  // read name it. Of a process of another machine nothing can be seen from here, and nothing that
  // is done to a process reaches it.
  std::string machine = {};
  std::string boot_id;  // of the kernel's run: /proc/sys/kernel/random/boot_id
  // Inode of the pid namespace that `pid` counts in, which is that of the process that read this
  // identity. So a process of a nested namespace gives itself another identity than one that reads
  // it from outside; IdentityHere leads from the one to the other.
  std::uint64_t pid_namespace = 0;
  std::int64_t pid = 0;
  // Field 22 of /proc/PID/stat with the reader's time-namespace offset taken out (that field is
  // shifted by it: 10627439 against 627439 in an experiment), so that readers in two time
  // namespaces agree (unless an offset is no whole number of ticks). Clock ticks since boot: a pid
  // that was recycled within one tick, 10 ms, is not distinguished from its former owner.
  std::uint64_t start_ticks = 0;

  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

// An open file or directory, as the kernel identifies it.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;

  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

}  // namespace soleguard

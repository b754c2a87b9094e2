// A program of somebody who has soleguard installed: takes a name, then tries to take it again.
#include <cstdio>
#include <cstdlib>
#include <variant>

#include <soleguard/guard.h>
#include <soleguard/options.h>
#include <soleguard/policy.h>
#include <soleguard/process.h>
#include <soleguard/scope.h>

namespace {

const char* Describe(const soleguard::Verdict& verdict) {
  if (std::holds_alternative<soleguard::Unique>(verdict)) return "Unique";
  if (std::holds_alternative<soleguard::Duplicate>(verdict)) return "Duplicate";
  return "Undetermined";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: consumer DIRECTORY\n");
    return EXIT_FAILURE;
  }
  const auto policy = soleguard::Policy::Parse("all(file)");
  if (!policy.ok()) {
    std::fprintf(stderr, "policy: %s\n", policy.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  const auto scope = soleguard::Scope::Directory(argv[1]);
  if (!scope.ok()) {
    std::fprintf(stderr, "scope: %s\n", scope.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  soleguard::Options options;
  options.scope = *scope;

  const soleguard::Verdict first = soleguard::Guard::Acquire("consumer", *policy, options);
  std::printf("first: %s\n", Describe(first));
  const auto* unique = std::get_if<soleguard::Unique>(&first);
  if (unique == nullptr) return EXIT_FAILURE;
  if (const auto token = unique->guard.token()) {
    std::printf("token: %llu\n", static_cast<unsigned long long>(*token));
  }

  const soleguard::Verdict second = soleguard::Guard::Acquire("consumer", *policy, options);
  std::printf("second: %s\n", Describe(second));
  return std::holds_alternative<soleguard::Duplicate>(second) ? EXIT_SUCCESS : EXIT_FAILURE;
}

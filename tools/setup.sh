#!/usr/bin/env bash
# tools/setup.sh [PROFILE]: installs from Debian 12's own packages what is missing, after it has said
# how much that is. Run it as root, or as a user who has sudo; run it again at will: with everything
# in place it changes nothing and does not ask apt.
#
#   run   what guardcheck is built with, and the demonstration of tools/try.sh needs
#   test  besides, what the tests and benchmarks need
#   all   besides, what checks format and scripts (unless told)
set -euo pipefail

run=(
  g++ cmake ninja-build
  libabsl-dev libboost1.81-dev libboost-json1.81-dev libre2-dev libcli11-dev libtomlplusplus-dev
  libxxhash-dev
  python3 util-linux  # the bot that try.sh guards, and flock(1)
)
# strace injects failures, util-linux has unshare and setarch, procps has ps, spin verifies,
# bubblewrap makes sandboxes, libfuse3 filesystems that hang, systemd has systemd-analyze, mandoc
# reads manual pages, zsh and fish their completions, jq the JSON in the documented commands
test=(
  build-essential ccache pkg-config
  libgtest-dev libgmock-dev libboost-filesystem1.81-dev libbenchmark-dev libfuse3-dev
  strace bubblewrap procps iproute2 spin systemd mandoc zsh fish fuse3 jq
)
all=(clang-format clang-tidy shellcheck)

case "${1-all}" in
  run) packages=("${run[@]}") ;;
  test) packages=("${run[@]}" "${test[@]}") ;;
  all) packages=("${run[@]}" "${test[@]}" "${all[@]}") ;;
  *)
    echo "usage: tools/setup.sh [run|test|all]" >&2
    exit 64
    ;;
esac

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

is_installed() {
  [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

command -v dpkg-query >/dev/null || fail "no dpkg-query: only Debian packages are known here"

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  say "all ${#packages[@]} packages are installed, nothing to do"
  exit 0
fi
say "missing: ${missing[*]}"

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null ||
    fail "neither root nor sudo; ask somebody to run: apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
  say "using sudo"
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

say "apt-get update"
apt update -qq || say "apt-get update failed; going on with the package lists that are here"

# The development files of two Boost releases exclude each other; apt would remove the older ones
# (and whatever builds on them) without asking.
if is_installed libboost1.74-dev; then
  say "libboost1.74-dev is installed; soleguard needs Boost 1.81 and Debian lets only one of them stay"
  removed="$(apt install --simulate --no-install-recommends "${missing[@]}" |
    awk '$1 == "Remv" { print $2 }')"
  others="$(grep -v '^libboost' <<<"$removed" || true)"
  if [[ -n "$others" ]]; then
    fail "installing would also remove packages that are not Boost's: ${others//$'\n'/ }
setup: no package was changed. If that is fine, run: apt-get install --no-install-recommends ${missing[*]}"
  fi
  say "apt replaces it, removing: ${removed//$'\n'/ }"
fi

# Without a yes apt-get says what it would do, and ends with 1.
size="$(apt install --assume-no --no-install-recommends "${missing[@]}" |
  grep -E '^(Need to get|After this operation)' || true)"
say "apt-get install. ${size//$'\n'/ }"
apt install -y -qq --no-install-recommends "${missing[@]}"

for package in "${missing[@]}"; do
  is_installed "$package" || fail "apt-get said yes, but $package is not installed"
done
say "installed ${#missing[@]} packages"

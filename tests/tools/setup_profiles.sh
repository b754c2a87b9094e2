#!/usr/bin/env bash
# What tools/setup.sh asks apt for: setup_profiles.sh SETUP, on a system that a dpkg-query and an
# apt-get of its own pretend to be. Nothing is installed.
set -euo pipefail

setup="$1"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
cat >"$work/bin/dpkg-query" <<'END'
#!/bin/sh
for package; do :; done
grep -qx "$package" "$WORK/installed" 2>/dev/null && printf installed
END
cat >"$work/bin/apt-get" <<'END'
#!/bin/sh
echo "$*" >>"$WORK/asked"
case " $* " in
  *" --assume-no "*)
    echo "Need to get 12.3 MB of archives."
    echo "After this operation, 45.6 MB of additional disk space will be used."
    exit 1
    ;;
  *" install "*) printf '%s\n' "$@" >>"$WORK/installed" ;;
esac
END
printf '#!/bin/sh\nexec "$@"\n' >"$work/bin/sudo"
chmod +x "$work/bin/"*

fail() { echo "FAILED: $*" >&2; cat "$work/said" "$work/asked" >&2 2>/dev/null || true; exit 1; }
# set_up WORD...: runs it on a system that has nothing; sets status.
set_up() {
  rm -f "$work/installed" "$work/asked"
  status=0
  env WORK="$work" PATH="$work/bin:$PATH" bash "$setup" "$@" >"$work/said" 2>&1 || status=$?
}
installs() { grep -qx -- "$1" "$work/installed"; }

set_up run
((status == 0)) || fail "run: status $status"
for package in g++ cmake libabsl-dev python3; do installs "$package" || fail "run lacks $package"; done
for package in clang-tidy libgtest-dev libbenchmark-dev strace; do
  if installs "$package"; then fail "run installs $package"; fi
done
grep -q 'Need to get 12.3 MB of archives. After this operation, 45.6 MB' "$work/said" ||
  fail "it does not say how much it installs"
# Said before: the first call with install changes nothing.
[[ "$(grep -m 1 ' install ' "$work/asked")" == *--assume-no* ]] || fail "it asks apt too late"

set_up test
for package in g++ libgtest-dev libbenchmark-dev jq; do installs "$package" || fail "test lacks $package"; done
if installs clang-tidy; then fail "test installs clang-tidy"; fi

set_up
for package in g++ libgtest-dev clang-tidy shellcheck; do installs "$package" || fail "all lacks $package"; done
everything="$(sort "$work/installed")"
set_up all
[[ "$(sort "$work/installed")" == "$everything" ]] || fail "without a profile it is not all"

# With everything in place apt is not asked.
rm "$work/asked"
env WORK="$work" PATH="$work/bin:$PATH" bash "$setup" all >"$work/said" 2>&1 || fail "a second run"
[[ ! -e "$work/asked" ]] || fail "it asks apt although nothing is missing"

set_up everything
((status == 64)) || fail "an unknown profile ends with $status"
grep -q 'run|test|all' "$work/said" || fail "it does not say which profiles there are"
echo "profiles: run, test, all"

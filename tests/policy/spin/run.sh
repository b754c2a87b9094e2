#!/usr/bin/env bash
# tests/policy/spin/run.sh [full]: verifies arbiter.pml with spin: that the protocol holds, that a
# predicted double is found, and that each broken rule is noticed. Needs spin and gcc. Without
# "full" with three policies instead of all eighteen, and two processes: half a minute.
set -euo pipefail

model="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/arbiter.pml"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0

# verify EXPECTED NAME OPTION...: EXPECTED is the number of errors, 0 or 1 (spin stops at the first).
verify() {
  local expected="$1" name="$2"
  shift 2
  local start=$SECONDS output errors states
  rm -f -- pan*
  spin -a "$@" "$model" >spin.out || { cat spin.out; exit 1; }
  gcc -O1 -w -DSAFETY -DCOLLAPSE -o pan pan.c
  output="$(./pan -m1000000 -w24 -n)"
  errors="$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' <<<"$output")"
  states="$(sed -n 's/^ *\([0-9.e+]*\) states, stored$/\1/p' <<<"$output")"
  local result=ok
  if [[ "$errors" != "$expected" ]] || grep -q 'max search depth too small' <<<"$output"; then
    result=FAILED
    failed=1
    printf '%s\n' "$output"
  fi
  printf '%-6s %s: %s errors, %s expected; %s states, %s s\n' \
    "$result" "$name" "$errors" "$expected" "$states" "$((SECONDS - start))"
}

few=(-DFEW)
if [[ "${1:-}" == full ]]; then
  few=()
  verify 0 "3 processes" -DN=3 -DKILLS=0 -DLEAST=5 -DFEW
fi
verify 0 "2 processes, 1 kill" -DN=2 -DKILLS=1 "${few[@]}"
verify 1 "a predicted double" -DN=2 -DFIND "${few[@]}"
for rule in NO_VETO NO_SETTLING FREED_IS_FREE SILENT_RELEASE NO_ROLLBACK; do
  verify 1 "$rule" -DN=2 "-D$rule" "${few[@]}"
done
exit "$failed"

#!/usr/bin/env bash
# tools/test.sh [PRESET]: installs what is missing, then configures, builds and tests a preset of
# CMakePresets.json (dev unless told). Ends with ctest's summary and the time that each part took.
set -euo pipefail

preset="${1:-dev}"
if (($# > 1)) || [[ "$preset" == -* ]]; then
  echo "usage: tools/test.sh [PRESET]   (dev, release, asan, tsan, tidy)" >&2
  exit 64
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "== test.sh: packages"
start=$SECONDS
bash tools/setup.sh
setup_seconds=$((SECONDS - start))

echo "== test.sh: cmake --workflow --preset $preset"
start=$SECONDS
status=0
cmake --workflow --preset "$preset" </dev/null || status=$?

result=passed
((status == 0)) || result="FAILED (status $status)"
echo "== test.sh: $preset $result; packages ${setup_seconds} s, build and test $((SECONDS - start)) s"
exit "$status"

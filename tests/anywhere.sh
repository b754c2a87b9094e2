#!/bin/bash
# Runs the suite in a copy of the checkout that lies somewhere else, also as somebody else.
#
#   tests/anywhere.sh PLACE [USER-ID] [-- arguments for ctest]
#
# PLACE is made, and kept: the next run builds only what has changed. With a user id, which needs
# root and no entry in the password database, the copy and the build tree are that user's, and ctest
# runs as him, without groups, with a HOME of his own. What CONTRIBUTING.md names by "anywhere" is
# what was tried.
set -euo pipefail

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 64
}
[ $# -ge 1 ] || usage
place=$1
shift
user=
if [ $# -ge 1 ] && [ "$1" != -- ]; then
  user=$1
  shift
fi
[ $# -eq 0 ] || [ "$1" = -- ] || usage
[ $# -eq 0 ] || shift
checkout=$(cd "$(dirname "$0")/.." && pwd)
jobs=${SOLEGUARD_TEST_JOBS:-$(nproc)}

mkdir -p -- "$place"
place=$(cd -- "$place" && pwd)
case $place/ in
  "$checkout"/*) echo "$place lies in the checkout" >&2; exit 64 ;;
esac
# Not by rsync(1), which the tests need for nothing else.
git -c safe.directory='*' -C "$checkout" ls-files -z -co --exclude-standard |
  while IFS= read -r -d '' file; do
    if [ -e "$checkout/$file" ] && ! cmp -s -- "$checkout/$file" "$place/$file"; then
      mkdir -p -- "$(dirname -- "$place/$file")"
      cp -p -- "$checkout/$file" "$place/$file"
    fi
  done

# The compiler's cache knows the same sources by their place below this one.
export CCACHE_BASEDIR=$place
cmake --preset dev -S "$place" -B "$place/build/dev" > /dev/null
cmake --build "$place/build/dev" --parallel "$jobs"
run=(ctest --test-dir "$place/build/dev" --output-on-failure --timeout 120 -LE '^soak$' -j "$jobs" "$@")
cd -- "$place"
if [ -z "$user" ]; then
  "${run[@]}"
else
  mkdir -p -- "$place/home"
  chown -R -h -- "$user:$user" "$place"
  exec setpriv --reuid "$user" --regid "$user" --clear-groups \
    env HOME="$place/home" USER="$user" LOGNAME="$user" "${run[@]}"
fi

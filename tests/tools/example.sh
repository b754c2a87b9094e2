#!/bin/bash
# Runs one of docs/examples/ in a place of its own: example.sh GUARDCHECK DIRECTORY
set -euo pipefail

place=$(mktemp -d "${TMPDIR:-/tmp}/soleguard-example-XXXXXX")
mkdir "$place/bin"
ln -s "$1" "$place/bin/guardcheck"
cp -r "$2" "$place/example"
export PATH="$place/bin:$PATH" SOLEGUARD_DIR="$place/scope" SOLEGUARD_STATE_DIR="$place/state" \
  SOLEGUARD_CONFIG=/dev/null

end() {
  for name in $(guardcheck list --names); do
    guardcheck stop "$name" --force --timeout 5s >/dev/null || true
  done
  rm -rf "$place"
}
trap end EXIT

cd "$place/example"
bash demo.sh
left=$(guardcheck list --names)
[ -z "$left" ] || { echo "it leaves running: $left"; exit 1; }

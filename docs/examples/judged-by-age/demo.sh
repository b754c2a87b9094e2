#!/bin/bash
set -euo pipefail

background() { guardcheck run "$@" --background --log="$PWD/log" --ready=100ms -- python3 monitor.py; }

background portfolio
find "$SOLEGUARD_DIR" -exec touch -d '2 hours ago' {} +
code=0
guardcheck run portfolio --brief -- python3 monitor.py || code=$?
[ "$code" = 75 ]
guardcheck status portfolio --json |
  python3 -c 'import json, sys
record = json.load(sys.stdin)["holder"]["record"]
print(record["instance"]["pid"], record["started"], record["hostname"])'

# It hangs. It is not taken for dead, and ended when that is asked for.
kill -STOP "$(guardcheck status portfolio --pid)"
code=0
guardcheck run portfolio --brief -- python3 monitor.py || code=$?
[ "$code" = 75 ]
guardcheck run portfolio --replace=1s -- true

# One for each place.
mkdir stocks bonds
background --name-from=stocks
background --name-from=bonds
[ "$(guardcheck list --names | wc -l)" = 2 ]
guardcheck stop --name-from=stocks
guardcheck stop --name-from=bonds

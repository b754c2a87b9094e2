#!/bin/bash
set -euo pipefail

mkdir one two
cp bot.py one
cp bot.py two
(cd one && guardcheck run polling_bot --background --log="$PWD/log" --ready=100ms -- python3 bot.py)

code=0
(cd two && guardcheck run polling_bot -- python3 bot.py) 2>refusal || code=$?
cat refusal
[ "$code" = 75 ]
grep -q "directory   $PWD/one" refusal

# The process that holds the name, and not only the bot.
kill -9 "$(sed -n 's/.*guarded by guardcheck, pid \([0-9]*\)$/\1/p' refusal)"
guardcheck run polling_bot --wait=1m -- true 2>next
cat next
grep -q 'follows a holder that died' next

#!/bin/bash
set -euo pipefail

# One that never asked. It is older than a second: a younger one might be about to ask.
python3 bot.py &
until [ -s starts ]; do sleep 0.05; done
sleep 1.5

# Eight at once. One is up when it has noted its start beside that of the copy.
starters=()
for _ in 1 2 3 4 5 6 7 8; do
  guardcheck run kraken_bot --policy strict --background --log="$PWD/bot.log" \
    --ready="test \$(wc -l <starts) = 2" --end-duplicates --brief -- python3 bot.py &
  starters+=($!)
done
up=0
for starter in "${starters[@]}"; do
  code=0
  wait "$starter" || code=$?
  [ "$code" = 0 ] && up=$((up + 1))
  [ "$code" = 0 ] || [ "$code" = 75 ]
done
[ "$up" = 1 ]
[ "$(wc -l <starts)" = 2 ] # the copy, which was ended, and the one
guardcheck stop kraken_bot

# Three, each with its own key.
export KEY_A=key-1 KEY_B=key-2 KEY_C=key-3
: >starts
for number in 1 2 3; do
  guardcheck run kraken_pool --slots 3 --slot-env API_KEY=KEY_A,KEY_B,KEY_C --background \
    --log="$PWD/bot.log" --ready="test \$(wc -l <starts) = $number" -- python3 bot.py
done
[ "$(sort starts | xargs)" = "key-1 key-2 key-3" ]
code=0
guardcheck run kraken_pool --slots 3 --slot-env API_KEY=KEY_A,KEY_B,KEY_C --brief -- python3 bot.py ||
  code=$?
[ "$code" = 75 ]
guardcheck stop kraken_pool

#!/bin/bash
set -euo pipefail

guardcheck run trading_bot --background --log="$PWD/bot.log" --ready='test -s ledger' \
  --pidfile="$PWD/bot.pid" --infofile="$PWD/bot.info" -- python3 bot.py ledger
[ "$(cat bot.pid)" = "$(guardcheck status trading_bot --pid)" ]

rm bot.pid bot.info
code=0
guardcheck run trading_bot --brief -- python3 bot.py ledger || code=$?
[ "$code" = 75 ]

# Its turn comes when the bot has ended.
guardcheck run trading_bot --wait -- true
[ "$(wc -l <ledger)" = 4 ]

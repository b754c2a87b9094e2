#!/bin/bash
set -euo pipefail

python3 server.py &
server=$!
trap 'kill $server' EXIT
until [ -s port ]; do sleep 0.05; done

guardcheck run messenger_bot --background --log="$PWD/bot.log" --ready='grep -q polling bot.log' \
  --pidfile="$PWD/bot.pid" -- python3 poller.py
code=0
guardcheck run messenger_bot --brief -- python3 poller.py || code=$?
[ "$code" = 75 ]
if grep Conflict bot.log; then exit 1; fi

# One that never asked: the server complains, and the report names it.
python3 poller.py >other.log &
other=$!
until grep -q Conflict bot.log; do sleep 0.05; done
complaint=$(grep Conflict bot.log)
code=0
guardcheck report messenger_bot --conflict "$complaint" >answer || code=$?
cat answer
[ "$code" = 75 ]
grep -q "pid $other" answer

kill "$other"
guardcheck stop messenger_bot
[ ! -e bot.pid ]

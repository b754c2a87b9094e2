#!/usr/bin/env bash
# tools/try.sh: installs what is missing, builds guardcheck (release), then puts a real program under
# `guardcheck run` and shows step by step what becomes of every way to run it twice. Run it as often
# as you like, from anywhere: everything happens in a temporary directory of its own, and nothing
# stays behind.
#
# tools/try.sh --job GUARDCHECK: only the steps, with that guardcheck (a test does this).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
name=polling_bot
bot="$root/tests/tools/polling_bot.py"
bot_status=7    # what it ends with when it is asked to stop
launches=50
patience=60     # seconds after which an event that did not come counts as a failure
job_limit=150   # the same for all steps together

usage() {
  echo "usage: tools/try.sh [--job GUARDCHECK]" >&2
  exit 64
}

# ---- set-up --------------------------------------------------------------------------------------

build() {
  echo "== try.sh: packages"
  bash "$root/tools/setup.sh" run
  echo "== try.sh: build guardcheck as the preset release does"
  # In a folder of its own: the preset also builds what the packages of the profile run lack.
  (
    cd "$root"
    cmake --preset release -B build/try -D SOLEGUARD_BUILD_TESTS=OFF -D SOLEGUARD_BUILD_BENCH=OFF \
      </dev/null
    cmake --build build/try --target guardcheck </dev/null
  )
  guardcheck="$root/build/try/bin/guardcheck"
}

# ---- telling -------------------------------------------------------------------------------------

steps=0
step() {
  steps=$((steps + 1))
  printf '\n== %d. %s\n' "$steps" "$1"
}
show() { printf '   $ %s\n' "$*"; }
say() { printf '   %s\n' "$*"; }
show_output() { sed 's/^/   | /' "$1"; }
ok() { printf '   OK: %s\n' "$*"; }
fail() {
  printf '   FAILED: %s\n' "$*"
  for file in "$work"/*.err; do
    if [[ -s "$file" ]]; then
      say "${file##*/}:"
      show_output "$file"
    fi
  done
  exit 1
}

# expect TEXT FILE: the file has that text in it.
expect() { grep -qF -- "$1" "$2" || fail "expected '$1' in what it said"; }

# ---- processes -----------------------------------------------------------------------------------

# begin_run DIRECTORY LOG WORD...: guardcheck run from DIRECTORY, in the background; sets wrapper.
begin_run() {
  local directory="$1" log="$2"
  shift 2
  (cd "$directory" && exec "$guardcheck" run "$name" "${scope[@]}" "$@" >"$log" 2>&1) {events}>&- &
  wrapper=$!
}

# refused_run DIRECTORY LOG: a start that is expected to be refused; sets status.
refused_run() {
  status=0
  (cd "$1" && exec timeout "$patience" "$guardcheck" run "$name" "${scope[@]}" -- "${command[@]}") \
    >"$2" 2>&1 || status=$?
}

# next_event: reads the next line that a bot wrote to its FIFO; sets event, an array.
next_event() {
  read -r -t "$patience" -u "$events" -a event || fail "no bot came up within $patience seconds"
}

# wait_any PID...: waits until one of them has ended; sets ended and status.
wait_any() {
  status=0
  wait -n -p ended "$@" "$clock" || status=$?
  [[ "$ended" != "$clock" ]] || fail "$* should have ended by now, but did not"
}

# alive PID...: how many of them run.
alive() {
  local pid count=0
  for pid in "$@"; do
    if kill -0 "$pid" 2>/dev/null; then count=$((count + 1)); fi
  done
  echo "$count"
}

expect_status_of_bot() {
  ((status == bot_status)) ||
    fail "guardcheck ended with $status, expected the bot's own $bot_status"
}

# bots LEDGER: how many bots ever started.
bots() { grep -c ' started ' "$1" || true; }

# Kills what is left of this job: guardcheck, whose guardian then ends the bot; and, should the
# guardian have failed, each process of the ledgers that still runs one of these bots.
clean_up() {
  local running pid
  mapfile -t running < <(jobs -pr)
  if ((${#running[@]} > 0)); then
    {
      kill -KILL "${running[@]}"
      wait
    } 2>/dev/null || true
  fi
  if [[ -d "$claim" ]]; then flock -w 10 "$claim" true || true; fi
  while read -r pid; do
    if grep -qsF -- "$work/" "/proc/$pid/cmdline"; then kill -KILL "$pid" 2>/dev/null || true; fi
  done < <(cat "$work/ledger" "$work/storm" 2>/dev/null |
    awk '{ print $1; if ($2 == "worker") print $3 }' | sort -u)
  rm -rf "$work"
  # What the mutex layer keeps outlives the scope of this job.
  if [[ -n "$semaphore" ]]; then
    ipcrm -S "$semaphore" 2>/dev/null || true
    rm -f "/dev/shm/soleguard-${semaphore#0x}"
  fi
}

# ---- the main job --------------------------------------------------------------------------------

job() {
  semaphore=""
  work="$(mktemp -d "${TMPDIR:-/tmp}/soleguard-try-XXXXXX")"
  claim="$work/scope/names/$name"
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM

  local lock="$claim/lock" ledger="$work/ledger" here="$work/here" there="$work/there"
  scope=(--scope "$work/scope" --state-dir "$work/state")
  mkdir "$here" "$there"
  mkfifo "$work/events" "$work/barrier"
  exec {events}<>"$work/events"  # open for both: nobody who opens one end waits for the other
  sleep "$job_limit" >/dev/null 2>&1 {events}>&- &
  clock=$!
  command=("$bot" "$ledger" "$work/events")

  step "A bot with two workers runs under guardcheck"
  show "cd $here && guardcheck run $name -- polling_bot.py $ledger &"
  begin_run "$here" "$work/first.err" -- "${command[@]}"
  next_event
  local first_wrapper="$wrapper" first_bot="${event[1]}" first_token="${event[4]}"
  local first_pids=("${event[@]:1:3}")
  local holder="pid         $first_bot, guarded by guardcheck, pid $first_wrapper" try
  for ((try = 0; try < 200; try++)); do
    "$guardcheck" status "$name" "${scope[@]}" >"$work/status.err" ||
      fail "guardcheck status says $?, expected 0"
    if grep -qF "$holder" "$work/status.err"; then break; fi
    sleep 0.05  # the bot can be faster than guardcheck, which writes down whom it has started
  done
  show "guardcheck status $name"
  show_output "$work/status.err"
  semaphore="$(grep -oE '0x[0-9a-f]{8}' "$work/status.err" | head -n 1)"
  expect "$holder" "$work/status.err"
  ok "bot $first_bot and workers ${event[2]}, ${event[3]} append to the ledger; token $first_token"

  step "A second start, from another working directory"
  show "cd $there && guardcheck run $name -- polling_bot.py $ledger"
  refused_run "$there" "$work/second.err"
  show_output "$work/second.err"
  ((status == 75)) || fail "exit status $status, expected 75"
  expect "$holder" "$work/second.err"
  expect "directory   $here" "$work/second.err"
  expect "polling_bot.py" "$work/second.err"
  expect "token       $first_token" "$work/second.err"
  (($(bots "$ledger") == 1)) || fail "a second bot wrote to the ledger"
  ok "refused with exit status 75; it names the holder"

  step "flock(1) on the lock file"
  show "flock -n $lock true"
  status=0
  flock -n "$lock" true || status=$?
  ((status == 1)) || fail "exit status $status, expected 1"
  ok "refused with exit status 1"

  step "The lock file is deleted, then the bot started again"
  show "rm $lock"
  rm "$lock"
  show "guardcheck run $name -- polling_bot.py $ledger"
  refused_run "$there" "$work/deleted.err"
  ((status == 75)) || fail "exit status $status, expected 75"
  expect "$holder" "$work/deleted.err"
  (($(bots "$ledger") == 1)) || fail "a second bot wrote to the ledger"
  (($(alive "${first_pids[@]}") == 3)) || fail "the bot did not survive this"
  ok "still refused with exit status 75: the directory is locked too"

  step "guardcheck is killed with SIGKILL, and the bot started again at once"
  show "kill -KILL $first_wrapper"
  kill -KILL "$first_wrapper"
  show "guardcheck run $name -- polling_bot.py $ledger &"
  begin_run "$here" "$work/next.err" -- "${command[@]}"
  wait_any "$first_wrapper" 2>/dev/null  # bash says "Killed"
  ((status == 137)) || fail "the killed guardcheck has status $status, expected 137"
  next_event
  show_output "$work/next.err"
  local next_pids=("${event[@]:1:3}") next_token="${event[4]}"
  (($(alive "${first_pids[@]}") == 0)) || fail "of ${first_pids[*]} one still runs"
  ok "the old bot and its workers (${first_pids[*]}) are gone"
  # Everything that the old bot and its workers wrote must stand before the new bot's first line.
  if sed "1,/^${event[1]} started /d" "$ledger" | grep -q "^$first_bot "; then
    fail "the old bot wrote to the ledger after the new one had started"
  fi
  ok "the ledger has no line of the old bot behind the first one of the new"
  ((next_token > first_token)) || fail "token $next_token is not larger than $first_token"
  ok "the new bot runs, its token $next_token is larger"
  expect "follows a holder that died: pid $first_wrapper" "$work/next.err"
  ok "the start says that it follows a holder that died"

  step "The bot is asked to stop"
  show "kill -TERM $wrapper"
  kill -TERM "$wrapper"
  wait_any "$wrapper"
  expect_status_of_bot
  (($(alive "${next_pids[@]}") == 0)) || fail "of ${next_pids[*]} one still runs"
  [[ "$(tail -n 1 "$ledger")" == "${next_pids[0]} stopped" ]] ||
    fail "the ledger does not end with the bot's last line"
  ok "guardcheck ended with the bot's own exit status, $status; bot and workers are gone"
  status=0
  "$guardcheck" status "$name" "${scope[@]}" >"$work/status.err" || status=$?
  ((status == 3)) || fail "guardcheck status says $status, expected 3"
  ok "guardcheck status: not running (3)"

  step "$launches starts at the same moment"
  storm "$work/storm"

  printf '\n== all %d steps OK\n' "$steps"
}

# Each start waits at a barrier: a FIFO that ends for all of them when its one writer closes it.
storm() {
  local ledger="$1" barrier waiting i pids=()
  show "guardcheck run $name -- polling_bot.py $ledger   # $launches times"
  command=("$bot" "$ledger" "$work/events")
  mkdir "$work/starts"
  exec {barrier}<>"$work/barrier"
  for ((i = 0; i < launches; i++)); do
    (
      exec {waiting}<"$work/barrier" {barrier}>&-
      echo waiting >&"$events"
      read -r -u "$waiting" || true  # returns at the end of the FIFO
      exec {waiting}<&- {events}>&-
      exec "$guardcheck" run "$name" "${scope[@]}" -- "${command[@]}" >"$work/starts/$i" 2>&1
    ) &
    pids+=("$!")
  done
  for ((i = 0; i < launches; i++)); do
    next_event
    [[ "${event[0]}" == waiting ]] || fail "a bot came up before the barrier"
  done
  exec {barrier}>&-
  next_event
  local winner="${event[1]}" refused=0 left=() pid
  while ((refused < launches - 1)); do
    wait_any "${pids[@]}"
    if ((status != 75)); then
      cat "$work"/starts/* >"$work/starts.err"
      fail "one start ended with $status, expected 75"
    fi
    refused=$((refused + 1))
    left=()
    for pid in "${pids[@]}"; do
      if [[ "$pid" != "$ended" ]]; then left+=("$pid"); fi
    done
    pids=("${left[@]}")
  done
  ok "$refused starts were refused with exit status 75"
  (($(bots "$ledger") == 1)) || fail "$(bots "$ledger") bots wrote to the ledger"
  expect "$winner started ${event[4]}" "$ledger"
  ok "exactly one bot is in the ledger: $winner"
  kill -TERM "${pids[0]}"
  wait_any "${pids[0]}"
  expect_status_of_bot
  ok "it stops when it is asked to"
}

case "${1:-}" in
  '')
    (($# == 0)) || usage
    build
    ;;
  --job)
    if (($# != 2)) || [[ ! -x "$2" ]]; then usage; fi
    guardcheck="$(realpath "$2")"
    ;;
  *) usage ;;
esac
job

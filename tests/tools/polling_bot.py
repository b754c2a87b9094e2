#!/usr/bin/env python3
"""polling_bot.py LEDGER [EVENTS]: a small bot of the kind that must not run twice.

Two worker processes poll and append what they did to LEDGER, one line each time:

    BOT started TOKEN | BOT worker PID poll N | BOT stopped

BOT is the pid of the main process, TOKEN the fencing token that guardcheck run gave it. SIGTERM and
SIGINT end it in order, with exit status 7. EVENTS is a FIFO that is told, once both workers have
polled, "ready BOT WORKER WORKER TOKEN".
"""

import os
import signal
import sys

INTERVAL_SECONDS = 0.02
STATUS_WHEN_STOPPED = 7
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def append(path, line):
    # One write to a file opened for appending: lines of several processes do not mix.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, (line + "\n").encode())
    os.close(file)


def work(ledger, bot, ready):
    polls = 0
    while True:
        polls += 1
        append(ledger, f"{bot} worker {os.getpid()} poll {polls}")
        if polls == 1:
            os.write(ready, b"1")
        # The pause between two polls; a stop signal ends it at once.
        if signal.sigtimedwait(STOP_SIGNALS, INTERVAL_SECONDS) is not None:
            os._exit(0)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    ledger = sys.argv[1]
    bot = os.getpid()
    token = os.environ.get("SOLEGUARD_TOKEN", "0")
    # Blocked, and taken by sigwait: no signal comes between two lines of this program.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    append(ledger, f"{bot} started {token}")

    polled, ready = os.pipe()
    workers = []
    for _ in range(2):
        worker = os.fork()
        if worker == 0:
            work(ledger, bot, ready)
        workers.append(worker)
    for _ in workers:
        os.read(polled, 1)
    if len(sys.argv) == 3:
        with open(sys.argv[2], "w", encoding="ascii") as events:
            events.write(f"ready {bot} {workers[0]} {workers[1]} {token}\n")

    signal.sigwait(STOP_SIGNALS)
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
    for worker in workers:
        os.waitpid(worker, 0)
    append(ledger, f"{bot} stopped")
    sys.exit(STATUS_WHEN_STOPPED)


if __name__ == "__main__":
    main()

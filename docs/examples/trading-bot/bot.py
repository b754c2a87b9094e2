"""Sends four orders, and ends. Two of it would send eight."""
import sys
import time

for number in range(4):
    with open(sys.argv[1], "a", encoding="utf-8") as ledger:
        ledger.write(f"order {number}\n")
    time.sleep(0.4)

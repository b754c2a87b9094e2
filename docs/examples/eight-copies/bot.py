"""Notes with which key it was started, and runs until it is ended."""
import os
import time

with open("starts", "a", encoding="utf-8") as starts:
    starts.write(os.environ.get("API_KEY", "no key") + "\n")
while True:
    time.sleep(1)

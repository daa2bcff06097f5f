"""A part as small as can be, for the supervisor's tests: speaks the channel, and does what its name says.

Run as `tiny_part.py BEHAVIOUR FD FOLDER NAME`; writes a line to FOLDER/NAME.log for all that happens to it.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

behaviour, descriptor, folder, name = sys.argv[1:]
channel = socket.socket(fileno=int(descriptor)).makefile("rwb", buffering=0)
log = Path(folder, f"{name}.log")


def note(text: str) -> None:
    with log.open("a") as out:
        out.write(text + "\n")


def say(**said: object) -> None:
    channel.write(json.dumps(said).encode() + b"\n")


def end(number: int, frame: object) -> None:
    if behaviour == "stubborn":
        note("stays")
        return
    if behaviour == "slow":
        note("drains")
        time.sleep(0.2)
    note("drained")
    os._exit(0)


signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.SIG_IGN)
first = json.loads(channel.readline())
note(f"born {os.getpid()} {'[server]' in first['config']}")
if behaviour == "refuses":
    say(failed="the port is taken")
    sys.exit(1)
if behaviour == "dies":
    sys.exit(3)
say(ready=True)
if behaviour == "dies-once" and len(log.read_text().splitlines()) == 1:
    os.kill(os.getpid(), signal.SIGKILL)
while line := channel.readline():
    mood = next(row for row in json.loads(line)["config"].splitlines() if row.startswith("text_only"))
    say(kept="no such mood") if behaviour == "keeps" else say(reloaded=True)
    note(f"told {mood}")
note("supervisor gone")

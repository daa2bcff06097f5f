"""Runs the real supervisor over tiny parts: `run_supervisor.py FOLDER BEHAVIOUR…`, one part a behaviour.

The configuration that SIGHUP reads is FOLDER/config.toml.
"""

import asyncio
import sys
from pathlib import Path

from telltale.config import Config, load
from telltale.errors import FailureError
from telltale.logs import start_logging
from telltale.partname import PartName
from telltale.spec import Spec
from telltale.supervisor import Supervisor

folder, *behaviours = sys.argv[1:]
PART = Path(__file__).with_name("tiny_part.py")


def command(spec: Spec, channel: int) -> list[str]:
    return [sys.executable, str(PART), behaviours[spec.index], str(channel), folder, f"part{spec.index}"]


def announce() -> None:
    Path(folder, "announced").touch()


def read() -> Config:
    return load(Path(folder, "config.toml"))


start_logging("serve")
specs = [Spec(PartName.RELAY, index) for index in range(len(behaviours))]
try:
    asyncio.run(Supervisor(specs, read(), read, announce=announce, command=command).run())
except FailureError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(1)

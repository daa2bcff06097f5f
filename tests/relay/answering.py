"""A process that answers duties until it is killed: says "ready", then answers in a loop."""

import asyncio
import sys
from pathlib import Path

from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store
from tests.relay.test_answers import Desk


async def main(state_dir: Path) -> None:
    store = await Store.open(state_dir, POLICY)
    desk = Desk(store, await Reader.open(state_dir), state_dir, most_per_hour=10_000)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        await desk.answers.answer()
        await asyncio.sleep(0)


asyncio.run(main(Path(sys.argv[1])))

"""A process that answers duties until it is killed, and says "told" for each sender who was told."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store
from tests.relay.test_answers import Desk


async def main(state_dir: Path) -> None:
    store = await Store.open(state_dir, POLICY)
    desk = Desk(store, await Reader.open(state_dir), state_dir, most_per_hour=10_000)
    answer = store.duties.answer

    async def answered(*about: Any, **options: Any) -> bool:
        done = await answer(*about, **options)
        sys.stdout.write("told\n")
        sys.stdout.flush()
        return done

    store.duties.answer = answered  # type: ignore[method-assign]
    while True:
        await desk.answers.answer()
        await asyncio.sleep(0)


asyncio.run(main(Path(sys.argv[1])))

"""A process that accepts in a loop until it is killed, and prints each message id once it is acknowledged."""

import asyncio
import sys
from pathlib import Path

from storage.people import POLICY
from storage.store import Store
from tests.storage.makers import accept


async def session(store: Store, number: int) -> None:
    while True:
        content = (b"x" * 300_000) if number == 0 else b"hello"
        jobs = await accept(store, f"{number}@x.example", f"{number}@y.example", content=content)
        # os.write would do as well; a line of this length reaches the pipe whole.
        sys.stdout.write(f"{jobs[0].message.id}\n")
        sys.stdout.flush()


async def main() -> None:
    store = await Store.open(Path(sys.argv[1]), POLICY)
    await asyncio.gather(*(session(store, number) for number in range(8)))


asyncio.run(main())

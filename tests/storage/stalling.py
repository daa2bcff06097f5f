"""A worker process for the laws over processes: accepts, claims, settles, and stalls past its leases.

Its clock runs 6,000 times as fast as ours, for all workers alike: a lease lasts 0.15 s. It prints what
was accepted of its answers: "recipient event". All begin when they are told the time, so that each meets the others'.
"""

import asyncio
import random
import sys
import time
from pathlib import Path

from storage.model import Job
from storage.people import POLICY
from storage.status import Event
from storage.store import Store
from tests.storage.makers import BUSY, NOW, OK, accept, result

_SPEED = 6000
_ROUNDS = 8


def now_ms(began_ns: int) -> int:
    return NOW + (time.monotonic_ns() - began_ns) * _SPEED // 1_000_000


async def answer(store: Store, job: Job, began_ns: int, chance: random.Random) -> None:
    if chance.random() < 0.1:
        await asyncio.sleep(0.2)
    event = Event.DEFER if chance.random() < 0.4 else Event.DELIVER
    settled = await store.settle(result(job, event, BUSY if event is Event.DEFER else OK, at_ms=now_ms(began_ns)))
    if settled.accepted:
        sys.stdout.write(f"{job.recipient_id} {event}\n")
        sys.stdout.flush()


async def main() -> None:
    chance = random.Random(sys.argv[2])
    store = await Store.open(Path(sys.argv[1]), POLICY)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    began_ns = int(await asyncio.to_thread(sys.stdin.readline))
    for _ in range(_ROUNDS):
        jobs = await accept(store, *(f"{number}@x.example" for number in range(8)), received_ms=now_ms(began_ns))
        jobs += await store.claim(now_ms(began_ns), 20)
        await asyncio.gather(*(answer(store, job, began_ns, chance) for job in jobs))
    await store.close()


asyncio.run(main())

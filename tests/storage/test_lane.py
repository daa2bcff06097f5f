"""Laws of the lane: groups, answers, errors."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from storage.lane import Call, Lane


class Ledger:
    """A service that writes down its groups; a gate lets a test hold the thread."""

    def __init__(self) -> None:
        self.groups: list[list[object]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        self.turn = threading.Event()
        self.turn.set()
        self.closed = False

    def ready(self) -> None:
        self.asked.set()
        self.turn.wait(10)

    def serve(self, calls: Sequence[Call]) -> None:
        self.gate.wait(10)
        self.groups.append([call.argument for call in calls])
        for call in calls:
            if call.argument == "bad":
                call.error = ValueError("bad")
            else:
                call.answer = call.argument

    def close(self) -> None:
        self.closed = True


def verb(_: object, arguments: Sequence[object]) -> Sequence[object]:
    return arguments


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def lane(ledger: Ledger) -> AsyncIterator[Lane]:
    made = Lane("test", asyncio.get_running_loop())
    made.start(ledger)
    yield made
    ledger.gate.set()
    ledger.turn.set()
    await made.close()
    assert ledger.closed


async def test_what_is_called_while_others_are_served_shares_the_next_group(lane: Lane, ledger: Ledger) -> None:
    """Verbs that come while another process has the store do not wait for it twice."""
    ledger.turn.clear()
    first = lane.call(verb, 1)
    assert await asyncio.to_thread(ledger.asked.wait, 10)
    second = lane.call(verb, 2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it is handed over
    ledger.turn.set()
    assert await asyncio.gather(first, second) == [1, 2]
    assert ledger.groups == [[1, 2]]


async def test_what_one_turn_of_the_loop_asks_for_shares_a_group(lane: Lane, ledger: Ledger) -> None:
    async def ask(number: int) -> object:
        return await lane.call(verb, number)

    assert await asyncio.gather(*map(ask, range(40))) == list(range(40))
    assert ledger.groups == [list(range(40))]


async def test_what_waits_while_a_group_is_served_is_the_next_group(lane: Lane, ledger: Ledger) -> None:
    ledger.gate.clear()
    waiting = []
    for number in range(5):
        waiting.append(lane.call(verb, number))
        await asyncio.sleep(0)
    ledger.gate.set()
    ledger.turn.set()
    assert await asyncio.gather(*waiting) == list(range(5))
    assert [number for group in ledger.groups for number in group] == list(range(5))
    assert len(ledger.groups) <= 3


async def test_a_verb_that_fails_fails_alone(lane: Lane) -> None:
    good, bad, other = lane.call(verb, 1), lane.call(verb, "bad"), lane.call(verb, 2)
    assert await good == 1
    assert await other == 2
    with pytest.raises(ValueError, match="bad"):
        await bad


async def test_a_group_is_bounded_in_verbs_and_in_weight(lane: Lane, ledger: Ledger) -> None:
    await asyncio.gather(*(lane.call(verb, number) for number in range(600)))
    assert [len(group) for group in ledger.groups] == [256, 256, 88]
    ledger.groups.clear()
    await asyncio.gather(*(lane.call(verb, number, 3 << 20) for number in range(5)))
    assert ledger.groups == [[0, 1], [2, 3], [4]]
    ledger.groups.clear()
    await asyncio.gather(*(lane.call(verb, number, 30 << 20) for number in range(2)))
    assert ledger.groups == [[0], [1]]


async def test_a_task_that_stopped_waiting_is_served_all_the_same(lane: Lane, ledger: Ledger) -> None:
    gone, stays = lane.call(verb, "gone"), lane.call(verb, "stays")
    gone.cancel()
    assert await stays == "stays"
    assert ledger.groups == [["gone", "stays"]]


async def test_a_closed_lane_takes_nothing_and_has_served_everything(ledger: Ledger) -> None:
    lane = Lane("test", asyncio.get_running_loop())
    lane.start(ledger)
    waiting = [lane.call(verb, number) for number in range(3)]
    await lane.close()
    await lane.close()
    assert await asyncio.gather(*waiting) == [0, 1, 2]
    with pytest.raises(RuntimeError, match="closed"):
        lane.call(verb, 4)


def test_where_the_loop_is_gone_the_verb_is_served_and_nobody_is_told(ledger: Ledger) -> None:
    loop = asyncio.new_event_loop()
    lane = Lane("test", loop)
    lane.start(ledger)
    ledger.gate.clear()

    async def ask() -> None:
        lane.call(verb, "last")
        await asyncio.sleep(0)

    loop.run_until_complete(ask())
    loop.close()
    ledger.gate.set()
    ledger.turn.set()
    lane._queue.put(None)
    lane._thread.join(10)
    assert ledger.groups == [["last"]]
    assert ledger.closed

"""The runner: nobody twice, nobody left out, whoever runs it and however it ends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from relay.broadcast.draft import of_html
from relay.broadcast.letter import Letter
from relay.broadcast.pace import Pace
from relay.broadcast.runner import Runner, RunnerSettings, processes
from relay.broadcasting import preparing
from relay.inject.plan import InjectOptions
from relay.receive.accept import Acceptor
from storage.broadcast_model import Chunk, Hold, NewRun, Run, RunOrder, RunState
from storage.commit import StoreFullError
from storage.large import LARGE_BYTES
from storage.model import Job, LogFilter, Reply
from storage.people import POLICY, Blocked, Source
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from storage.turn import Turn
from tests.storage.makers import DAY, NOW, result

PAGE = of_html("<p>Hello {{ name|default('you') }}</p>", "Hi", "news@sender.test")
PLAIN = of_html("<p>Hello you</p>", "Hi", "news@sender.test")


class House:
    """A store, and runners that hand their jobs to a list."""

    def __init__(self, state_dir: Path, store: Store, reader: Reader) -> None:
        self.state_dir = state_dir
        self.store = store
        self.reader = reader
        self.jobs: list[Job] = []
        self.free = 1_000_000
        self.now_ms = NOW
        self.now = 0.0

    def room(self) -> int:
        return self.free

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs

    def runner(self, *, ahead: int = 1_000_000, processes: int = 1) -> Runner:
        acceptor = Acceptor(self.store, InjectOptions(), "relay.test", self, lifetime_ms=DAY)
        return Runner(
            self.store, self.reader, preparing(acceptor), self, Turn(self.state_dir / "turn"),
            RunnerSettings(ahead, DAY, processes), clock=lambda: self.now, now_ms=lambda: self.now_ms,
        )  # fmt: skip

    async def draft(
        self, addresses: Sequence[str], *, template: bytes = PLAIN, size: int = 3, per_hour: int | None = None,
        name: str = "Spring",
    ) -> int:  # fmt: skip
        personal = template == PAGE
        new = NewRun(name, "general", "news@sender.test", "Hi", template, personal, per_hour)
        run_id = await self.store.broadcasts.create(new, self.now_ms)
        contacts = [(address, "", {}) for address in addresses]
        for number, start in enumerate(range(0, len(contacts), size)):
            some = contacts[start : start + size]
            await self.store.broadcasts.add(run_id, [Chunk(number, len(some), json.dumps(some).encode())])
        return run_id

    async def started(self, addresses: Sequence[str], **options: object) -> int:
        run_id = await self.draft(addresses, **options)  # type: ignore[arg-type]
        assert await self.store.broadcasts.start(run_id, None, self.now_ms)
        return run_id

    async def run(self, run_id: int) -> Run:
        run = await self.reader.broadcasts.run(run_id)
        assert run is not None
        return run

    async def done(self, run_id: int) -> None:
        """Ask until the run is done."""
        for _ in range(1000):
            if (await self.run(run_id)).state is RunState.DONE:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(await self.run(run_id))

    async def sent(self) -> list[str]:
        return [row.recipient for row in reversed(await self.reader.log(LogFilter(), limit=10_000))]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await Store.open(tmp_path, POLICY)
    reader = await Reader.open(tmp_path)
    yield House(tmp_path, store, reader)
    await reader.close()
    await store.close()


PEOPLE = [f"p{number}@there.test" for number in range(10)]


@pytest.mark.parametrize("template", [PLAIN, PAGE])
async def test_all_get_it_in_the_order_of_the_list(house: House, template: bytes) -> None:
    run_id = await house.started(PEOPLE, template=template)
    await house.runner().step()
    assert await house.sent() == PEOPLE
    run = await house.run(run_id)
    assert (run.state, run.done, run.unsent, run.total) == (RunState.DONE, 10, 10, 10)
    assert [job.address for job in house.jobs] == PEOPLE
    assert {(job.message.broadcast, job.message.broadcast_type) for job in house.jobs} == {("Spring", "general")}
    assert len({job.message.id for job in house.jobs}) == (10 if template == PAGE else 4)


async def test_a_draft_goes_to_nobody_and_is_forgotten_after_a_day(house: House) -> None:
    run_id = await house.draft(PEOPLE)
    runner = house.runner()
    await runner.step()
    assert await house.sent() == []
    house.now_ms += DAY + 1
    house.now += 61
    await runner.step()
    assert (await house.run(run_id)).state is RunState.CANCELLED
    assert await house.reader.broadcasts.chunk(run_id, 0) is None


async def test_the_same_address_again_is_duplicate_also_in_another_run(house: House) -> None:
    run_id = await house.started(["a@x.test", "b@x.test", "a@x.test", "a@x.test"], size=3)
    await house.runner().step()
    assert (await house.run(run_id)).duplicate == 2
    again = await house.started(["b@x.test", "c@x.test"])
    await house.runner().step()
    run = await house.run(again)
    assert (run.duplicate, run.unsent) == (1, 1)
    assert await house.reader.broadcasts.statuses(run) == {Status.DUPLICATE: 1, Status.UNSENT: 1}


async def test_two_runners_and_a_restart_leave_nobody_out_and_none_twice(house: House) -> None:
    """A runner that believes that it is its turn when it is not can do no harm."""
    people = [f"p{number}@there.test" for number in range(200)]
    run_id = await house.started(people, size=2)
    one, two = house.runner(), house.runner()
    while (await house.run(run_id)).state is RunState.SENDING:
        await asyncio.gather(one.step(), two.step())
        one = house.runner()
    assert await house.sent() == people


async def test_no_more_wait_in_the_queue_than_may(house: House) -> None:
    """Of one domain, half of it."""
    run_id = await house.started(PEOPLE, size=2)
    runner = house.runner(ahead=8)
    for done in (4, 6):
        for _ in range(9):
            await runner.step()
            house.now += 1
        assert (await house.run(run_id)).done == done
        for job in house.jobs[:2]:
            await house.store.settle(result(job, Event.DELIVER))


async def test_who_waits_for_long_holds_up_nobody(house: House) -> None:
    """A site that is down must not keep the rest of the list from going out."""
    house.now_ms = time.time_ns() // 1_000_000  # as the ids of messages have it
    run_id = await house.started(PEOPLE, size=2)
    runner = house.runner(ahead=8)
    # Ids are of the real time: six minutes on, all that came is old.
    for minutes, done in ((0, 4), (4, 4), (2, 10)):
        house.now_ms += minutes * 60_000
        for _ in range(9):
            await runner.step()
            house.now += 1
        assert (await house.run(run_id)).done == done


async def test_a_dead_domain_at_the_head_of_the_list_delays_nobody_behind_it(house: House) -> None:
    """Half of what may wait is its share; the rest of it goes to the end, and nobody is lost or sent to twice."""
    dead = [f"p{number}@dead.test" for number in range(3000)]
    living = [f"p{number}@there{number % 7}.test" for number in range(400)]
    run_id = await house.started(dead + living, size=100)
    runner = house.runner(ahead=1000)
    sent: list[str] = []
    for _ in range(40):
        await runner.step()
        house.now += 1
        for job in house.jobs:
            if job.domain != "dead.test":
                await house.store.settle(result(job, Event.DELIVER))
                sent.append(job.address)
        house.jobs = [job for job in house.jobs if job.domain == "dead.test"]
        if len(sent) == 400:
            break
    assert sorted(sent) == sorted(living)
    run = await house.run(run_id)
    assert (run.state, run.done, len(house.jobs)) == (RunState.SENDING, 900, 500)
    chunks = run.chunks
    for _ in range(5):
        await runner.step()
        house.now += 1
    assert (await house.run(run_id)).chunks == chunks  # no turns through a list of the dead alone
    while (await house.run(run_id)).state is RunState.SENDING:
        jobs, house.jobs = house.jobs, []
        await asyncio.gather(*(house.store.settle(result(job, Event.FAIL)) for job in jobs))
        await runner.step()
        house.now += 1
    assert len(await house.sent()) == len(set(await house.sent())) == 3400
    assert (await house.run(run_id)).done == 3400


async def test_who_is_due_later_takes_no_room(house: House) -> None:
    """A site that rests, or an operator who holds the queue, holds up nobody else."""
    run_id = await house.started([f"p{number}@x{number}.test" for number in range(8)], size=1)
    runner = house.runner(ahead=4)
    await runner.step()
    assert (await house.run(run_id)).done == 4
    await house.store.postpone(house.jobs, house.now_ms + DAY)
    for _ in range(2):
        house.now += 1
        await runner.step()
    assert (await house.run(run_id)).done == 8


async def test_who_is_held_back_anyway_needs_no_fields(house: House) -> None:
    """Nothing could be sent to who has come free meanwhile, and the log says why."""
    template = of_html("<p>{{ city }}</p>", "Hi", "news@sender.test")
    new = NewRun("Spring", "general", "news@sender.test", "Hi", template, personal=True)
    run_id = await house.store.broadcasts.create(new, NOW)
    await house.store.blocked.add([Blocked("blocked@x.test", Source.MANUAL, NOW)], "ann")
    listed = [
        ["a@x.test", "", {"city": "Rome"}],
        ["blocked@x.test", "", {}, Hold.JUDGED],
        ["free@x.test", "", {}, Hold.JUDGED],
        ["none@x.test", "", {}, Hold.CHOICE],
    ]
    await house.store.broadcasts.add(run_id, [Chunk(0, len(listed), json.dumps(listed).encode())])
    assert await house.store.broadcasts.start(run_id, None, NOW)
    await house.runner().step()
    rows = {row.recipient: row for row in await house.reader.log(LogFilter(), limit=9)}
    assert {address: row.status for address, row in rows.items()} == {
        "a@x.test": Status.UNSENT,
        "blocked@x.test": Status.BLOCKED,
        "free@x.test": Status.BOUNCED,
        "none@x.test": Status.NO_EMAIL_SELECTED,
    }
    assert "not sent: " in rows["free@x.test"].diagnostic
    assert "'city' is undefined" in rows["free@x.test"].diagnostic
    assert rows["none@x.test"].diagnostic == "the contact takes no general mail at this address"
    assert [job.address for job in house.jobs] == ["a@x.test"]
    assert await house.store.content(house.jobs[0].message.id) is not None
    run = await house.run(run_id)
    assert (run.state, run.unsent, run.blocked, run.no_email_selected) == (RunState.DONE, 2, 1, 1)
    await house.started(["free@x.test", "a@x.test"])
    await house.runner().step()
    assert [job.address for job in house.jobs] == ["a@x.test", "free@x.test"]  # who was not sent it has not had it


@pytest.mark.parametrize("personal", [False, True])
async def test_large_content_goes_to_files_and_none_is_left_behind(house: House, personal: bool) -> None:
    text = "<p>{{ name|default('x') }}</p>" if personal else "<p></p>"
    template = of_html(text + "<!--" + "x" * LARGE_BYTES + "-->", "Hi", "news@sender.test")
    new = NewRun("Spring", "general", "news@sender.test", "Hi", template, personal)
    run_id = await house.store.broadcasts.create(new, NOW)
    for number in range(2):
        listed = [[f"p{number}{at}@x.test", "", {}] for at in range(2)]
        await house.store.broadcasts.add(run_id, [Chunk(number, 2, json.dumps(listed).encode())])
    await house.store.broadcasts.start(run_id, None, NOW)
    one, two = house.runner(), house.runner()
    await asyncio.gather(one.step(), two.step())
    await one.step()
    files = list((house.state_dir / "content").iterdir())
    assert len(files) == (4 if personal else 2)
    contents = [await house.store.content(job.message.id) for job in house.jobs]
    assert all(content == job.content for content, job in zip(contents, house.jobs, strict=True))
    for job in house.jobs:
        await house.store.settle(result(job, Event.DELIVER))
    assert list((house.state_dir / "content").iterdir()) == []


async def test_it_keeps_to_its_rate(house: House) -> None:
    await house.started(PEOPLE, size=1, per_hour=3600)
    runner = house.runner()
    for second in range(1, 5):
        while await runner.step() == 0:
            continue
        assert len(await house.sent()) == second
        house.now += 1


async def test_pause_resume_and_cancel(house: House) -> None:
    run_id = await house.started(PEOPLE, size=1)
    order, now = house.store.broadcasts.order, house.now_ms
    assert not await order(run_id, RunOrder.RESUME, now)
    assert await order(run_id, RunOrder.PAUSE, now)
    assert not await order(run_id, RunOrder.PAUSE, now)
    await house.runner().step()
    assert await house.sent() == []
    assert await order(run_id, RunOrder.RESUME, now)
    await house.runner().step()
    assert len(await house.sent()) == 8
    assert await order(run_id, RunOrder.CANCEL, now)
    await house.runner().step()
    run = await house.run(run_id)
    assert (run.state, run.done, run.ended_ms) == (RunState.CANCELLED, 8, now)
    assert len(await house.sent()) == 8
    assert not await order(run_id, RunOrder.RESUME, now)
    assert await house.reader.broadcasts.chunk(run_id, 9) is None


async def test_a_scheduled_run_begins_when_its_time_has_come(house: House) -> None:
    run_id = await house.draft(PEOPLE)
    assert await house.store.broadcasts.start(run_id, NOW + 1000, NOW)
    assert not await house.store.broadcasts.start(run_id, None, NOW)
    assert await house.store.broadcasts.order(run_id, RunOrder.PAUSE, NOW)
    assert await house.store.broadcasts.order(run_id, RunOrder.RESUME, NOW)
    runner = house.runner()
    await runner.step()
    assert (await house.run(run_id)).state is RunState.SCHEDULED
    house.now_ms = NOW + 1000
    await runner.step()
    await runner.step()
    run = await house.run(run_id)
    assert (run.state, run.started_ms, run.done) == (RunState.DONE, NOW + 1000, 10)


async def test_a_run_whose_copy_cannot_be_made_is_paused_with_the_reason(house: House) -> None:
    template = of_html("<p>{{ city }}</p>", "Hi", "news@sender.test")
    run_id = await house.started(PEOPLE, template=template)
    await house.runner().step()
    run = await house.run(run_id)
    assert run.state is RunState.PAUSED
    assert "'city' is undefined" in run.note
    assert await house.sent() == []


async def test_a_bug_in_one_run_holds_up_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is paused and says so, and does not come back each second."""
    first, second = await house.started(PEOPLE, template=PAGE, name="First"), await house.started(PEOPLE)

    def broken(*_: object) -> bytes:
        raise KeyError("a bug")

    monkeypatch.setattr(Letter, "personal_copy", broken)
    await house.runner().step()
    run = await house.run(first)
    assert (run.state, run.note) == (RunState.PAUSED, "our bug: KeyError; the log of the relay says more")
    assert (await house.run(second)).state is RunState.DONE


async def test_a_store_that_takes_nothing_pauses_no_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await house.started(PEOPLE)

    async def refuse(*_: object) -> None:
        raise StoreFullError("no room")

    with monkeypatch.context() as full:
        full.setattr(house.store.broadcasts, "send", refuse)
        with pytest.raises(StoreFullError):
            await house.runner().step()
    assert (await house.run(run_id)).state is RunState.SENDING


async def test_an_address_in_other_scripts_does_not_make_the_others_need_smtputf8(house: House) -> None:
    await house.started(["bob@there.test", "jörg@there.test"])
    await house.runner().step()
    assert [(job.address, job.message.smtputf8) for job in house.jobs] == [
        ("bob@there.test", False),
        ("jörg@there.test", True),
    ]


async def test_several_processes_share_a_run(house: House) -> None:
    await house.started(PEOPLE, size=1)
    runner = house.runner(processes=2)
    await runner.step()
    assert [job.address for job in house.jobs] == PEOPLE[:8:2]
    others = await house.store.claim(house.now_ms, 100)
    assert [job.address for job in others] == PEOPLE[1:8:2]


async def test_where_memory_is_full_the_queue_keeps_them(house: House) -> None:
    house.free = 0
    await house.started(PEOPLE)
    await house.runner().step()
    assert house.jobs == []
    assert len(await house.store.claim(house.now_ms, 100)) == 10


async def test_a_list_of_nobody_is_done_at_once(house: House) -> None:
    run_id = await house.started([])
    assert (await house.run(run_id)).state is RunState.DONE
    assert await house.reader.broadcasts.statuses(await house.run(run_id)) == {}


async def test_it_runs_by_itself_until_it_is_stopped_and_gives_its_turn_away(house: House) -> None:
    run_id = await house.started(PEOPLE)
    one, two = house.runner(), house.runner()
    one.start()
    await house.done(run_id)
    two.start()
    await one.stop()
    again = await house.started(["new@there.test"])
    await house.done(again)
    await two.stop()
    assert await house.sent() == [*PEOPLE, "new@there.test"]


async def test_each_run_of_a_broadcast_has_its_own_type(house: House) -> None:
    await house.started(["a@x.test"])
    new = NewRun("Spring", "emergency", "news@sender.test", "Hi", PLAIN, personal=False)
    run_id = await house.store.broadcasts.create(new, NOW)
    await house.store.broadcasts.add(run_id, [Chunk(0, 1, b'[["b@x.test", "", {}]]')])
    await house.store.broadcasts.start(run_id, None, NOW)
    await house.runner().step()
    assert [job.message.broadcast_type for job in house.jobs] == ["general", "emergency"]


async def test_what_is_made_here_belongs_to_no_broadcast_by_its_header(house: House) -> None:
    """A forwarded answer holds a stranger's header, which must not make the next one a Duplicate."""
    acceptor = Acceptor(house.store, InjectOptions(), "relay.test", house, lifetime_ms=DAY)
    content = b"Subject: Re\r\nX-Broadcast: Spring\r\nX-Broadcast-Type: general\r\n\r\nText\r\n"
    ready = await preparing(acceptor)("", ["ann@sender.test"], content, NOW)
    assert not isinstance(ready, Reply)
    assert (ready.message.broadcast, ready.message.broadcast_type) == (None, None)


def test_whose_turn_it_is(tmp_path: Path) -> None:
    one, two = Turn(tmp_path / "turn"), Turn(tmp_path / "turn")
    assert one.take()
    assert one.take()
    assert not two.take()
    one.give()
    one.give()
    assert two.take()
    two.give()


def test_a_pace_is_even_and_a_pause_is_not_made_up_for() -> None:
    pace = Pace(3600)
    assert pace.wait(5.0) == 0
    pace.sent(2, 5.0)
    assert pace.wait(5.0) == 2
    assert pace.wait(100.0) == 0
    pace.sent(1, 100.0)
    assert pace.wait(100.0) == 1
    free = Pace(None)
    free.sent(1000, 1.0)
    assert free.wait(1.0) == 0


def test_how_many_processes_share_the_work() -> None:
    assert processes(3) == 3
    assert processes(0) >= 1

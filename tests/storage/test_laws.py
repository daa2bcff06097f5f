"""Laws of the store under workers that come, go, stall and lose their leases.

Several stores on one directory, as several processes have them, run random verbs, some of them at once; a
clock of the test's own lets leases expire. A model knows who may hold what.
"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage.model import HitKind, Job, LogFilter
from storage.reader import Reader
from storage.recipient import NEVER
from storage.status import PENDING, Event, Status, reachable
from storage.store import LEASE_MS, Store
from tests.storage import makers
from tests.storage.makers import BUSY, DAY, MINUTE, NOW, OK, UNKNOWN

_STORES = 3
_RESULTS = st.sampled_from([Event.DEFER, Event.HAND_OVER, Event.DELIVER, Event.BOUNCE, Event.FAIL])
_WHICH = st.integers(0, _STORES - 1)
_SOME = st.integers(0, 10_000)


def may_become(status: Status) -> set[Status]:
    """All that a status may be after any number of events."""
    met, waiting = {status}, [status]
    while waiting:
        for after in reachable(waiting.pop()) - met:
            met.add(after)
            waiting.append(after)
    return met


class Workers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.state_dir = Path(tempfile.mkdtemp())
        self.now_ms = NOW
        self.jobs: list[Job] = []
        self.holders: dict[int, int] = {}  # recipient: the lease that is good, where one is
        self.seen: dict[int, Status] = {}
        self.accepted = Counter[int]()
        self.content: dict[int, int] = {}  # recipient: message

    def run(self, *verbs: Any) -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*verbs)

        return self.runner.run(together())

    @initialize()
    def open(self) -> None:
        self.stores = self.run(*(Store.open(self.state_dir, makers.policy(failed=False)) for _ in range(_STORES)))
        (self.reader,) = self.run(Reader.open(self.state_dir))

    def teardown(self) -> None:
        self.run(*(store.close() for store in self.stores), self.reader.close())
        self.runner.close()
        shutil.rmtree(self.state_dir)

    def any_job(self, some: int) -> Job | None:
        return self.jobs[some % len(self.jobs)] if self.jobs else None

    @rule(which=_WHICH, recipients=st.integers(1, 4), leased=st.booleans())
    def accept(self, which: int, recipients: int, leased: bool) -> None:
        store = self.stores[which]
        new = [makers.new_recipient(store, f"{number}@x{number % 2}.example") for number in range(recipients)]
        made = makers.message(store, received_ms=self.now_ms)
        (jobs,) = self.run(store.accept(made, b"hello", new, lifetime_ms=DAY, leased=leased))
        self.jobs += jobs
        self.holders |= {job.recipient_id: job.lease for job in jobs}
        self.content |= {recipient.id: made.id for recipient in new}
        assert len(jobs) == (recipients if leased else 0)

    @rule(limit=st.integers(1, 6))
    def claim_at_once(self, limit: int) -> None:
        """No recipient is leased to two."""
        claims = self.run(*(store.claim(self.now_ms, limit) for store in self.stores))
        claimed = [job for jobs in claims for job in jobs]
        assert max(Counter(job.recipient_id for job in claimed).values(), default=1) == 1
        for job in claimed:
            lost = self.holders.get(job.recipient_id)
            assert lost is None or lost < job.lease
            assert job.attempts == self.accepted[job.recipient_id]
        self.jobs += claimed
        self.holders |= {job.recipient_id: job.lease for job in claimed}

    @rule(which=_WHICH, some=_SOME, event=_RESULTS, in_doubt=st.booleans(), minutes=st.integers(0, 30))
    def settle(self, which: int, some: int, event: Event, in_doubt: bool, minutes: int) -> None:
        """An answer is taken exactly with the present lease, expired or not, and only once."""
        job = self.any_job(some)
        if job is None:
            return
        self.now_ms += minutes * MINUTE
        reply = OK if event in {Event.DELIVER, Event.HAND_OVER} else BUSY
        doubt = in_doubt and event is Event.DEFER
        answer = makers.result(job, event, reply, at_ms=self.now_ms, in_doubt=doubt)
        settled = self.run(*(store.settle(answer) for store in (self.stores[which], self.stores[0])))
        good = self.holders.get(job.recipient_id) == job.lease
        assert sorted(one.accepted for one in settled) == [False, good]
        if good:
            del self.holders[job.recipient_id]
            self.accepted[job.recipient_id] += 1

    @rule(some=_SOME, minutes=st.integers(0, 3))
    def postpone(self, some: int, minutes: int) -> None:
        job = self.any_job(some)
        if job is None:
            return
        self.run(self.stores[1].postpone([job], self.now_ms + minutes * MINUTE))
        if self.holders.get(job.recipient_id) == job.lease:
            del self.holders[job.recipient_id]

    @rule(some=_SOME)
    def renew(self, some: int) -> None:
        if (job := self.any_job(some)) is not None:
            self.run(self.stores[2].renew([job], self.now_ms))

    @rule(some=_SOME, kind=st.sampled_from(HitKind))
    def fetch(self, some: int, kind: HitKind) -> None:
        if (job := self.any_job(some)) is not None:
            self.run(*(store.record_hits([makers.hit(job.recipient_id, kind)]) for store in self.stores))
            self.forget_ended()

    @rule(some=_SOME, event=_RESULTS)
    def bounce(self, some: int, event: Event) -> None:
        if (job := self.any_job(some)) is None:
            return
        store = self.stores[some % _STORES]
        (dsn_id,) = self.run(store.accept_dsn(b"raw", job.recipient_id, "", self.now_ms))
        told = [makers.report(job.recipient_id, event, UNKNOWN)]
        first, again = self.run(store.settle_dsn(dsn_id, told, "dsn"), store.settle_dsn(dsn_id, told, "dsn"))
        assert sorted([len(first), len(again)]) == [0, 1]
        self.forget_ended()

    @rule(some=_SOME, verb=st.sampled_from(["hold", "release", "flush", "remove"]))
    def operate(self, some: int, verb: str) -> None:
        if not self.content:
            return
        recipient_id = list(self.content)[some % len(self.content)]
        self.run(*(getattr(store, verb)([recipient_id], self.now_ms) for store in self.stores))
        self.forget_ended()

    @rule()
    def flush_all(self) -> None:
        self.run(self.stores[0].flush(None, self.now_ms))

    @rule(which=_WHICH)
    def restart(self, which: int) -> None:
        """A worker gives back what it holds when it ends; nobody else's."""
        old = self.stores[which]
        slot = old.next_id() & 1023
        self.run(old.close())
        self.holders = {id_: lease for id_, lease in self.holders.items() if lease & 1023 != slot}
        (self.stores[which],) = self.run(Store.open(self.state_dir, makers.policy(failed=False)))

    @rule()
    def recover(self) -> None:
        """The living lose nothing."""
        assert self.run(*(store.recover(self.now_ms) for store in self.stores)) == [0] * _STORES

    @rule(minutes=st.integers(1, 20))
    def wait(self, minutes: int) -> None:
        self.now_ms += minutes * MINUTE

    def forget_ended(self) -> None:
        """A hit, a report or an operator may have ended a recipient that somebody was trying."""
        ended = {id_ for id_, (status, _, lease) in self.rows().items() if lease is None}
        self.holders = {id_: lease for id_, lease in self.holders.items() if id_ not in ended}

    def rows(self) -> dict[int, tuple[Status, int | None, int | None]]:
        found = self.ask("SELECT id, status, due_ms, lease FROM recipient")
        return {id_: (Status(status), due_ms, lease) for id_, status, due_ms, lease in found}

    def ask(self, sql: str) -> list[tuple]:
        connection = sqlite3.connect(self.state_dir / "telltale.db")
        found = connection.execute(sql).fetchall()
        connection.close()
        return found

    @invariant()
    def statuses_move_forward(self) -> None:
        rows = self.rows()
        for id_, (status, _, _) in rows.items():
            assert status in may_become(self.seen.get(id_, Status.UNSENT))
        self.seen = {id_: status for id_, (status, _, _) in rows.items()}

    @invariant()
    def pending_is_what_is_due_and_nobody_is_forgotten(self) -> None:
        for status, due_ms, lease in self.rows().values():
            assert (due_ms is not None) == (status in PENDING)
            assert due_ms is not None or lease is None
            assert due_ms in {None, NEVER} or due_ms <= self.now_ms + max(LEASE_MS, MINUTE)

    @invariant()
    def leases_are_those_of_their_holders(self) -> None:
        leases = {id_: lease for id_, (_, _, lease) in self.rows().items() if lease is not None}
        assert leases == self.holders

    @invariant()
    def attempts_are_the_accepted_answers(self) -> None:
        attempts = dict(self.ask("SELECT id, attempts FROM recipient"))
        assert attempts == {id_: self.accepted[id_] for id_ in attempts}

    @invariant()
    def content_is_kept_exactly_while_somebody_waits_or_is_owed_an_answer(self) -> None:
        kept = {message_id for (message_id,) in self.ask("SELECT message_id FROM content")}
        rows = self.rows()
        owed = {message_id for (message_id,) in self.ask("SELECT message_id FROM duty")}
        assert kept - owed == {self.content[id_] for id_, (status, _, _) in rows.items() if status in PENDING} - owed

    @invariant()
    def the_sender_is_owed_a_word_on_each_failure_once(self) -> None:
        """Whatever it came by: an attempt, a report, an operator, a lease that another lost."""
        owed = [id_ for (id_,) in self.ask("SELECT recipient_id FROM duty WHERE kind = 'failed' ORDER BY 1")]
        sql = "SELECT id FROM recipient WHERE status IN ('Bounced', 'Failed') OR late <> '' ORDER BY 1"
        assert owed == [id_ for (id_,) in self.ask(sql)]

    @invariant()
    def counts_and_finders_agree_with_the_rows(self) -> None:
        counts, found = self.run(
            self.reader.status_counts(), self.reader.log(LogFilter(recipient="@x1.example"), limit=999)
        )
        rows = self.rows()
        assert counts == dict.fromkeys(Status, 0) | Counter(status for status, _, _ in rows.values())
        assert len(found) == self.ask("SELECT count(*) FROM recipient WHERE domain = 'x1.example'")[0][0]


Workers.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestWorkers = Workers.TestCase

"""Counts of TLS sessions: bounded, never lost to a store that is full, and none for who did not ask."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.deliver.failure import FailureType, Mishap
from relay.deliver.sts_policies import InForce
from relay.deliver.tally import Tally
from storage.model import BodyType, Job, Message
from storage.people import POLICY
from storage.status import Status
from storage.store import Store, StoreFullError

DAY_MS = 86_400_000
MESSAGE = Message(1, 0, "ann@relay.test", BodyType.SEVEN_BIT, smtputf8=False, size=1, plan=b"")
JOB = Job(MESSAGE, 2, "bob@example.test", "example.test", Status.UNSENT, 0, 0, 1)
BROKEN = Mishap(FailureType.VALIDATION, "mx.test", "192.0.2.1")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path, POLICY)
    yield store
    await store.close()


async def sessions(store: Store, day: int = 1) -> dict[tuple[str, str], int]:
    counts = await store.tls.counts(day, "example.test")
    return {(each.key.failure, each.key.mx): each.sessions for each in counts}


async def test_who_asks_for_no_report_is_not_counted(store: Store) -> None:
    tally = Tally(store, lambda: DAY_MS)
    tally.failed([BROKEN], [JOB])
    tally.want("other.test", InForce())
    tally.failed([BROKEN], [JOB])
    tally.want("example.test", InForce())
    tally.keep_only({"other.test"})
    tally.failed([BROKEN], [JOB])
    await tally.flush()
    assert await store.tls.reportable(9) == []


async def test_a_connection_that_was_not_made_counts_once_for_a_domain(store: Store) -> None:
    tally = Tally(store, lambda: DAY_MS)
    tally.want("example.test", InForce(None, "sts-policy-fetch-error", "timed out"))
    tally.failed([BROKEN, BROKEN], [JOB, JOB])
    await tally.flush()
    assert await sessions(store) == {("sts-policy-fetch-error", ""): 1, ("validation-failure", "mx.test"): 2}


async def test_what_the_store_does_not_take_is_offered_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally(store, lambda: DAY_MS)
    tally.want("example.test", InForce())
    tally.failed([BROKEN], [JOB])

    async def full(_: object) -> None:
        raise StoreFullError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(store.tls, "count", full)
        await tally.flush()
    tally.failed([BROKEN], [JOB])
    await tally.flush()
    assert await sessions(store) == {("validation-failure", "mx.test"): 2}


async def test_servers_of_many_names_fill_no_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.deliver.tally._MOST_KINDS", 3)
    tally = Tally(store, lambda: DAY_MS)
    tally.want("example.test", InForce())
    tally.failed([Mishap(FailureType.VALIDATION, f"mx{n}.test") for n in range(50)], [JOB])
    await tally.flush()
    found = await sessions(store)
    assert len(found) == 4
    assert found["validation-failure", ""] == 47

"""storage/blocked_verbs.py and blocked_reader.py: the Blocked Email list, and what was done to it."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.blocked_query import BlockedFilter
from storage.people import AUTOMATIC, POLICY, Blocked, Source
from storage.reader import Reader
from storage.status import Event
from storage.store import Store
from tests.storage.makers import DAY, NOW, UNKNOWN, accept, block, result


async def listed(reader: Reader, **wanted: object) -> list[str]:
    return [entry.address async for entry in reader.blocked.stream(BlockedFilter(**wanted))]  # type: ignore[arg-type]


async def told(reader: Reader, address: str) -> list[tuple[str, str, str]]:
    return [(one.change, one.source, one.actor) for one in await reader.blocked.history(address)]


async def test_an_entry_gives_way_to_one_that_lasts_longer(store: Store, reader: Reader) -> None:
    for expires_ms, added in ((NOW + DAY, 1), (NOW + 2 * DAY, 0), (NOW + DAY, 0), (None, 0), (NOW + 3 * DAY, 0)):
        assert await block(store, "a@x.example", reason=str(expires_ms), expires_ms=expires_ms) == added
    (entry,) = await reader.blocked.find("A@x.example", NOW)
    assert (entry.expires_ms, entry.reason) == (None, "None")
    assert [change for change, _, _ in await told(reader, "a@x.example")] == ["changed", "changed", "added"]
    assert await block(store, "b@x.example", expires_ms=NOW + 1) == 1
    assert await block(store, "b@x.example", created_ms=NOW + 1, expires_ms=NOW + 2) == 1
    assert await block(store, "c@x.example", expires_ms=NOW) == 0


async def test_each_source_has_an_entry_of_its_own(store: Store, reader: Reader) -> None:
    """What a complaint blocks stays blocked when an incident is undone."""
    await block(store, "a@x.example", source=Source.COMPLAINT)
    await block(store, "A@x.example", source=Source.FAILED, category="user unknown")
    assert await store.blocked.undo(BlockedFilter(sources=(Source.FAILED,)), "root", NOW) == 1
    assert [entry.source for entry in await reader.blocked.find("a@x.example", NOW)] == [Source.COMPLAINT]
    assert await told(reader, "a@x.example") == [
        ("undone", "failed", "root"),
        ("added", "failed", "root"),
        ("added", "complaint", "root"),
    ]


async def test_removed_is_removed_for_every_source(store: Store, reader: Reader) -> None:
    await block(store, "a@x.example", "@y.example", source=Source.FAILED)
    await block(store, "a@x.example", "b@x.example")
    assert await store.blocked.remove(["A@x.example", "@y.example", "none@x.example"], "ann", NOW + 1) == 2
    assert await listed(reader) == ["b@x.example"]
    assert (await reader.blocked.history("a@x.example"))[0].at_ms == NOW + 1
    assert (await told(reader, "@y.example"))[0] == ("removed", "failed", "ann")
    assert await accept(store, "a@x.example", "c@y.example") != []


async def test_an_incident_is_undone_by_time_category_domain_and_source(store: Store, reader: Reader) -> None:
    for hour, domain, category, source in (
        (9, "outlook.example", "reputation", Source.FAILED),
        (10, "outlook.example", "reputation", Source.FAILED),
        (11, "outlook.example", "reputation", Source.MANUAL),
        (12, "gmail.example", "reputation", Source.BOUNCES),
        (13, "outlook.example", "user unknown", Source.FAILED),
        (14, "outlook.example", "reputation", Source.FAILED),
    ):
        at_ms = NOW + hour * 3_600_000
        await block(store, f"h{hour}@{domain}", created_ms=at_ms, source=source, category=category)
    hours = {"since_ms": NOW + 10 * 3_600_000, "until_ms": NOW + 14 * 3_600_000}
    assert await listed(reader, **hours) == [f"h{hour}@{where}.example" for hour, where in (
        (13, "outlook"), (12, "gmail"), (11, "outlook"), (10, "outlook"))]  # fmt: skip
    incident = BlockedFilter("@outlook.example", AUTOMATIC, "reputation", **hours)
    assert await reader.blocked.count(incident) == 1
    assert await store.blocked.undo(incident, "root", NOW) == 1
    assert await store.blocked.undo(incident, "root", NOW) == 0
    assert "h10@outlook.example" not in await listed(reader)
    assert len(await listed(reader)) == 5


async def test_what_is_judged_anew_is_undone_by_its_new_category(store: Store, reader: Reader) -> None:
    (job,) = await accept(store, "a@x.example")
    await store.settle(result(job, Event.FAIL, UNKNOWN, category="user unknown", rules=1))
    incident = BlockedFilter(category="reputation")
    assert await listed(reader, category="reputation") == []
    (fact,) = [fact async for some in reader.judged(0) for fact in some]
    await store.recategorise([(fact, "reputation", 2)])
    assert await store.blocked.undo(incident, "root", NOW) == 1
    assert await listed(reader) == []


async def test_an_undo_goes_step_by_step(store: Store) -> None:
    await block(store, *(f"{number}@x.example" for number in range(25)))
    steps = [await store.blocked.undo(BlockedFilter(), "root", NOW, limit=10) for _ in range(4)]
    assert steps == [10, 10, 5, 0]


async def test_what_has_expired_is_purged_and_what_is_past_its_keep_forgotten(store: Store, reader: Reader) -> None:
    await block(store, "a@x.example", "b@x.example", expires_ms=NOW + 10)
    await block(store, "c@x.example")
    while await store.blocked.purge(NOW + 9, NOW, limit=1):
        continue
    assert sorted(await listed(reader)) == ["a@x.example", "b@x.example", "c@x.example"]
    assert await reader.blocked.find("a@x.example", NOW + 10) == []
    steps = [await store.blocked.purge(NOW + 10, NOW, limit=1) for _ in range(3)]
    assert steps == [1, 1, 0]
    assert (await told(reader, "a@x.example"))[0] == ("expired", "manual", "telltale")
    assert await listed(reader) == ["c@x.example"]
    while await store.blocked.purge(NOW + 10, NOW + DAY):
        continue
    assert await told(reader, "c@x.example") == []
    assert await listed(reader) == ["c@x.example"]


@pytest.mark.parametrize("most_sorted", [10_000, 1])
async def test_entries_are_found_by_what_they_begin_with_or_by_domain(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch, most_sorted: int
) -> None:
    monkeypatch.setattr("storage.blocked_query.MOST_SORTED", most_sorted)
    await block(store, "ann@x.example", "ANNA@y.example", "bob@x.example", "@x.example")
    for text, found in (
        ("ann", ["ANNA@y.example", "ann@x.example"]),
        ("ann@x", ["ann@x.example"]),
        ("@X.example", ["@x.example", "bob@x.example", "ann@x.example"]),
        ("%", []),
        ("nn", []),
    ):
        assert await listed(reader, text=text) == found


_ADDRESS = st.sampled_from(["a@x.example", "A@x.example", "b@x.example", "@x.example", "@y.example"])
_ENTRY = st.tuples(_ADDRESS, st.sampled_from([Source.MANUAL, Source.FAILED]), st.integers(1, 4) | st.none())
_STEP = st.tuples(st.just("add"), _ENTRY) | st.tuples(st.sampled_from(["remove", "undo"]), _ADDRESS)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_STEP, max_size=12))
def test_the_list_is_what_its_history_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    """Played again, the changes give the entries; an address is blocked as long as one of its own or domain's holds."""

    async def run() -> None:
        state_dir: Path = tmp_path_factory.mktemp("store")
        store = await Store.open(state_dir, POLICY)
        reader = await Reader.open(state_dir)
        for now_ms, (what, which) in enumerate(steps, NOW):
            if what == "add":
                address, source, days = which  # type: ignore[misc]
                expires_ms = None if days is None else NOW + days * DAY
                await store.blocked.add([Blocked(address, source, now_ms, expires_ms=expires_ms)], "root")
            elif what == "remove":
                await store.blocked.remove([str(which)], "root", now_ms)
            else:
                await store.blocked.undo(BlockedFilter(str(which), AUTOMATIC), "root", now_ms)
        played: set[tuple[str, str]] = set()
        for address in ("a@x.example", "b@x.example", "@x.example", "@y.example"):
            for one in reversed(await reader.blocked.history(address)):
                entry = (one.address.lower(), one.source)
                (played.add if one.change in {"added", "changed"} else played.discard)(entry)
        entries = [entry async for entry in reader.blocked.stream(BlockedFilter())]
        assert sorted((entry.address.lower(), entry.source) for entry in entries) == sorted(played)
        for address in ("a@x.example", "b@x.example", "c@y.example"):
            blocked = bool(await reader.blocked.find(address, NOW))
            assert (await accept(store, address) == []) is blocked
        await reader.close()
        await store.close()

    asyncio.run(run())

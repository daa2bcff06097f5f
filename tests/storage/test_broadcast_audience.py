"""The pre-flight: what it counts is what admission decides; nothing is written; nobody is left out."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.broadcast_audience import Audience, Entry, NoSuchListError
from storage.broadcast_model import Chunk, Hold
from storage.people import Blocked, Source, Unsubscription
from storage.status import Status
from storage.store import Store
from tests.storage.makers import DAY, NOW, message, new_recipient

PEOPLE = [
    "a@x.test",
    "b@x.test",
    "blocked@x.test",
    "c@domain.test",
    "left@x.test",
    "had@x.test",
    "a@x.test",
    "A@x.test",
]


@pytest.fixture
async def peopled(store: Store, tmp_path: Path) -> Path:
    """A store in which somebody is blocked, has left, or has had it."""
    entries = [Blocked("blocked@x.test", Source.MANUAL, NOW), Blocked("@domain.test", Source.MANUAL, NOW)]
    expired = Blocked("b@x.test", Source.MANUAL, NOW - DAY, expires_ms=NOW - 1)
    await store.blocked.add([*entries, expired], "ann")
    await store.contacts.unsubscribe([Unsubscription("left@x.test", "general", NOW, "operator")])
    await store.contacts.unsubscribe([Unsubscription("b@x.test", "weekly", NOW, "operator")])
    await sent(store, "had@x.test")
    return tmp_path


async def sent(store: Store, *addresses: str) -> list[str]:
    made = message(store, broadcast="Spring", broadcast_type="general")
    people = [new_recipient(store, address) for address in addresses]
    jobs = await store.accept(made, b"hello", people, lifetime_ms=DAY, leased=True, once=True)
    return [job.address for job in jobs]


@pytest.fixture
def audience(peopled: Path) -> Iterator[Audience]:
    opened = Audience.open(peopled, "General", fold=False)
    yield opened
    opened.close()


async def test_it_counts_what_admission_decides(store: Store, audience: Audience) -> None:
    audience.add([Entry(address, "", {}) for address in PEOPLE], personal=False)
    counts = audience.judge("Spring", NOW)
    assert counts == {
        Status.UNSENT: 3,
        Status.BLOCKED: 2,
        Status.DUPLICATE: 2,
        Status.NO_EMAIL_SELECTED: 1,
    }
    assert len(await sent(store, *PEOPLE)) == counts[Status.UNSENT]


def test_an_empty_store_holds_nobody_back(tmp_path: Path, audience: Audience) -> None:
    audience.add([Entry("z@x.test", "", {})], personal=False)
    assert audience.judge("Other", NOW)[Status.UNSENT] == 1


def test_letter_case_may_be_told_not_to_count(peopled: Path) -> None:
    audience = Audience.open(peopled, "general", fold=True)
    audience.add([Entry("N@x.test", "", {}), Entry("n@x.test", "", {})], personal=False)
    assert audience.judge("Other", NOW)[Status.DUPLICATE] == 1
    audience.close()


def test_which_fields_are_missing(audience: Audience) -> None:
    people = [
        Entry(f"p{number}@x.test", "Ann" if number else "", {"city": "Rome"} if number % 2 else {})
        for number in range(20)
    ]
    audience.add([*people, Entry("q@x.test", "", {"name": "Q", "city": "Bonn", "a b": "c"})], personal=True)
    audience.judge("Spring", NOW)
    city, name = audience.missing({"city", "name", "address"})
    assert (city.field, city.count, city.first) == (
        "city",
        10,
        tuple(f"p{number}@x.test" for number in (0, 2, 4, 6, 8)),
    )
    assert (name.field, name.count, name.first) == ("name", 1, ("p0@x.test",))
    assert [one.count for one in audience.missing({"a b"})] == [20]
    assert audience.missing({"address"}) == []


def test_who_is_not_to_be_sent_it_needs_no_fields_and_the_run_knows(audience: Audience) -> None:
    rome = {"city": "Rome"}
    entries = [
        Entry("a@x.test", "", rome),
        Entry("A@X.test".lower(), "", {}),
        Entry("blocked@x.test", "", {}),
        Entry("had@x.test", "", {}),
        Entry("none@x.test", "", {}, declines=True),
        Entry("blocked@x.test", "", {}, declines=True),
    ]
    audience.add(entries, personal=True)
    counts = audience.judge("Spring", NOW)
    assert list(counts.values()) == [1, 1, 2, 2]
    assert audience.missing({"city"}) == []
    (chunk,) = audience.chunks(10)
    holds = [each[3:] for each in json.loads(chunk.recipients)]
    assert holds == [[], [Hold.JUDGED], [Hold.JUDGED], [Hold.JUDGED], [Hold.CHOICE], [Hold.CHOICE]]
    assert json.loads(chunk.recipients)[0] == ["a@x.test", "", rome]


def test_chunks_hold_everybody_once_and_in_order(audience: Audience) -> None:
    people = [Entry(f"p{number}@x.test", f"N{number}", {"f": str(number)}) for number in range(7)]
    audience.add(people, personal=True)
    chunks = list(audience.chunks(3))
    assert [(chunk.number, chunk.count) for chunk in chunks] == [(0, 3), (1, 3), (2, 1)]
    found = [each for chunk in chunks for each in json.loads(chunk.recipients)]
    assert found == [[one.address, one.name, one.fields] for one in people]
    assert isinstance(chunks[0], Chunk)


def test_a_list_of_contacts_goes_to_the_address_that_takes_the_type(peopled: Path) -> None:
    with sqlite3.connect(peopled / "telltale.db") as connection:
        connection.execute("INSERT INTO list VALUES (1, 'Readers', 0)")
        for id_, name, addresses in (
            (1, "Ann", [("ann@x.test", None)]),
            (2, "Bob", [("bob@work.test", '["weekly"]'), ("bob@home.test", '["general"]')]),
            (3, "Cid", [("cid@work.test", '["weekly"]'), ("cid@home.test", "[]")]),
            (4, "Dan", [("left@x.test", None), ("dan@x.test", None)]),
            (5, "Eve", [("left@x.test", None)]),
            (6, "Fay", []),
        ):
            connection.execute("INSERT INTO contact VALUES (?, NULL, ?, ?, 0, 0)", (id_, name, '{"city": "Rome"}'))
            connection.execute("INSERT INTO list_member VALUES (1, ?)", (id_,))
            for position, (address, types) in enumerate(addresses):
                values = (id_, position, address, address.partition("@")[2], types)
                connection.execute("INSERT INTO contact_address VALUES (?, ?, ?, ?, ?)", values)
    connection.close()
    audience = Audience.open(peopled, "general", fold=False)
    assert audience.add_list("readers", personal=True) == 1
    found = [each for chunk in audience.chunks(100) for each in json.loads(chunk.recipients)]
    assert [(address, name) for address, name, _ in found] == [
        ("ann@x.test", "Ann"),
        ("bob@home.test", "Bob"),
        ("cid@work.test", "Cid"),
        ("dan@x.test", "Dan"),
        ("left@x.test", "Eve"),
    ]
    assert found[0][2] == {"city": "Rome"}
    counts = audience.judge("Other", NOW)
    assert (counts[Status.UNSENT], counts[Status.NO_EMAIL_SELECTED], counts[Status.DUPLICATE]) == (3, 2, 0)
    with pytest.raises(NoSuchListError, match='there is no list "Nobody"'):
        audience.add_list("Nobody", personal=False)
    audience.close()

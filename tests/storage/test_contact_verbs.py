"""storage/contact_verbs.py and contact_reader.py: contacts are stored once, however often they come."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.contact_reader import ContactFilter
from storage.people import ALL_TYPES, Contact, ContactAddress, NewAddress, NewContact, Stored
from storage.reader import Reader
from storage.status import Status
from storage.store import Store
from tests.storage import makers
from tests.storage.makers import DAY, NOW, accept

A, U, S = Stored.ADDED, Stored.UPDATED, Stored.UNCHANGED


def new(*addresses: str | NewAddress, **values: object) -> NewContact:
    return NewContact(tuple([NewAddress(one) if isinstance(one, str) else one for one in addresses]), **values)  # type: ignore[arg-type]


async def all_of(reader: Reader, **wanted: str) -> list[Contact]:
    return [contact async for contact in reader.contacts.stream(ContactFilter(**wanted))]


def seen(contact: Contact) -> tuple[object, ...]:
    """All but ids and times."""
    return contact.key, contact.name, dict(contact.fields), contact.addresses, contact.lists


async def test_a_contact_is_stored_and_read_back(store: Store, reader: Reader) -> None:
    wanted = new("ann@a.example", NewAddress('"ann"@b.example', ("News", "general")), key="7", name="Ann",
                 fields={"City": "Köln"}, lists=("Friends", "all"))  # fmt: skip
    assert await store.contacts.put([wanted], NOW) == [A]
    (contact,) = await all_of(reader)
    assert (contact.created_ms, contact.updated_ms) == (NOW, NOW)
    assert seen(contact) == (
        "7",
        "Ann",
        {"City": "Köln"},
        (ContactAddress("ann@a.example"), ContactAddress("ann@b.example", ("general", "news"))),
        ("all", "Friends"),
    )
    assert [(row.name, row.contacts) for row in await reader.contacts.lists()] == [("all", 1), ("Friends", 1)]


async def test_what_is_not_given_stays(store: Store, reader: Reader) -> None:
    await store.contacts.put([new(NewAddress("a@x.example", ("general",)), key="1", name="A", fields={"a": "1"})], NOW)
    again = [
        (new("a@x.example"), S),
        (new("a@x.example", key="1", fields={"a": "1"}), S),
        (new("a@x.example", fields={"b": "2"}), U),
        (new("a@x.example", fields={"a": "", "none": ""}), U),
        (new("b@x.example", key="1"), U),
        (new("b@x.example", "c@x.example", key="1"), U),
        (new("c@x.example", "b@x.example", "d@x.example"), U),
        (new("a@x.example"), A),
    ]
    for one, answer in again:
        assert await store.contacts.put([one], NOW + DAY) == [answer], one
    first, second = await all_of(reader)
    addresses = [ContactAddress(f"{local}@x.example") for local in "bcd"]
    assert seen(first) == ("1", "A", {"b": "2"}, tuple(addresses), ())
    assert (first.created_ms, first.updated_ms) == (NOW, NOW + DAY)
    assert seen(second) == (None, "", {}, (ContactAddress("a@x.example"),), ())


async def test_an_address_keeps_its_types_until_others_are_given(store: Store, reader: Reader) -> None:
    for types, kept in ((("general",), ("general",)), (None, ("general",)), ((), ()), ((ALL_TYPES, "x"), None)):
        await store.contacts.put([new(NewAddress("a@x.example", types))], NOW)
        assert (await all_of(reader))[0].addresses == (ContactAddress("a@x.example", kept),)


async def test_an_address_belongs_to_one_contact(store: Store, reader: Reader) -> None:
    await store.contacts.put([new("a@x.example", key="1"), new("b@x.example")], NOW)
    before = [seen(one) for one in await all_of(reader)]
    assert await store.contacts.put(
        [
            new("a@x.example", key="2"),
            new("b@x.example", key="1"),
            new("c@x.example", "b@x.example"),
            new("b@x.example", "a@x.example"),
            NewContact(()),
        ],
        NOW,
    ) == [
        'a@x.example is an address of the contact with the key "1"',
        "b@x.example is an address of another contact (b@x.example)",
        "b@x.example is an address of another contact (b@x.example)",
        'a@x.example is an address of the contact with the key "1"',
        "there is no address",
    ]
    assert [seen(one) for one in await all_of(reader)] == before
    assert await store.contacts.put([new("b@x.example", key="2")], NOW) == [U]


@pytest.mark.parametrize("fold", [False, True])
async def test_letter_case_tells_contacts_apart_unless_it_is_folded(store: Store, reader: Reader, fold: bool) -> None:
    store.set_policy(makers.policy(fold_local_part=fold))
    wanted = [new("Ann@x.example"), new("ann@x.example")]
    assert await store.contacts.put(wanted, NOW) == [A, S if fold else A]
    assert await store.contacts.put(wanted, NOW) == [S, S]
    assert len(await reader.contacts.find("ANN@x.example")) == (1 if fold else 2)


async def test_types_hold_back_broadcasts_at_that_address(store: Store, reader: Reader) -> None:
    await store.contacts.put([new(NewAddress("a@x.example", ("news",)), NewAddress("b@x.example", ()))], NOW)
    addresses = ("a@x.example", "b@x.example", "c@x.example")
    for type_, sent in ((None, "abc"), ("NEWS", "ac"), ("general", "c")):
        jobs = await accept(store, *addresses, broadcast_type=type_)
        assert [job.address[0] for job in jobs] == list(sent)
    assert (await reader.status_counts())[Status.NO_EMAIL_SELECTED] == 3
    await store.contacts.put([new(NewAddress("a@x.example", (ALL_TYPES,)))], NOW)
    assert len(await accept(store, "a@x.example", broadcast_type="general")) == 1


@pytest.mark.parametrize("most_sorted", [10_000, 1])
async def test_contacts_are_found_by_key_name_address_domain_and_list(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch, most_sorted: int
) -> None:
    monkeypatch.setattr("storage.contact_reader._MOST_SORTED", most_sorted)
    await store.contacts.put(
        [
            new("ann@a.example", "ann@b.example", key="k1", name="Ann Lee", lists=("L",)),
            new("bob@b.example", name="annabel"),
            new("cyd@xn--bcher-kva.example", key="ann", lists=("l", "M")),
        ],
        NOW,
    )
    ids = {contact.addresses[0].address[0]: contact.id for contact in await all_of(reader)}
    for text, found in (
        ("ann", "abc"),
        ("ANN L", "a"),
        ("k1", "a"),
        ("k", ""),
        ("bob@b.", "b"),
        ("@b.example", "ab"),
        ("@bücher.example", "c"),
        ("@nobody", ""),
        ("%", ""),
    ):
        assert [contact.id for contact in await all_of(reader, text=text)] == [ids[one] for one in found], text
        assert await reader.contacts.count(ContactFilter(text)) == len(found)
    assert [contact.id for contact in await all_of(reader, list="l")] == [ids["a"], ids["c"]]
    assert [contact.id for contact in await all_of(reader, text="@b.example", list="L")] == [ids["a"]]
    assert [contact.id for contact in await all_of(reader, text="ann", list="l")] == [ids["a"], ids["c"]]
    assert await all_of(reader, list="none") == []
    assert [await reader.contacts.list_known(name) for name in ("m", "none")] == [True, False]


async def test_a_list_is_left_and_removed_without_its_contacts(store: Store, reader: Reader) -> None:
    await store.contacts.put([new("a@x.example", lists=("L", "M")), new("b@x.example", lists=("L",))], NOW)
    ids = [contact.id for contact in await all_of(reader)]
    assert await store.contacts.leave_list("L", [ids[0], 999]) == 1
    assert [contact.id for contact in await all_of(reader, list="L")] == [ids[1]]
    assert await store.contacts.put([new("a@x.example", lists=("L",))], NOW) == [U]
    assert await store.contacts.remove_list("l")
    assert not await store.contacts.remove_list("l")
    assert [row.name for row in await reader.contacts.lists()] == ["M"]
    assert await store.contacts.remove([*ids, 999]) == 2
    assert await all_of(reader) == []
    assert [(row.name, row.contacts) for row in await reader.contacts.lists()] == [("M", 0)]


async def test_pages_hold_all_contacts_once(store: Store, reader: Reader) -> None:
    await store.contacts.put([new(f"{number}@x.example") for number in range(2500)], NOW)
    assert len({contact.id for contact in await all_of(reader)}) == 2500
    page = await reader.contacts.page(ContactFilter("@x.example"), limit=7)
    after = await reader.contacts.page(ContactFilter("@x.example"), limit=7, after_id=page[-1].id)
    assert len({contact.id for contact in (*page, *after)}) == 14


_ADDRESS = st.sampled_from([f"{local}@{domain}.example" for local in ("a", "A", "b", '"b"') for domain in "xy"])
_TYPES = st.sampled_from([None, (), ("general",), ("news", "general"), (ALL_TYPES,)])
_CONTACT = st.builds(
    NewContact,
    st.lists(st.builds(NewAddress, _ADDRESS, _TYPES), min_size=1, max_size=3).map(tuple),
    key=st.sampled_from([None, "1", "2", "nul\0and \ud800"]),
    name=st.sampled_from([None, "", "Ann"]),
    fields=st.dictionaries(st.sampled_from(["f", "g\0"]), st.sampled_from(["", "1", "\udfff"]), max_size=2),
    lists=st.lists(st.sampled_from(["L", "l", "M"]), max_size=2).map(tuple),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_CONTACT, max_size=8), st.integers(1, 4), st.booleans(), st.integers(0, 8))
def test_the_same_contacts_again_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[NewContact], size: int, fold: bool, broken_off: int
) -> None:
    """In groups of any size, all at once or broken off and begun anew, the state is the same; addresses stay unique."""

    async def put(store: Store, contacts: list[NewContact]) -> None:
        for start in range(0, len(contacts), size):
            await store.contacts.put(contacts[start : start + size], NOW)

    async def state(*runs: list[NewContact]) -> list[str]:
        state_dir: Path = tmp_path_factory.mktemp("store")
        store = await Store.open(state_dir, makers.policy(fold_local_part=fold))
        for run in runs:
            await put(store, run)
        reader = await Reader.open(state_dir)
        contacts = await all_of(reader)
        await reader.close()
        await store.close()
        held = [one.address for contact in contacts for one in contact.addresses]
        assert len({one.lower() if fold else one for one in held}) == len(held)
        return sorted(json.dumps(seen(contact), default=str) for contact in contacts)

    async def run() -> None:
        once = await state(wanted)
        assert await state(wanted, wanted) == once or not _settles(wanted)
        assert await state(wanted[:broken_off], wanted) == once or not _settles(wanted)

    asyncio.run(run())


def _settles(wanted: list[NewContact]) -> bool:
    """Whether no two of them mean the same contact: else the later one changes what the earlier one said."""
    keys = [one.key for one in wanted if one.key is not None]
    addresses = [address.address.replace('"', "").lower() for one in wanted for address in one.addresses]
    return len(set(keys)) == len(keys) and len(set(addresses)) == len(addresses)

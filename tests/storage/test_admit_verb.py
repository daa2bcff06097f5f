"""storage/admit_verb.py: what becomes of a recipient before anything is sent."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.address import address_key
from storage.model import LogFilter
from storage.people import ALL_TYPES, POLICY, Unsubscription
from storage.reader import Reader
from storage.status import Status
from storage.store import Store
from tests.storage import makers
from tests.storage.makers import DAY, NOW, accept, message


async def admitted(store: Store, reader: Reader, *addresses: str, **changes: object) -> list[tuple[Status, str]]:
    """What is decided on the recipients of one message, in their order."""
    new = [makers.new_recipient(store, address) for address in addresses]
    made = message(store, **changes)
    jobs = await store.accept(made, b"hello", new, lifetime_ms=DAY, leased=True)
    rows = {row.recipient_id: row for row in await reader.log(LogFilter(), limit=100)}
    decided = [(rows[one.id].status, rows[one.id].diagnostic) for one in new]
    assert [job.recipient_id for job in jobs] == [one.id for one in new if rows[one.id].status is Status.UNSENT]
    return decided


def unsubscribed(address: str, type_: str = "general") -> Unsubscription:
    return Unsubscription(address, type_, NOW, "one-click")


async def test_a_choice_comes_before_the_list_and_both_before_duplicate(store: Store, reader: Reader) -> None:
    """The reason that would still hold if the address came alone is the one to tell."""
    await store.contacts.unsubscribe([unsubscribed("both@x.example")])
    await makers.block(store, "both@x.example", "blocked@x.example", reason="he asked us to")
    decided = await admitted(
        store,
        reader,
        *("both@x.example", "blocked@x.example", "free@x.example") * 2,
        broadcast_type="General",
    )
    assert decided == [
        (Status.NO_EMAIL_SELECTED, "unsubscribed from General mail on 2023-11-14"),
        (Status.BLOCKED, "blocked since 2023-11-14 (manual): he asked us to"),
        (Status.UNSENT, ""),
        (Status.NO_EMAIL_SELECTED, "unsubscribed from General mail on 2023-11-14"),
        (Status.BLOCKED, "blocked since 2023-11-14 (manual): he asked us to"),
        (Status.DUPLICATE, "the same address came before in this message"),
    ]


@pytest.mark.parametrize("type_", ["general", ALL_TYPES])
async def test_transactional_mail_is_held_back_by_no_choice(store: Store, reader: Reader, type_: str) -> None:
    await store.contacts.unsubscribe([unsubscribed("a@x.example", type_)])
    for broadcast_type, status in (
        (None, Status.UNSENT),
        ("emergency", Status.UNSENT if type_ == "general" else Status.NO_EMAIL_SELECTED),
        (" GENERAL ", Status.NO_EMAIL_SELECTED),
    ):
        assert (await admitted(store, reader, "a@x.example", broadcast_type=broadcast_type))[0][0] is status


async def test_an_unsubscription_taken_back_holds_nobody(store: Store, reader: Reader) -> None:
    assert await store.contacts.unsubscribe([unsubscribed("a@x.example"), unsubscribed("a@x.example")]) == 1
    assert not await store.contacts.resubscribe("a@x.example", "emergency")
    assert await store.contacts.resubscribe("A@x.example", "general")
    assert not await store.contacts.resubscribe("a@x.example", ALL_TYPES)
    assert await admitted(store, reader, "a@x.example", broadcast_type="general") == [(Status.UNSENT, "")]


@pytest.mark.parametrize(
    ("listed", "address", "blocked"),
    [
        ("bob@x.example", "BOB@x.example", True),
        ("Bob@x.example", '"bob"@x.example', True),
        ('"b ob"@x.example', '"b\\ ob"@x.example', True),
        ("bob@x.example", "bobby@x.example", False),
        ("@x.example", "anybody@x.example", True),
        ("@x.example", "anybody@sub.x.example", False),
        ("bob@x.example", "bob@y.example", False),
    ],
)
async def test_the_list_means_a_mailbox_however_it_is_written_or_a_whole_domain(
    store: Store, reader: Reader, listed: str, address: str, blocked: bool
) -> None:
    await makers.block(store, listed)
    ((status, _),) = await admitted(store, reader, address)
    assert status is (Status.BLOCKED if blocked else Status.UNSENT)


async def test_an_entry_holds_until_it_expires(store: Store, reader: Reader) -> None:
    await makers.block(store, "a@x.example", expires_ms=NOW + DAY)
    for received_ms, status in ((NOW + DAY - 1, Status.BLOCKED), (NOW + DAY, Status.UNSENT)):
        assert (await admitted(store, reader, "a@x.example", received_ms=received_ms))[0][0] is status


async def test_what_one_process_puts_on_the_list_another_knows_at_once(tmp_path: Path) -> None:
    """The next message after the commit is held back, whichever process takes it; and let go again likewise."""
    first, second = await Store.open(tmp_path, POLICY), await Store.open(tmp_path, POLICY)
    reader = await Reader.open(tmp_path)
    try:
        assert [job.address for job in await accept(second, "a@x.example")] == ["a@x.example"]
        await makers.block(first, "a@x.example")
        assert await accept(second, "a@x.example") == []
        await first.contacts.unsubscribe([unsubscribed("b@x.example")])
        assert await accept(second, "b@x.example", broadcast_type="general") == []
    finally:
        await reader.close()
        await first.close()
        await second.close()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["a", "A", '"a"', "b", '"a b"', '"a\\ b"']), min_size=1, max_size=8))
def test_a_key_is_an_address_that_is_its_own_key(locals_: list[str]) -> None:
    for local in locals_:
        key = address_key(f"{local}@x.example")
        assert address_key(key) == key
        assert address_key(key, fold=True) == key.lower()
        assert address_key(f"{local}@x.example", fold=True) == address_key(key, fold=True)


@pytest.mark.parametrize("fold", [False, True])
async def test_of_all_ways_to_write_a_mailbox_exactly_one_is_sent(store: Store, reader: Reader, fold: bool) -> None:
    store.set_policy(makers.policy(fold_local_part=fold))
    written = ["a@x.example", '"a"@x.example', "A@x.example", "b@x.example", '"a b"@x.example', '"a\\ b"@x.example']
    decided = [status for status, _ in await admitted(store, reader, *written)]
    third = Status.DUPLICATE if fold else Status.UNSENT
    assert decided == [Status.UNSENT, Status.DUPLICATE, third, Status.UNSENT, Status.UNSENT, Status.DUPLICATE]

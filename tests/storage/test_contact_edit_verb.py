"""storage/contact_edit_verb.py: a contact has exactly the addresses that its form says, and nobody else's."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.people import ALL_TYPES, Contact, ContactAddress, NewAddress, NewContact, Stored
from storage.reader import Reader
from storage.store import Store
from tests.storage.makers import NOW


def new(*addresses: str, **values: object) -> NewContact:
    return NewContact(tuple([NewAddress(one) for one in addresses]), **values)  # type: ignore[arg-type]


async def stored(store: Store, reader: Reader, contact: NewContact) -> Contact:
    await store.contacts.put([contact], NOW)
    (one,) = await reader.contacts.find(contact.addresses[0].address)
    return one


async def read(reader: Reader, one: Contact) -> Contact:
    (found,) = await reader.contacts.contacts([one.id])
    return found


async def test_addresses_become_what_was_written_in_their_order(store: Store, reader: Reader) -> None:
    one = await stored(store, reader, new("a@x.test", "b@x.test", "c@x.test", name="Ann", fields={"city": "Ulm"}))
    wanted = NewContact(
        (NewAddress("c@x.test", ("News",)), NewAddress("d@x.test", (ALL_TYPES,))), None, "", {"city": ""}, ("all",)
    )
    assert await store.contacts.edit(one.id, wanted, NOW + 1) is Stored.UPDATED
    after = await read(reader, one)
    assert after.addresses == (ContactAddress("c@x.test", ("news",)), ContactAddress("d@x.test"))
    assert (after.name, after.fields, after.lists, after.updated_ms) == ("", {}, ("all",), NOW + 1)
    assert await reader.contacts.find("a@x.test") == []
    assert await store.contacts.edit(one.id, wanted, NOW + 2) is Stored.UNCHANGED
    assert (await read(reader, one)).updated_ms == NOW + 1


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (new("other@x.test"), "other@x.test is an address of another contact"),
        (new("a@x.test", key="k2"), 'another contact has the key "k2"'),
        (new(), "there is no address"),
    ],
)
async def test_what_is_another_s_is_never_taken(store: Store, reader: Reader, wanted: NewContact, why: str) -> None:
    """All of it is done or nothing."""
    await store.contacts.put([new("other@x.test", key="k2")], NOW)
    one = await stored(store, reader, new("a@x.test", "b@x.test"))
    assert await store.contacts.edit(one.id, wanted, NOW + 1) == why
    assert await read(reader, one) == one


async def test_a_contact_that_is_gone_is_told(store: Store) -> None:
    assert await store.contacts.edit(4711, new("a@x.test"), NOW) == "there is no such contact any more"


LETTERS = st.lists(
    st.sampled_from(["a@x.test", "A@x.test", "b@x.test", "c@x.test", "d@x.test"]), min_size=1, max_size=6
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=LETTERS, then=LETTERS)
async def test_whatever_was_there_before_what_was_written_is_there_after(
    store: Store, reader: Reader, first: list[str], then: list[str]
) -> None:
    """Letter case before the "@" tells mailboxes apart, and what comes twice is there once, at its first place."""
    one = await stored(store, reader, new(*first))
    assert isinstance(await store.contacts.edit(one.id, new(*then), NOW + 1), Stored)
    assert [each.address for each in (await read(reader, one)).addresses] == list(dict.fromkeys(then))
    await store.contacts.remove([one.id])

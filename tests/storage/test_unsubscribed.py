"""storage/unsubscribed_reader.py: each is on one page, the newest first, with the broadcast it came from."""

import pytest

from storage.people import ALL_TYPES, Unsubscription
from storage.reader import Reader
from storage.store import Store
from storage.unsubscribed_reader import UnsubscribedFilter
from tests.storage.makers import NOW, accept_due


async def test_pages_hold_each_once_the_newest_first(store: Store, reader: Reader) -> None:
    """Also where many came in the same millisecond, as from a file."""
    wanted = [
        Unsubscription(f"{number}@x.test", type_, NOW + number // 4, "import")
        for number in range(10)
        for type_ in ("news", ALL_TYPES)
    ]
    await store.contacts.unsubscribe(wanted)
    seen, before = list[Unsubscription](), None
    while page := await reader.unsubscribed.page(UnsubscribedFilter(), limit=3, before=before):
        seen += [one.was for one in page]
        before = seen[-1]
    assert seen == sorted(wanted, key=lambda one: (-one.at_ms, one.address, one.type))
    assert [one.was async for one in reader.unsubscribed.stream(UnsubscribedFilter())] == seen


async def test_the_broadcast_of_the_copy_is_told(store: Store, reader: Reader) -> None:
    _, (id_,) = await accept_due(store, "bob@x.test", broadcast="May", broadcast_type="news")
    await store.contacts.unsubscribe(
        [
            Unsubscription("bob@x.test", "news", NOW, "one-click", id_),
            Unsubscription("eve@x.test", "news", NOW, "one-click", id_ + 1),
        ]
    )
    found = await reader.unsubscribed.page(UnsubscribedFilter(), limit=5)
    assert [(one.was.address, one.broadcast) for one in found] == [("bob@x.test", "May"), ("eve@x.test", None)]


@pytest.mark.parametrize(
    ("text", "type_", "expected"),
    [
        ("ANN", None, ["Ann@x.test", "ann@sub.x.test"]),
        ("ann@s", None, ["ann@sub.x.test"]),
        ("@X.test", None, ["Ann@x.test", "bob@x.test"]),
        ("@x", None, []),
        ("@bücher.test", None, ["eve@xn--bcher-kva.test"]),
        (None, "NEWS", ["Ann@x.test"]),
        (None, ALL_TYPES, ["ann@sub.x.test", "bob@x.test", "eve@xn--bcher-kva.test"]),
        ("@x.test", "*", ["bob@x.test"]),
    ],
)
async def test_a_beginning_a_domain_or_a_type_narrows(
    store: Store, reader: Reader, text: str | None, type_: str | None, expected: list[str]
) -> None:
    addresses = {"Ann@x.test": "news", "ann@sub.x.test": "*", "bob@x.test": "*", "eve@xn--bcher-kva.test": "*"}
    await store.contacts.unsubscribe([Unsubscription(one, of, NOW, "operator") for one, of in addresses.items()])
    found = await reader.unsubscribed.page(UnsubscribedFilter(text, type_), limit=10)
    assert sorted(one.was.address for one in found) == sorted(expected)

"""How much of what comes back is kept."""

import pytest

from storage import dsn_room
from storage.reader import Reader
from storage.store import Store
from tests.storage.makers import NOW, accept


async def test_a_return_path_has_room_for_some_messages_and_some_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has room whatever its size; another return path has its own."""
    monkeypatch.setattr(dsn_room, "MOST_OF_ONE", 3)
    monkeypatch.setattr(dsn_room, "MOST_BYTES_OF_ONE", 100)
    few, large, other = [job.recipient_id for job in await accept(store, "a@x.example", "b@x.example", "c@x.example")]
    kept = [await store.accept_dsn(b"raw", few, "", NOW) is not None for _ in range(4)]
    assert kept == [True, True, True, False]
    assert await store.accept_dsn(b"x" * 500, large, "", NOW) is not None
    assert await store.accept_dsn(b"x", large, "", NOW) is None
    assert await store.accept_dsn(b"x" * 60, other, "", NOW) is not None
    assert await store.accept_dsn(b"x" * 41, other, "", NOW) is None
    assert await store.accept_dsn(b"x" * 40, other, "", NOW) is not None


async def test_of_mail_to_nobodys_return_path_the_newest_stay_and_what_waits_is_never_put_out(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dsn_room, "MOST_UNSIGNED", 3)
    first, second, third, none = [await store.accept_dsn(b"%d" % number, None, "", NOW) for number in range(4)]
    assert first
    assert second
    assert third
    assert none is None  # all three wait
    await store.settle_dsn(second, [], "none")
    assert await store.accept_dsn(b"5", None, "", NOW) is not None
    waiting = [id_ for id_, _, _ in await store.waiting_dsns(9)]
    assert first in waiting
    assert third in waiting
    assert await reader.dsn(second) is None

"""Laws of content too large for the database."""

import asyncio
import errno
from pathlib import Path

import pytest

from storage import large
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Event
from storage.store import Store, StoreFullError
from tests.storage import makers
from tests.storage.makers import DAY, FAR, NOW, accept, message, result

_LARGE = b"0123456789abcde\n" * 20_000
assert len(_LARGE) > large.LARGE_BYTES


def files(state_dir: Path) -> list[str]:
    directory = state_dir / "content"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


async def test_large_content_is_a_file_until_the_last_recipient_is_done(store: Store, tmp_path: Path) -> None:
    jobs = await accept(store, "a@x.example", "b@x.example", content=_LARGE)
    assert [job.content for job in jobs] == [_LARGE, _LARGE]
    assert len(files(tmp_path)) == 1
    assert await store.content(jobs[0].message.id) == _LARGE
    await store.settle(result(jobs[0], Event.DELIVER))
    assert len(files(tmp_path)) == 1
    await store.settle(result(jobs[1], Event.DELIVER))
    assert files(tmp_path) == []
    assert await store.content(jobs[0].message.id) is None


async def test_content_of_the_largest_small_size_is_in_the_database(store: Store, tmp_path: Path) -> None:
    (job,) = await accept(store, content=b"x" * large.LARGE_BYTES)
    assert files(tmp_path) == []
    assert await store.content(job.message.id) == b"x" * large.LARGE_BYTES


async def test_an_operator_s_removal_takes_the_file_too(store: Store, tmp_path: Path) -> None:
    made = message(store, size=len(_LARGE))
    new = makers.new_recipient(store)
    await store.accept(made, _LARGE, [new], lifetime_ms=DAY, leased=False)
    assert await store.remove([new.id], NOW) == 1
    assert len(files(tmp_path)) == 1, "the sender is still to be told, and may be given the content"
    ((duty,),) = [group.duties for group in await store.duties.due(FAR, 10)]
    await store.duties.drop([duty.id])
    assert files(tmp_path) == []


async def test_where_nothing_will_be_sent_no_file_stays(store: Store, tmp_path: Path) -> None:
    new = makers.new_recipient(store)
    await makers.block(store, new.address)
    await store.accept(message(store), _LARGE, [new], lifetime_ms=DAY, leased=True)
    assert files(tmp_path) == []


async def test_a_message_that_is_refused_leaves_no_file(store: Store, tmp_path: Path) -> None:
    (job,) = await accept(store)
    twice = makers.NewRecipient(job.recipient_id, "a@x.example", "x.example")
    with pytest.raises(Exception, match="UNIQUE"):
        await store.accept(message(store), _LARGE, [twice], lifetime_ms=DAY, leased=True)
    assert files(tmp_path) == []


async def test_a_disk_without_room_for_the_file_is_a_full_store(
    store: Store, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreFullError, match="No space left"):
        await accept(store, content=_LARGE)
    assert files(tmp_path) == []
    assert sum((await reader.status_counts()).values()) == 0


async def test_files_that_nothing_refers_to_are_swept_at_the_next_opening(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, POLICY)
    (job,) = await accept(store, content=_LARGE)
    (kept,) = files(tmp_path)
    living = large.write(tmp_path, store._owner.id, 4711, b"being written by a living process")
    large.write(tmp_path, 12345, 4711, b"left by a process that was killed")
    other = await Store.open(tmp_path, POLICY)
    assert files(tmp_path) == sorted([kept, living])
    await store.close()
    await other.close()
    last = await Store.open(tmp_path, POLICY)
    assert files(tmp_path) == [kept]
    assert await last.content(job.message.id) == _LARGE
    await last.close()


async def test_content_that_goes_while_it_is_read_is_gone(store: Store, tmp_path: Path) -> None:
    (job,) = await accept(store, content=_LARGE)
    (tmp_path / "content" / files(tmp_path)[0]).unlink()
    assert await store.content(job.message.id) is None


async def test_many_large_messages_at_once(store: Store, tmp_path: Path) -> None:
    jobs = await asyncio.gather(*(accept(store, content=_LARGE) for _ in range(8)))
    assert len(files(tmp_path)) == 8
    await asyncio.gather(*(store.settle(result(job, Event.DELIVER)) for (job,) in jobs))
    assert files(tmp_path) == []

import asyncio
from collections.abc import Callable

import pytest

from relay.deliver.contents import Contents
from storage.model import BodyType, Job, Message
from storage.status import Status


class Disk:
    """What a store would read, counted."""

    def __init__(self) -> None:
        self.contents: dict[int, bytes] = {}
        self.reads: list[int] = []
        self.trouble: Exception | None = None

    async def read(self, message_id: int) -> bytes | None:
        self.reads.append(message_id)
        await asyncio.sleep(0)
        if self.trouble:
            raise self.trouble
        return self.contents.get(message_id)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def job(disk: Disk) -> Callable[..., Job]:
    def make(message_id: int, content: bytes, *, with_content: bool = True) -> Job:
        disk.contents[message_id] = content
        message = Message(message_id, 0, "", BodyType.SEVEN_BIT, False, len(content), b"")
        given = content if with_content else None
        return Job(message, 1, "a@b.test", "b.test", Status.UNSENT, 0, 0, 0, None, None, given)

    return make


async def test_a_content_at_hand_is_not_read(disk: Disk, job: Callable[..., Job]) -> None:
    contents = Contents(disk.read)
    entered = contents.enter(job(1, b"x"))
    assert contents.at_hand(entered) == b"x"
    assert await contents.get(entered) == b"x"
    assert disk.reads == []
    contents.leave(entered)


async def test_what_finds_no_room_is_read_when_its_turn_comes(disk: Disk, job: Callable[..., Job]) -> None:
    contents = Contents(disk.read, most_bytes=10)
    first, second = contents.enter(job(1, b"x" * 8)), contents.enter(job(2, b"y" * 8))
    assert second.content is None
    assert contents.at_hand(second) is None
    assert await contents.get(second) == b"y" * 8
    assert contents.at_hand(first) == b"x" * 8


async def test_recipients_of_one_message_hold_it_once_and_read_it_once(disk: Disk, job: Callable[..., Job]) -> None:
    contents = Contents(disk.read, most_bytes=10)
    many = [contents.enter(job(1, b"x" * 8, with_content=False)) for _ in range(5)]
    assert set(await asyncio.gather(*(contents.get(each) for each in many))) == {b"x" * 8}
    assert disk.reads == [1]
    assert await contents.get(many[0]) == b"x" * 8
    assert disk.reads == [1]


async def test_beyond_the_bound_the_one_read_last_is_kept_for_its_other_recipients(
    disk: Disk, job: Callable[..., Job]
) -> None:
    contents = Contents(disk.read, most_bytes=1)
    jobs = [contents.enter(job(n, b"x" * 8)) for n in (1, 1, 2, 2)]
    for each in jobs:
        assert await contents.get(each) == b"x" * 8
    assert disk.reads == [1, 2]
    for each in jobs:
        contents.leave(each)
    assert contents.at_hand(jobs[-1]) is None


async def test_with_the_last_recipient_the_content_goes(disk: Disk, job: Callable[..., Job]) -> None:
    contents = Contents(disk.read, most_bytes=10)
    first, second = contents.enter(job(1, b"x" * 8)), contents.enter(job(1, b"x" * 8))
    contents.leave(first)
    assert contents.enter(job(2, b"y" * 8)).content is None
    contents.leave(second)
    assert contents.enter(job(3, b"z" * 8)).content is not None


async def test_what_is_gone_from_the_store_is_none_and_trouble_is_told(disk: Disk, job: Callable[..., Job]) -> None:
    contents = Contents(disk.read)
    entered = contents.enter(job(1, b"x", with_content=False))
    disk.contents.clear()
    assert await contents.get(entered) is None
    disk.trouble = OSError("bad disk")
    with pytest.raises(OSError, match="bad disk"):
        await contents.get(entered)
    disk.trouble = None
    assert await contents.get(entered) is None


async def test_a_recipient_that_left_while_its_content_was_read_keeps_nothing(
    disk: Disk, job: Callable[..., Job]
) -> None:
    contents = Contents(disk.read)
    entered = contents.enter(job(1, b"x", with_content=False))
    reading = asyncio.create_task(contents.get(entered))
    await asyncio.sleep(0)
    contents.leave(entered)
    assert await reading == b"x"
    assert contents.at_hand(entered) is None

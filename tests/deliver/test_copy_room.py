"""relay/deliver/copy_room.py: large copies are bounded in bytes, and no site takes all of them."""

import asyncio

from relay.deliver.copy_room import CopyRoom

LONG = 60.0


async def test_small_copies_need_no_room() -> None:
    room = CopyRoom(most_bytes=10, free_bytes=5)
    for _ in range(100):
        assert await room.take("a", 5, 0)
    room.give("a", 5)
    assert await room.take("a", 10, 0)


async def test_what_finds_no_room_is_told_so_and_counts_nothing() -> None:
    room = CopyRoom(most_bytes=10, free_bytes=1)
    assert await room.take("a", 8, 0)
    assert not await room.take("b", 3, 0.001)
    assert await room.take("b", 2, 0)


async def test_who_waits_goes_on_when_a_copy_is_done_the_first_that_fits_first() -> None:
    room = CopyRoom(most_bytes=10, free_bytes=1)
    assert await room.take("a", 10, 0)
    waiting = [asyncio.create_task(room.take(site, size, LONG)) for site, size in (("b", 9), ("c", 4), ("d", 2))]
    await asyncio.sleep(0)
    room.give("a", 10)
    assert await waiting[0]
    room.give("b", 9)
    assert await waiting[1]
    assert await waiting[2]


async def test_a_site_holds_no_more_than_it_leaves_free() -> None:
    room = CopyRoom(most_bytes=100, free_bytes=1)
    taken = [await room.take("slow", 10, 0) for _ in range(6)]
    assert taken == [True] * 5 + [False]
    assert [await room.take("next", 10, 0) for _ in range(4)] == [True, True, False, False]
    assert await room.take("quick", 30, 0)


async def test_a_message_larger_than_all_the_room_travels_alone() -> None:
    room = CopyRoom(most_bytes=10, free_bytes=1)
    assert await room.take("a", 50, 0)
    assert not await room.take("b", 2, 0)
    room.give("a", 50)
    assert await room.take("b", 2, 0)


async def test_who_is_cancelled_holds_nothing() -> None:
    room = CopyRoom(most_bytes=10, free_bytes=1)
    assert await room.take("a", 10, 0)
    waiting = asyncio.create_task(room.take("b", 10, LONG))
    granted = asyncio.create_task(room.take("c", 10, LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    room.give("a", 10)  # now it is c's, and c is cancelled before it could know
    granted.cancel()
    await asyncio.wait([granted])
    assert await room.take("d", 10, 0)

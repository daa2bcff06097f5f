"""relay/broadcast/room.py: nobody takes all of it, and nobody is looked for in vain."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relay.broadcast.room import Room


def test_nobody_comes_before_it_is_known_who_waits() -> None:
    room = Room(4, 1)
    assert (room.closed, room.to_count, room.choose(["a"])) == (True, True, [False])
    room.counted({})
    assert (room.closed, room.to_count) == (False, False)


def test_a_domain_that_had_enough_comes_again_when_it_has_half_of_that() -> None:
    room = Room(8, 1)
    room.counted({})
    assert room.choose("aaaaab") == [True] * 4 + [False, True]
    for waiting, may in (({"a": 3}, False), ({"a": 2}, True)):
        assert room.to_count
        room.counted(waiting)
        assert room.choose("a") == [may]


def test_a_list_of_those_alone_that_have_enough_is_not_gone_through_again() -> None:
    room = Room(8, 3)
    room.counted({})
    for chunk, left in (("aaaaaa", 3), ("ab", 3)):
        may = room.choose(chunk)
        room.went({domain for domain, now in zip(chunk, may, strict=True) if not now}, left)
        assert not room.closed
    room.choose("b")
    room.went((), 2)
    assert room.closed
    room.counted({"a": 1})
    assert not room.closed
    room.choose("a")
    room.went((), 1)
    room.went((), 0)
    assert room.choose("c") == [True]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(1, 20))
def test_no_domain_takes_what_another_could_use(domains: list[str], most: int) -> None:
    """Never more than may wait; and whoever is refused has at least as many waiting as are free for all others."""
    room, waiting = Room(most, 1), Counter[str]()
    room.counted({})
    for domain, may in zip(domains, room.choose(domains), strict=True):
        if may:
            waiting[domain] += 1
        else:
            assert waiting[domain] >= most - waiting.total()
    assert waiting.total() <= most

import gc

from relay.deliver.slots import Slots, SlotsWithin


class Taker:
    """A site that wants connections, and takes them when it may."""

    def __init__(self, slots: Slots, wants: int, *, suspect: bool = False) -> None:
        self.slots, self.wants, self.suspect, self.has = slots, wants, suspect, 0

    def pump(self) -> None:
        while self.wants > self.has and self.slots.take(self, self.pump, suspect=self.suspect):
            self.has += 1

    def give(self) -> None:
        self.has -= 1
        self.wants -= 1
        self.slots.give(suspect=self.suspect)


def test_there_are_so_many_and_no_more() -> None:
    taker = Taker(Slots(3), 5)
    taker.pump()
    assert taker.has == 3


def test_who_waits_longest_is_served_first_and_each_in_turn() -> None:
    slots = Slots(1)
    first, second, third = Taker(slots, 1), Taker(slots, 1), Taker(slots, 1)
    for taker in (first, second, third):
        taker.pump()
    first.give()
    assert (first.has, second.has, third.has) == (0, 1, 0)
    second.give()
    assert (first.has, second.has, third.has) == (0, 0, 1)


def test_who_needs_none_any_more_passes_it_on() -> None:
    slots = Slots(1)
    first, second, third = (Taker(slots, 1) for _ in range(3))
    for taker in (first, second, third):
        taker.pump()
    second.wants = 0
    first.give()
    assert (second.has, third.has) == (0, 1)


def test_an_idle_connection_makes_room_for_who_waits() -> None:
    slots = Slots(2)
    holder, waiter = Taker(slots, 2), Taker(slots, 1)
    holder.pump()
    closed: list[str] = []
    slots.idles("oldest", lambda: closed.append("oldest"))
    slots.idles("newest", lambda: closed.append("newest"))
    waiter.pump()
    assert closed == ["oldest"]
    holder.give()
    assert waiter.has == 1
    slots.works("newest")
    slots.works("newest")


def test_what_becomes_idle_while_others_wait_is_closed_at_once() -> None:
    slots = Slots(1)
    holder, waiter = Taker(slots, 1), Taker(slots, 1)
    holder.pump()
    waiter.pump()
    closed: list[int] = []
    slots.idles(1, lambda: closed.append(1))
    assert closed == [1]


def test_suspects_have_half_at_most_and_close_nobodys_connection() -> None:
    slots = Slots(4)
    suspect, other = Taker(slots, 4, suspect=True), Taker(slots, 2)
    suspect.pump()
    assert suspect.has == 2
    closed: list[int] = []
    slots.idles(1, lambda: closed.append(1))
    other.pump()
    assert other.has == 2
    suspect.pump()
    assert closed == []
    other.give()
    assert suspect.has == 2
    other.give()
    suspect.give()
    assert suspect.has == 2


def test_a_providers_sites_share_its_connections_and_others_do_not() -> None:
    slots = Slots(10)
    first, second, other = (Taker(slots, 5) for _ in range(3))
    first.slots, second.slots = SlotsWithin(slots, slots.shared("p", 2)), SlotsWithin(slots, slots.shared("p", 2))  # type: ignore[assignment]
    for taker in (first, second, other):
        taker.pump()
    assert (first.has, second.has, other.has) == (2, 0, 5)
    first.wants = 2
    first.give()
    assert (first.has, second.has) == (1, 1)


def test_where_a_worker_has_no_slot_left_a_provider_loses_none_of_its_own() -> None:
    slots = Slots(1)
    other, mine, sister = Taker(slots, 1), Taker(slots, 1), Taker(slots, 1)
    mine.slots, sister.slots = SlotsWithin(slots, slots.shared("p", 1)), SlotsWithin(slots, slots.shared("p", 1))  # type: ignore[assignment]
    for taker in (other, mine, sister):
        taker.pump()
    assert (other.has, mine.has, sister.has) == (1, 0, 0)
    other.give()
    assert (mine.has, sister.has) == (1, 0)
    mine.give()
    assert (mine.has, sister.has) == (0, 1)


def test_an_idle_connection_of_a_provider_makes_room_for_its_other_sites() -> None:
    slots = Slots(10)
    mine, sister = Taker(slots, 1), Taker(slots, 1)
    mine.slots, sister.slots = SlotsWithin(slots, slots.shared("p", 1)), SlotsWithin(slots, slots.shared("p", 1))  # type: ignore[assignment]
    mine.pump()
    closed: list[bool] = []

    def close() -> None:
        if not closed:
            closed.append(True)

    mine.slots.idles("connection", close)
    sister.pump()
    assert closed == [True]
    mine.slots.works("connection")
    mine.give()
    assert sister.has == 1


def test_who_failed_last_time_gets_a_slot_while_others_take_all_that_they_get() -> None:
    """A site that is busy for hours must not keep one that failed once from being tried again."""
    slots = Slots(2)
    busy, suspect = Taker(slots, 100), Taker(slots, 1, suspect=True)
    busy.pump()
    suspect.pump()
    assert slots.wanted(besides=busy)
    assert slots.wanted(besides=suspect)
    for _ in range(2):
        busy.give()
        busy.pump()
    assert (busy.has, suspect.has) == (1, 1)


def test_what_a_suspect_makes_live_leaves_its_place_to_the_next() -> None:
    slots = Slots(4)
    first, second = Taker(slots, 2, suspect=True), Taker(slots, 1, suspect=True)
    first.pump()
    second.pump()
    assert (first.has, second.has, slots.wanted()) == (2, 0, False)
    slots.trust()
    other = Taker(slots, 1)
    other.pump()
    other.give()
    assert second.has == 1


def test_what_is_shared_is_forgotten_with_its_last_holder() -> None:
    slots = Slots(1)
    mine = slots.shared("key", 3)
    assert slots.shared("key", 5) is mine
    del mine
    gc.collect()
    assert slots.shared("key", 5).free(suspect=False)
    assert len(slots._shared) == 0

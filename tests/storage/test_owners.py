"""Laws of owners, their locks and their ids."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage import owners
from storage.owners import Ids, WriteLock


def test_ids_rise_strictly_even_when_the_clock_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owners.register(tmp_path, 0)
    ids = Ids(owner.id)
    first = ids.next()
    monkeypatch.setattr("time.time_ns", lambda: 0)
    made = [first, *(ids.next() for _ in range(100))]
    assert made == sorted(set(made))
    assert owner.id < first < made[-1] < 1 << 63
    owner.retire()


def test_ids_of_living_owners_never_meet(tmp_path: Path) -> None:
    living = [owners.register(tmp_path, 0) for _ in range(5)]
    made = [{ids.next() for _ in range(500)} for ids in map(Ids, (owner.id for owner in living))]
    assert len(set.union(*made)) == sum(map(len, made))
    assert len({owners.slot_of(owner.id) for owner in living}) == len(living)
    for owner in living:
        owner.retire()


def test_an_owner_s_ids_are_above_what_is_stored_even_after_the_clock_went_back(tmp_path: Path) -> None:
    stored = (1 << 62) + 12345
    owner = owners.register(tmp_path, stored)
    assert Ids(owner.id).next() > stored
    owner.retire()


def test_an_id_tells_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = Ids(5)
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_123_456_789)
    assert owners.ms_of(ids.next()) == 1_700_000_000_123


def test_an_owner_is_dead_exactly_when_its_process_is_gone(tmp_path: Path) -> None:
    mine = owners.register(tmp_path, 0)
    program = (
        "import sys, pathlib; from storage import owners;"
        "print(owners.register(pathlib.Path(sys.argv[1]), 0).id, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        theirs = int(other.stdout.readline())
        assert owners.dead(tmp_path) == []
        assert owners.living(tmp_path) == {mine.id, theirs}
        other.kill()
    assert owners.dead(tmp_path) == [theirs]
    assert owners.living(tmp_path) == {mine.id}
    owners.forget(tmp_path, theirs)
    owners.forget(tmp_path, theirs)
    assert owners.dead(tmp_path) == []
    mine.retire()
    assert owners.living(tmp_path) == set()


def test_a_dead_owner_s_slot_is_not_given_away_before_it_is_forgotten(tmp_path: Path) -> None:
    """Its leases end in the slot: another owner of the slot would pass for their holder."""
    (tmp_path / "owners").mkdir()
    dead = 77 << 10
    (tmp_path / "owners" / str(dead)).touch()
    (tmp_path / "owners" / "a note of the operator").touch()
    owner = owners.register(tmp_path, 0)
    assert owners.slot_of(owner.id) == 1
    owners.forget(tmp_path, dead)
    other = owners.register(tmp_path, 0)
    assert owners.slot_of(other.id) == 0
    owner.retire()
    other.retire()


def test_when_all_slots_are_taken_nobody_else_can_open(tmp_path: Path) -> None:
    (tmp_path / "owners").mkdir()
    for slot in range(owners.SLOTS):
        (tmp_path / "owners" / str(1 << 20 | slot)).touch()
    with pytest.raises(OSError, match="no more can open the store"):
        owners.register(tmp_path, 0)


def test_an_owner_that_goes_while_it_is_looked_at_is_dead(tmp_path: Path) -> None:
    assert not owners._locked(tmp_path / "gone")


def test_the_write_lock_is_one_for_all(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path)
    program = "import sys, pathlib; from storage.owners import WriteLock; lock = WriteLock(pathlib.Path(sys.argv[1]))"
    program += "; print('waiting', flush=True); lock.take(); print('mine', flush=True)"
    with lock.held():
        other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "waiting\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.2)
    assert other.communicate(timeout=10)[0] == "mine\n"
    lock.close()

"""Laws of the files in which workers tell of their sites."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from storage import owners, sites
from storage.reader import Reader
from storage.sites import SitesFile, SiteState
from storage.store import Store
from tests.storage.makers import NOW, accept, accept_due

STATE = SiteState("mx.a.test", "default", None, ("a.test",), 1, 2, 1, 3, 5, 20, None, 1, "250 2.0.0 ok", NOW, 0)


def test_what_a_living_owner_writes_is_read_as_it_was(tmp_path: Path) -> None:
    owner = owners.register(tmp_path, 0)
    assert sites.read(tmp_path) == []
    other = replace(STATE, name="mx.ü.test", source="one", rate="10/s", domains=("b.test", "c.test"))
    file = SitesFile(tmp_path, owner.id, 7, 3)
    assert file.write([STATE, other])
    assert sites.read(tmp_path) == [(3, [STATE, other])]
    file.remove()
    assert sites.read(tmp_path) == []
    file.remove()
    owner.retire()


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    owner = owners.register(tmp_path, 0)
    file = SitesFile(tmp_path, owner.id, 7, 0)
    assert file.write([STATE])
    (path,) = (tmp_path / "sites").iterdir()
    was = path.stat().st_ino
    assert not file.write([replace(STATE)])
    assert path.stat().st_ino == was
    assert file.write([replace(STATE, ready=9)])
    assert path.stat().st_ino != was
    owner.retire()


def test_the_files_of_the_dead_count_nothing_and_are_swept(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from storage import owners, sites; at = pathlib.Path(sys.argv[1]);"
        "sites.SitesFile(at, owners.register(at, 0).id, 1, 5).write([]); print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert sites.read(tmp_path) == [(5, [])]
        sites.sweep(tmp_path)
        assert sites.read(tmp_path) == [(5, [])]
        process.kill()
        process.wait()
    assert sites.read(tmp_path) == []
    assert len(list((tmp_path / "sites").iterdir())) == 1
    sites.sweep(tmp_path)
    assert list((tmp_path / "sites").iterdir()) == []


def test_no_reader_meets_half_a_file(tmp_path: Path) -> None:
    owner = owners.register(tmp_path, 0)
    file, done = SitesFile(tmp_path, owner.id, 1, 0), threading.Event()

    def write() -> None:
        for number in range(300):
            file.write([replace(STATE, ready=number, domains=("x.test",) * (number % 50))] * (number % 9))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    looked = 0
    while not done.is_set() or not looked:
        assert [worker for worker, _ in sites.read(tmp_path)] in ([], [0])
        looked += 1
    thread.join()
    owner.retire()


def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "README").write_text("hello")
    sites.sweep(tmp_path)
    assert sites.read(tmp_path) == []
    assert (tmp_path / "sites" / "README").exists()


def test_a_file_that_goes_while_it_is_read_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owners.register(tmp_path, 0)
    file = SitesFile(tmp_path, owner.id, 1, 0)
    file.write([STATE])
    lives = owners.lives

    def ends(state_dir: Path, id_: int) -> bool:
        file.remove()
        return lives(state_dir, id_)

    monkeypatch.setattr("storage.owners.lives", ends)
    assert sites.read(tmp_path) == []
    owner.retire()


def test_the_file_is_json_for_those_who_look_with_other_eyes(tmp_path: Path) -> None:
    owner = owners.register(tmp_path, 0)
    SitesFile(tmp_path, owner.id, 1, 2).write([STATE])
    told = json.loads((tmp_path / "sites" / f"{owner.id}.1").read_text())
    assert (told["worker"], told["sites"][0]["name"]) == (2, "mx.a.test")
    owner.retire()


def test_a_worker_of_another_version_is_read_as_far_as_it_tells_the_same(tmp_path: Path) -> None:
    """During an update, old workers live on while new commands look at them."""
    owner = owners.register(tmp_path, 0)
    SitesFile(tmp_path, owner.id, 1, 2).write([STATE, replace(STATE, name="mx.b.test")])
    path = tmp_path / "sites" / f"{owner.id}.1"
    told = json.loads(path.read_text())
    told["sites"][0]["newer"] = 1
    del told["sites"][1]["window"]
    path.write_text(json.dumps(told))
    assert sites.read(tmp_path) == [(2, [STATE])]
    owner.retire()


async def test_what_waits_is_counted_by_domain_and_no_further_than_told(store: Store, reader: Reader) -> None:
    await accept_due(store, "a@x.test", "b@x.test", "c@y.test")
    await accept(store, "d@x.test")  # leased: it is being delivered
    assert await reader.waiting(10) == ({"x.test": 2, "y.test": 1}, False)
    assert await reader.waiting(3) == ({"x.test": 2, "y.test": 1}, False)
    counted, more = await reader.waiting(2)
    assert (sum(counted.values()), more) == (3, True)

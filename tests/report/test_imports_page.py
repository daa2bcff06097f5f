"""report/pages/imports.py, imports.py, jobs.py, telltale/for_imports.py: files by forms, how far they came."""

import asyncio
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from report.imports import KEPT_SECONDS, MOST_A_USER, MOST_UNFINISHED, Import, Imports, Kind, Standing, State
from report.jobs import OF_ONE, Jobs, Progress
from report.server import ReportServer
from storage.access import Role
from storage.contact_reader import ContactFilter
from storage.contacts import Contacts
from storage.people import NewContact, Stored
from storage.reader import Reader
from storage.store import StoreFullError
from telltale import file_import
from tests.report.browsing import HTML, Browser, add_user, browsing, served
from tests.report.mailing import Mail


@pytest.fixture
async def server(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReportServer]:
    monkeypatch.setattr(file_import, "AT_ONCE", 50)
    for name in ("root", "other"):
        await add_user(mail.store, name)
    await add_user(mail.store, "ann", Role.SENDER)
    await add_user(mail.store, "vera", Role.VIEWER)
    async with served(mail.state_dir, max_upload_bytes=200_000) as server:
        yield server


async def imported(browser: Browser, content: bytes, called: str = "people.csv", **fields: str) -> str:
    """Upload a file of contacts; the answer is the import's page."""
    await browser.get("/contacts/import")
    await browser.upload("/contacts/import", {"file": (called, content)}, **({"list": "", "encoding": ""} | fields))
    return browser.url


def sums(browser: Browser) -> list[str]:
    return re.findall(r"<dd>([\d,]+)</dd>", browser.text)


async def test_contacts_are_imported_and_what_is_left_out_is_told(root: Browser, mail: Mail, reader: Reader) -> None:
    csv = b"email,name,city\nann@x.test,Ann,Ulm\nno address,,\nbob@x.test,Bob,\n" + b"bad,,\n" * 30
    at = await imported(root, csv, "../../people.csv", list="all")
    assert re.fullmatch(r"/contacts/import/[\w-]{22}", at)
    assert sums(root) == ["2", "0", "0", "31"]
    assert "Line 3" in root.text
    assert "data-live" not in root.text  # nothing is followed that is over
    (report,) = [link for link in root.links() if link.endswith(".csv")]
    lines = (await root.get(report)).splitlines()
    assert (len(lines), lines[0]) == (32, "line,column,why")
    (one,) = await reader.contacts.find("ann@x.test")
    assert (one.lists, one.fields) == (("all",), {"city": "Ulm"})
    assert not list((mail.state_dir / "imports").glob("*/contacts*")), "the file is needed no more"


async def test_what_is_no_file_of_contacts_is_said_and_nothing_of_it_kept(root: Browser, mail: Mail) -> None:
    await root.get("/contacts/import")
    await root.upload("/contacts/import", {}, list="a;b", encoding="?")
    assert root.status == 422
    assert "File: choose one." in root.text
    await imported(root, b"\xff\xfe\x00\xd8\x00\xd8", "x.csv")
    assert root.status == 422
    assert str(mail.state_dir) not in root.text
    await root.get("/contacts/import")
    await root.upload("/contacts/import", {"file": ("x.csv", b"x" * 210_000)}, list="", encoding="")
    assert root.status == 413
    assert list((mail.state_dir / "imports").iterdir()) == []
    for path in ("/contacts/import/..%2F..%2Fsecret.csv", "/contacts/import/x", "/blocked/import/" + "a" * 22):
        assert (await root.get(path), root.status)[1] == 404


async def test_people_say_which_column_is_what(root: Browser, reader: Reader) -> None:
    """A header that means nothing by itself is asked for, with a guess; what is wrong with the answer is said."""
    csv = b"Kontakt;Kundennummer;Mail privat;Ort;Notiz\nAnn;7;ann@x.test;Ulm;a\nBob;8;bob@x.test;Bonn;b\n"
    at = await imported(root, csv)
    assert "Which column is what?" in root.text
    chosen = re.findall(r'name="column(\d)".*?<option value="([^"]+)" selected>', root.text, re.DOTALL)
    assert chosen == [("0", "name"), ("1", "key"), ("2", "email"), ("3", "field:"), ("4", "field:")]
    assert "ann@x.test · bob@x.test" in root.text
    assert await reader.contacts.count(ContactFilter()) == 0
    answer = {"column0": "name", "column1": "key", "column2": "name", "column3": "field:", "column4": "-"}
    await root.submit(at, do="begin", **answer)
    assert root.status == 422
    assert "are both Name" in root.text
    assert "Say which column is the address." in root.text
    await root.submit(at, do="begin", **(answer | {"column2": "email", "column3": "nonsense"}))
    assert root.status == 422
    await root.submit(at, do="begin", **(answer | {"column2": "email"}))
    assert sums(root) == ["2", "0", "0", "0"]
    (ann,) = await reader.contacts.find("7")
    assert (ann.name, ann.addresses[0].address, ann.fields) == ("Ann", "ann@x.test", {"Ort": "Ulm"})


async def test_a_file_without_a_header_loses_no_contact(root: Browser, reader: Reader) -> None:
    """Its columns have numbers, which the command line knows as well; a field gets the name that people give it."""
    at = await imported(root, b"Ann,ann@x.test,Ulm\nBob,bob@x.test,Bonn\nCyd,cyd\n")
    assert "This file has no header line" in root.text
    chosen = re.findall(r'name="column(\d)".*?<option value="([^"]+)" selected>', root.text, re.DOTALL)
    assert chosen == [("0", "-"), ("1", "email"), ("2", "-")]
    answer = {"column0": "name", "column1": "email", "column2": "field:"}
    await root.submit(at, do="begin", **answer, called2="x" * 2000)
    assert root.status == 422
    await root.submit(at, do="begin", **answer, called2="city")
    assert sums(root) == ["2", "0", "0", "1"]
    assert "Line 3, 2" in root.text
    (ann,) = await reader.contacts.find("ann@x.test")
    assert (ann.name, ann.fields) == ("Ann", {"city": "Ulm"})


async def test_who_wants_to_names_the_columns_of_a_clear_file_too(root: Browser, reader: Reader) -> None:
    at = await imported(root, b"email,city\nann@x.test,Ulm\n", columns="1")
    assert "Which column is what?" in root.text
    await root.submit(at, do="begin", column0="email", column1="-")
    (ann,) = await reader.contacts.find("ann@x.test")
    assert ann.fields == {}


async def test_json_has_no_columns_to_name(root: Browser) -> None:
    await imported(root, b'[{"email": "ann@x.test"}]', "people.json", columns="1")
    assert sums(root) == ["1", "0", "0", "0"]


async def test_what_another_server_is_at_is_looked_at_now_and_then(root: Browser, mail: Mail) -> None:
    """Two servers on one state directory do not take each other's work for broken off."""
    imports = Imports(mail.state_dir)
    folder = imports.new_folder()
    there = Import(folder.name, "root", Kind.CONTACTS, "people.json", "contacts.json", 1, folder=folder)
    imports.keep(there)
    there.note(Standing(State.UNDER_WAY, {"added": 3}, records=3))
    turn = there.turn
    assert turn.take()
    at = f"/contacts/import/{folder.name}"
    assert 'data-serial="0"' in await root.get(at)
    assert "Under way" in root.text
    for told in ("go on", "remove", "stop"):
        await root.submit(at, do=told)
        assert sums(root)[0] == "3"
    async with root.session.get(f"{root.base}{at}/live?since=0") as stream, asyncio.timeout(10):
        assert b"event: change" in await stream.content.read()
    turn.give()
    assert "Not finished" in await root.get(at)


async def test_what_was_uploaded_and_not_begun_is_begun_when_its_maker_says_so(root: Browser, mail: Mail) -> None:
    """The server may have been killed just then."""
    imports = Imports(mail.state_dir)
    folder = imports.new_folder()
    imports.keep(Import(folder.name, "root", Kind.CONTACTS, "people.json", "contacts.json", 1, folder=folder))
    (folder / "contacts.json").write_text('{"email": "ann@x.test"}')
    await root.get(f"/contacts/import/{folder.name}")
    assert "not begun yet" in root.text
    await root.submit(root.url, do="begin")
    assert sums(root) == ["1", "0", "0", "0"]


def many(number: int) -> bytes:
    return b"email,name\n" + b"".join(b"%d@x.test,N%d\n" % (one, one) for one in range(number))


async def wait_for_work(browser: Browser, at: str) -> None:
    """Follow an import as its page does, until it is over."""
    while live := re.search(r'data-live="([^"]+)" data-serial="(\d+)"', await browser.get(at)):
        async with browser.session.get(f"{browser.base}{live[1]}?since={live[2]}") as stream:
            async for line in stream.content:
                if line.startswith(b"event: change"):
                    break


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no import be over before it is looked at."""
    settle = file_import._settle

    def slowly(*arguments: object) -> None:
        time.sleep(0.1)
        settle(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(file_import, "_settle", slowly)


@pytest.mark.usefixtures("slow")
async def test_an_import_tells_how_far_it_is_stops_and_goes_on(root: Browser, reader: Reader) -> None:
    """It can be left and come back to; what was stored stays, and nothing is stored twice or left out."""
    at = await imported(root, many(3000) + b"nobody,\n", list="all")
    assert 'role="alert"' not in root.text
    assert re.search(r'<progress aria-labelledby="going" max="\d+" value="\d+">', root.text)
    assert '<noscript><meta http-equiv="refresh"' in root.text
    live = re.search(r'data-live="([^"]+)" data-serial="(\d+)"', root.text)
    assert live
    async with root.session.get(f"{root.base}{live[1]}?since={live[2]}") as stream:
        async with asyncio.timeout(5):
            async for line in stream.content:
                if line.startswith(b"event: change"):
                    break
    assert at in (await root.get("/contacts/import"))
    assert "under way" in root.text
    await root.get(at)
    await root.submit(at, do="stop")
    assert "Not finished" in root.text
    stored = await reader.contacts.count(ContactFilter())
    assert 0 < stored < 3000
    await root.submit(at, do="go on")
    await wait_for_work(root, at)
    added, _, again, bad = [int(number.replace(",", "")) for number in sums(root)]
    assert (added + again, bad) == (3000, 1)
    assert again <= 100, "what was stored, and not noted any more, is at most what was under way"
    assert await reader.contacts.count(ContactFilter(list="all")) == 3000
    assert (await root.get(f"{at}.csv")).count("\n") == 2


@pytest.mark.usefixtures("slow")
async def test_an_import_that_the_server_s_end_broke_off_says_so_after_its_start(
    mail: Mail, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing hangs, what was imported stays, and it is done again from the start if its maker wants that."""
    monkeypatch.setattr(file_import, "AT_ONCE", 50)
    await add_user(mail.store, "root")
    async with served(mail.state_dir) as server, browsing(server) as root:
        await root.log_in("root")
        at = await imported(root, many(3000))
        assert "data-live" in root.text
        began = time.monotonic()
    assert time.monotonic() - began < 5
    stored = await reader.contacts.count(ContactFilter())
    assert 0 < stored < 3000
    async with served(mail.state_dir) as server, browsing(server) as root:
        await root.log_in("root")
        assert "broken off" in await root.get("/contacts/import")
        await root.get(at)
        assert "It was stopped, or the server was" in root.text
        await root.submit(at, do="again")
        await wait_for_work(root, at)
        assert sums(root) == [f"{3000 - stored:,}", "0", f"{stored:,}", "0"]


async def test_an_import_that_finds_the_disk_full_goes_on_when_there_is_room(
    root: Browser, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is still there, and nobody chooses it again."""
    put, times = Contacts.put, iter(range(99))

    async def full(contacts: Contacts, some: Sequence[NewContact], now_ms: int) -> list[Stored | str]:
        if next(times) == 2:
            raise StoreFullError("the disk is full")
        return await put(contacts, some, now_ms)

    monkeypatch.setattr(Contacts, "put", full)
    at = await imported(root, many(400))
    assert "The disk is full." in root.text
    assert sums(root) == ["100", "0", "0", "0"]
    await root.submit(at, do="go on")
    added, _, again, _ = map(int, sums(root))
    assert added + again == 400
    assert await reader.contacts.count(ContactFilter()) == 400


async def test_a_report_does_not_grow_without_end(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of nothing but mistakes is counted to its end; how many are written has a bound."""
    monkeypatch.setattr(file_import, "MOST_REPORT_BYTES", 2000)
    at = await imported(root, b"email\n" + b"a\n" * 500)
    assert sums(root) == ["0", "0", "0", "500"]
    lines = (await root.get(f"{at}.csv")).splitlines()
    assert len(lines) < 60
    assert lines[-1] == ",,there is more that was left out: this report is full"


async def test_jobs_of_one_user_leave_a_place_for_others() -> None:
    """Who finds no place waits, and is let go at once where that is stopped."""
    jobs, gate = Jobs(), threading.Event()
    mine = [jobs.start(str(number), "root", lambda _job: gate.wait(10)) for number in range(OF_ONE + 1)]
    other = jobs.start("other", "ann", lambda job: job.tell("Well", 1, 4))
    assert await other.wait(5)
    assert (other.progress.what, other.progress.share) == ("Well", 0.25)
    assert mine[-1].progress == Progress()
    mine[-1].stop()
    assert await mine[-1].wait(5)
    gate.set()
    assert await mine[0].wait(5)
    broken = jobs.start("broken", "ann", lambda _job: 1 / 0)
    assert await broken.wait(5)
    assert jobs.find("broken") is None
    await jobs.close()


async def test_an_import_is_its_maker_s_alone(server: ReportServer, root: Browser) -> None:
    at = await imported(root, b"email\nann@x.test\nbad\n", columns="1")
    for name, status in (("other", 404), ("ann", 403), ("vera", 403)):
        async with browsing(server) as browser:
            await browser.log_in(name)
            for path in (at, f"{at}.csv", f"{at}/live"):
                assert (await browser.get(path), browser.status)[1] == status
            for told in ("begin", "remove"):
                await browser.get("/account")
                await browser.submit(at, do=told)
                assert browser.status == status
            assert (await browser.get("/contacts/import"), at in browser.text)[1] is False
    await root.get(at)
    assert "Which column" in root.text
    async with root.session.post(root.base + at, data={"do": "begin"}, headers=HTML) as answer:
        assert answer.status == 403
    assert (await root.get(f"{at}.csv"), root.status)[1] == 404
    await root.get(at)
    await root.submit(at, do="remove")
    assert root.url == "/contacts/import"
    assert (await root.get(at), root.status)[1] == 404


async def test_nobody_has_more_than_some_unfinished_imports(root: Browser, mail: Mail) -> None:
    for _ in range(MOST_UNFINISHED):
        await imported(root, b"email\nann@x.test\n", columns="1")
        assert root.status == 200
    await imported(root, b"email\nann@x.test\n")
    assert root.status == 409
    assert len(list((mail.state_dir / "imports").iterdir())) == MOST_UNFINISHED


async def test_addresses_to_block_are_imported(root: Browser, reader: Reader) -> None:
    await root.get("/blocked")
    assert "/blocked/import" in root.links()
    await root.get("/blocked/import")
    file = b"address,reason,expires\nann@x.test,asked,\n@y.test,,\nold@x.test,,2001-01-01T00:00Z\nx,,\nb@x.test,,soon\n"
    await root.upload("/blocked/import", {"file": ("list.csv", file)}, reason="", lasts="")
    assert re.fullmatch(r"/blocked/import/[\w-]{22}", root.url)
    assert sums(root) == ["2", "1", "2"]
    assert "Line 5" in root.text
    assert "Line 6" in root.text
    (ann,) = await reader.blocked.find("ann@x.test", 1)
    assert (ann.reason, ann.source, ann.expires_ms) == ("asked", "import", None)
    await root.get("/blocked/import")
    file = b"# known\nann@x.test\ncyd@x.test\n"
    await root.upload("/blocked/import", {"file": ("list.txt", file)}, reason="legal", lasts="30d")
    assert sums(root) == ["1", "1", "0"]
    (cyd,) = await reader.blocked.find("cyd@x.test", 1)
    assert (cyd.reason, cyd.expires_ms is not None) == ("legal", True)
    await root.get("/blocked/import")
    await root.upload("/blocked/import", {"file": ("list.txt", file)}, reason="x" * 2000, lasts="soon")
    assert root.status == 422


async def test_what_is_older_than_a_day_goes_when_the_server_starts(mail: Mail) -> None:
    """However long nobody imports anything: what people uploaded is not kept."""
    imports = Imports(mail.state_dir)
    folder = imports.new_folder()
    (folder / "contacts.csv").write_text("email\nann@x.test\n")
    for path in (folder / "contacts.csv", folder):
        os.utime(path, (1, 1))
    async with served(mail.state_dir), asyncio.timeout(10):
        while folder.exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def test_old_imports_go_and_nobody_fills_the_disk_with_them(tmp_path: Path) -> None:
    imports = Imports(tmp_path)
    assert imports.of("root") == []
    kept = []
    for number in range(MOST_A_USER + 5):
        folder = imports.new_folder()
        assert folder.stat().st_mode & 0o777 == 0o700
        kept.append(Import(folder.name, "root", Kind.BLOCKED, "x", "x", number, folder=folder))
        imports.keep(kept[-1])
    assert [one.made_ms for one in imports.of("root")] == list(range(MOST_A_USER + 4, 4, -1))
    first, second = kept[-2:]
    assert first.turn.take()
    first.note(Standing(State.UNDER_WAY, {"added": 3}, records=4))
    for one in (first, second):
        for path in (*one.folder.iterdir(), one.folder):
            os.utime(path, (1, time.time() - KEPT_SECONDS - 60))
    imports.new_folder()
    assert second not in imports.of("root")
    assert imports.find(first.id, "root", Kind.BLOCKED) == first, "somebody is at it"
    assert first.standing() == Standing(State.UNDER_WAY, {"added": 3}, records=4)
    assert imports.find(first.id, "root", Kind.CONTACTS) is None
    (first.folder / "standing.json").write_text('{"state": "?"}')
    assert first.standing() == Standing()

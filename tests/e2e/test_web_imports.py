"""Files in the browser: columns that people name, an import that is watched, left, stopped, killed, and goes on."""

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.e2e.looking import findings
from tests.e2e.test_web import SECONDS, base, set_up
from tests.e2e.test_web_broadcast import visit
from tests.peers.killing import parts
from tests.peers.telltale import Telltale, listening, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e
FOREIGN = b"Kunde;Mail privat;Ort\nAnn Reader;ann@x.test;Ulm\nBob Second;bob@x.test;Bonn\n;nobody;\n"
MANY = 150_000


@pytest.fixture
def telltale(make_telltale: Callable[..., Telltale]) -> Telltale:
    return make_telltale()


@pytest.fixture
def many(tmp_path: "Path") -> "Path":
    file = tmp_path / "many.csv"
    lines = (
        f"{number}@x.test,Person {number},Ulm,all\n" if number % 50_000 else "nobody,,,\n" for number in range(MANY)
    )
    file.write_text("email,name,city,list\n" + "".join(lines))
    return file


def choose(page: "Page", telltale: Telltale, file: object, kind: str = "contacts") -> None:
    page.goto(f"{base(telltale)}/{kind}/import")
    page.get_by_label("File: ").set_input_files(file)  # type: ignore[arg-type]  # a path or a FilePayload
    page.get_by_role("button", name="Import", exact=True).click()


def foreign() -> dict[str, object]:
    return {"name": "kunden.csv", "mimeType": "text/csv", "buffer": FOREIGN}


def check(chromium: "Browser", page: "Page", axe: str) -> None:
    """Look for serious findings of axe on the page as it is."""
    assert findings(chromium, page.context.storage_state(), "", [page.url], axe) == []


def test_columns_are_named_and_a_long_import_is_watched_stopped_and_goes_on(
    telltale: Telltale, chromium: "Browser", axe: str, many: "Path"
) -> None:
    page, broken = visit(chromium, telltale)
    choose(page, telltale, foreign())
    page.get_by_role("heading", name="Which column is what?").wait_for()
    check(chromium, page, axe)
    assert page.get_by_label("What Mail privat is").input_value() == "email"
    page.get_by_label("What Ort is").select_option("Leave out")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("Line 4, Mail privat").wait_for()
    check(chromium, page, axe)

    choose(page, telltale, many)
    page.wait_for_selector("html[data-live=on]")
    page.evaluate("window.same = true")
    at = page.url
    before = page.get_by_role("progressbar").get_attribute("value")
    page.wait_for_function("before => document.querySelector('progress').value > Number(before)", arg=before)
    # It is left, and come back to.
    page.goto(f"{base(telltale)}/contacts/import")
    page.get_by_role("link", name="many.csv").click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("heading", name="Not finished").wait_for()
    check(chromium, page, axe)
    page.get_by_role("button", name="Go on").click()
    page.evaluate("window.same = true")
    check(chromium, page, axe)
    page.get_by_role("heading", name="What came of it").wait_for(timeout=4 * SECONDS)
    assert page.url == at
    assert page.evaluate("window.same") is True, "it came by itself"
    numbers = [int(text.replace(",", "")) for text in page.locator(".sums dd").all_inner_texts()]
    assert (sum(numbers), numbers[3]) == (MANY, MANY // 50_000)
    assert broken == []


def test_an_import_that_was_killed_is_told_without_scripts_and_done_again(
    telltale: Telltale, chromium: "Browser", many: "Path"
) -> None:
    """The supervisor starts the report server anew; the page loads itself anew all the time."""
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(SECONDS)
    set_up(telltale, page)
    choose(page, telltale, many)
    page.get_by_role("progressbar").wait_for()
    at = page.url
    (report,) = parts(telltale, "report")
    os.kill(report, signal.SIGKILL)
    wait_for("another report server", lambda: parts(telltale, "report") not in ([], [report]))
    wait_for("its port", lambda: listening("127.0.0.1", telltale.report))
    page.goto(at)
    page.get_by_role("heading", name="Not finished").wait_for()
    page.get_by_role("button", name="From the start").click()
    page.get_by_role("heading", name="What came of it").wait_for(timeout=4 * SECONDS)


def test_a_file_of_blocked_addresses(telltale: Telltale, chromium: "Browser", axe: str) -> None:
    page, broken = visit(chromium, telltale)
    file = {"name": "list.csv", "mimeType": "text/csv", "buffer": b"address,reason\nann@x.test,asked\nnobody,\n"}
    choose(page, telltale, file, "blocked")
    page.get_by_text("Line 3").wait_for()
    assert page.locator(".sums dd").all_inner_texts() == ["1", "0", "1"]
    check(chromium, page, axe)
    page.get_by_role("link", name="To Blocked Email").click()
    page.get_by_role("link", name="ann@x.test").wait_for()
    assert broken == []

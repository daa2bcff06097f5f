"""What somebody sees in a browser: logging in, mail that arrives, is delivered and opened before their eyes."""

import re
import smtplib
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.e2e.looking import findings, looked_at
from tests.peers import keeper
from tests.peers.telltale import BROWSER, HTML, Telltale, image_of, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e
PASSWORD = "correct horse battery"
SECONDS = 30_000


@pytest.fixture
def telltale(make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int]) -> Telltale:
    return make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{mailbox[1]}"}}')


def base(telltale: Telltale) -> str:
    return f"http://127.0.0.1:{telltale.report}"


def set_up(telltale: Telltale, page: "Page") -> None:
    """Make the first administrator by the link that was printed."""
    link = re.search(rf"{base(telltale)}/setup/[\w-]+", telltale.output())
    assert link, telltale.output()
    page.goto(link[0])
    page.get_by_label("Name").fill("root")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Make administrator").click()
    page.get_by_role("heading", name="Overview").wait_for()


def submit(telltale: Telltale, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        assert client.sendmail("news@sender.test", recipients, HTML) == {}


def fetched(box: keeper.Keeper, recipient: str) -> None:
    """Open the copy for somebody, as their mail program would: fetch its image."""
    copy = wait_for("the copy", lambda: next((m for m in box.messages() if m.recipients == (recipient,)), None))
    with urllib.request.urlopen(
        urllib.request.Request(image_of(copy.content), headers={"User-Agent": BROWSER})
    ) as answer:
        assert answer.status == 200


def test_mail_arrives_and_is_opened_before_the_reader_s_eyes(
    telltale: Telltale, mailbox: tuple[keeper.Keeper, int], chromium: "Browser"
) -> None:
    """No page is loaded anew: what changes comes by itself."""
    page = chromium.new_page()
    page.set_default_timeout(SECONDS)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if said.type == "error" else None)
    set_up(telltale, page)
    page.get_by_role("heading", name="Nothing has been sent yet").wait_for()
    page.get_by_role("link", name="Email Log").first.click()
    page.get_by_text("There is no mail yet").wait_for()
    page.wait_for_selector("html[data-live=on]")
    page.evaluate("window.same = true")

    submit(telltale, "reader@keeper.test")
    page.get_by_role("button", name="Show 1 new").click()
    row = page.locator("#rows tr", has_text="reader@keeper.test")
    row.get_by_text("Sent", exact=True).wait_for()

    reading = chromium.new_page(user_agent=BROWSER)
    copy = wait_for("the copy", lambda: next(iter(mailbox[0].messages()), None))
    assert reading.goto(image_of(copy.content)).status == 200  # type: ignore[union-attr]
    row.get_by_text("Opened", exact=True).wait_for()
    assert page.evaluate("window.same") is True

    page.get_by_role("button", name="Follow").click()
    submit(telltale, "second@keeper.test")
    page.locator("#rows tr", has_text="second@keeper.test").wait_for()
    row.get_by_role("link").click()
    page.get_by_role("heading", name="What happened").wait_for()
    page.get_by_role("link", name="Email Log").first.click()
    page.locator("#rows tr", has_text="second@keeper.test").get_by_role("link").click()
    page.wait_for_selector("html[data-live=on]")
    fetched(mailbox[0], "second@keeper.test")
    page.locator(".timeline").get_by_text("Opened", exact=True).wait_for()
    assert broken == []


def test_everything_can_be_read_without_scripts(telltale: Telltale, chromium: "Browser") -> None:
    with_scripts = chromium.new_page()
    set_up(telltale, with_scripts)
    submit(telltale, "plain@keeper.test")
    telltale.wait_status("plain@keeper.test", "Sent")
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(SECONDS)
    page.goto(base(telltale))
    page.get_by_label("Name").fill("root")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Email Log").first.click()
    page.get_by_role("searchbox", name="Recipient").fill("plain")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="plain@keeper.test").click()
    page.get_by_role("heading", name="plain@keeper.test").wait_for()
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")


def test_no_page_has_findings_of_axe(telltale: Telltale, chromium: "Browser", axe: str) -> None:
    """WCAG 2.2 AA as far as a program can tell, on a desktop and a telephone, light and dark; nothing is too wide."""
    found = list[str]()
    first = chromium.new_page()
    set_up(telltale, first)
    state = first.context.storage_state()
    stranger = chromium.new_page(bypass_csp=True)
    stranger.goto(f"{base(telltale)}/login")
    stranger.get_by_label("Name").fill("root")
    stranger.get_by_label("Password").fill("wrong")
    stranger.get_by_role("button", name="Log in").click()
    stranger.get_by_role("alert").wait_for()
    found += looked_at(stranger, axe, "a wrong password")
    empty = chromium.new_context(storage_state=state, bypass_csp=True).new_page()
    for path in ("/", "/log", "/broadcasts", "/reading", "/addresses", "/contacts", "/lists", "/blocked"):
        empty.goto(base(telltale) + path)
        found += looked_at(empty, axe, f"{path} before any mail")

    submit(telltale, "reader@keeper.test", "second@keeper.test")
    telltale.wait_status("second@keeper.test", "Sent")
    first.goto(f"{base(telltale)}/log")
    story = first.locator("#rows a").first.get_attribute("href")
    paths = (
        *("/", "/log", "/log?status=failed&sender=x", "/log?since=yesterday&category=spam&status=x"),
        *(story or "", "/account", "/api/v1/docs", "/nothing"),
    )
    found += findings(chromium, state, base(telltale), paths, axe)
    assert found == [], "\n".join(found)


def test_a_plot_tells_its_numbers_by_the_keyboard(telltale: Telltale, chromium: "Browser") -> None:
    """What is pointed at is told below the plot; arrow keys reach the same, and Escape what is told first."""
    submit(telltale, "reader@keeper.test", "second@keeper.test")
    telltale.wait_status("second@keeper.test", "Sent")
    page = chromium.new_page()
    page.set_default_timeout(SECONDS)
    set_up(telltale, page)
    told = page.locator("[data-told]").first
    told.get_by_text("2 in all").wait_for()
    page.locator(".drawn").first.focus()
    page.keyboard.press("ArrowLeft")
    told.get_by_text(": 2 sent").wait_for()
    page.keyboard.press("ArrowLeft")
    told.get_by_text(": none").wait_for()
    page.keyboard.press("Escape")
    told.get_by_text("2 in all").wait_for()
    page.locator(".column").last.hover()
    told.get_by_text(": 2 sent").wait_for()

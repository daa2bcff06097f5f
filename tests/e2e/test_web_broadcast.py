"""Sending in the browser: a broadcast from its form to "Opened" before the sender's eyes; contacts, blocks, users."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.e2e.looking import SIZES, findings, looked_at
from tests.e2e.test_web import PASSWORD, SECONDS, base, set_up
from tests.peers import keeper
from tests.peers.telltale import BROWSER, Telltale, image_of, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e
CONTACTS = (
    "email,name,city,types,list\n"
    "reader@keeper.test,Ann Reader,Ulm,,all\n"
    "second@keeper.test,Bob Second,Bonn,,all\n"
    "blocked@keeper.test,Cyd Blocked,Bonn,,all\n"
    "quiet@keeper.test,Dan Quiet,Bonn,emergency,all\n"
    "no address,,,,\n"
)
PAGE = (
    "<h1>News</h1><p>Dear {{ name }} of {{ city }},</p><p id=shown>this is new.</p>"
    '<script>document.getElementById("shown").textContent = "script ran"</script>'
)


@pytest.fixture
def telltale(make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int]) -> Telltale:
    return make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{mailbox[1]}"}}')


def visit(chromium: "Browser", telltale: Telltale) -> tuple["Page", list[str]]:
    """Open a page as the first administrator, and a list of what breaks in it."""
    page = chromium.new_page()
    page.set_default_timeout(SECONDS)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if said.type == "error" else None)
    set_up(telltale, page)
    return page, broken


def import_contacts(page: "Page") -> None:
    page.get_by_role("link", name="Contacts", exact=True).click()
    page.get_by_role("link", name="Import", exact=True).click()
    file = {"name": "people.csv", "mimeType": "text/csv", "buffer": CONTACTS.encode()}
    page.get_by_label("File: CSV").set_input_files(file)  # type: ignore[arg-type]  # a FilePayload
    page.get_by_role("button", name="Import").click()
    page.get_by_text("Line 6").wait_for()


def block(page: "Page", address: str) -> None:
    page.get_by_role("link", name="Blocked", exact=True).click()
    page.get_by_text("Block addresses").click()
    page.get_by_label("Addresses or @domains").fill(address)
    page.get_by_role("button", name="Block", exact=True).click()
    page.get_by_text("1 blocked.").wait_for()


def check_numbers(page: "Page", axe: str) -> None:
    """Look for findings of axe on pages that have something to tell, in light and dark, large and small."""
    root, found = page.url.partition("/broadcasts")[0], list[str]()
    call = f"{page.url}/call".removeprefix(root)
    paths = (page.url.removeprefix(root), call, f"{call}?who=unread", "/", "/reading", "/addresses", "/broadcasts")
    for scheme, (width, height) in zip(("light", "dark"), SIZES, strict=True):
        context = page.context.browser.new_context(  # type: ignore[union-attr]  # it has one
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]  # one of the two
            storage_state=page.context.storage_state(),
            bypass_csp=True,
        )
        other = context.new_page()
        for path in paths:
            other.goto(root + path)
            found += looked_at(other, axe, f"{path}, {scheme}")
        context.close()
    assert found == [], "\n".join(found)


def write(page: "Page", telltale: Telltale) -> None:
    """Fill the form in and go on to the check."""
    page.goto(f"{base(telltale)}/broadcasts/new")
    page.get_by_label("Name", exact=True).fill("November")
    page.get_by_label("From").fill("Ann <ann@sender.test>")
    page.get_by_label("Subject").fill("News for {{ city }}")
    page.get_by_label("Or paste HTML").fill(PAGE)
    page.get_by_label("A list").select_option("all")
    page.get_by_role("button", name="Check").click()
    page.get_by_role("heading", name="How it looks").wait_for()


def test_a_broadcast_goes_from_its_form_to_opened_before_the_sender_s_eyes(
    telltale: Telltale, mailbox: tuple[keeper.Keeper, int], chromium: "Browser", axe: str
) -> None:
    """Log in, import, block, write, check, send; see it go out and be opened without loading the page anew."""
    page, broken = visit(chromium, telltale)
    import_contacts(page)
    block(page, "blocked@keeper.test")
    write(page, telltale)
    counts = page.locator(".tally .count").all_inner_texts()
    assert counts == ["2", "1", "0", "1", "0"]  # Unsent, Blocked, Duplicate, No Email Selected, invalid
    copy = page.frame_locator("iframe.mail")
    copy.get_by_text("Dear Ann Reader of Ulm").wait_for()
    assert copy.locator("#shown").inner_text() == "this is new."
    page.get_by_role("link", name="The next recipient").click()
    page.get_by_text("News for Bonn").wait_for()

    page.get_by_role("button", name="Send to 2 recipients").click()
    page.get_by_role("heading", name="November").wait_for()
    numbers = chromium.new_context(storage_state=page.context.storage_state()).new_page()
    numbers.set_default_timeout(SECONDS)
    numbers.goto(page.url)
    numbers.wait_for_selector("html[data-live=on]")
    numbers.evaluate("window.same = true")
    page.goto(f"{base(telltale)}/log?broadcast=November")
    page.wait_for_selector("html[data-live=on]")
    page.get_by_role("button", name="Follow").click()
    row = page.locator("#rows tr", has_text="reader@keeper.test")
    row.get_by_text("Sent", exact=True).wait_for()
    page.locator("#rows tr", has_text="blocked@keeper.test").get_by_text("Blocked", exact=True).wait_for()
    page.locator("#rows tr", has_text="quiet@keeper.test").get_by_text("No Email Selected", exact=True).wait_for()
    page.evaluate("window.same = true")

    def arrived() -> "keeper.Kept | None":
        found = (mail for mail in mailbox[0].messages() if mail.recipients == ("reader@keeper.test",))
        return next(found, None)

    reading = chromium.new_page(user_agent=BROWSER)
    assert reading.goto(image_of(wait_for("the copy", arrived).content)).status == 200  # type: ignore[union-attr]
    row.get_by_text("Opened", exact=True).wait_for()
    assert page.evaluate("window.same") is True
    numbers.bring_to_front()
    numbers.locator(".tile", has_text="Open rate").get_by_text("1 of 2").wait_for()
    numbers.get_by_text("How soon it was opened", exact=True).wait_for()
    assert numbers.evaluate("window.same") is True
    check_numbers(numbers, axe)
    # The browser says that the mail's own script did not run, since its frame is sandboxed.
    assert [said for said in broken if "frame is sandboxed" not in said] == []


def test_a_broadcast_is_sent_without_scripts(telltale: Telltale, chromium: "Browser") -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(SECONDS)
    set_up(telltale, page)
    import_contacts(page)
    write(page, telltale)
    page.get_by_role("button", name="Send to 3 recipients").click()
    telltale.wait_status("second@keeper.test", "Sent")
    page.goto(f"{base(telltale)}/log?broadcast=November&status=sent")
    page.locator("#rows tr", has_text="second@keeper.test").get_by_text("News for Bonn").wait_for()


def test_what_people_manage_has_no_findings_of_axe(telltale: Telltale, chromium: "Browser", axe: str) -> None:
    """WCAG 2.2 AA as far as a program can tell, on a desktop and a telephone, in light and dark."""
    first, _ = visit(chromium, telltale)
    import_contacts(first)
    block(first, "blocked@keeper.test")
    first.goto(f"{base(telltale)}/users")
    first.get_by_label("Name", exact=True).fill("ann")
    first.get_by_label("Password").fill(PASSWORD)
    first.get_by_role("button", name="Add").click()
    first.get_by_text("The user is added.").wait_for()
    write(first, telltale)
    check = first.url.removeprefix(base(telltale))
    first.goto(f"{base(telltale)}/contacts?q=blocked")
    contact = first.locator(".rows a").first.get_attribute("href") or ""
    paths = (
        *("/contacts", "/contacts?q=nobody", contact, "/contacts/new", "/contacts/import", "/lists"),
        *("/blocked", "/blocked/of/blocked@keeper.test", "/blocked/undo?since=2026-01-01T00:00"),
        *("/users", "/users/ann", "/account", "/broadcasts/new", check),
    )
    found = findings(chromium, first.context.storage_state(), base(telltale), paths, axe)
    assert found == [], "\n".join(found)

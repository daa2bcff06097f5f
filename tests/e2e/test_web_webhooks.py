"""Webhooks in the browser: an endpoint is added and tested, and its deliveries are seen as they come."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.e2e.looking import findings
from tests.e2e.test_web import SECONDS, base, set_up, submit
from tests.peers import keeper
from tests.peers.telltale import Telltale
from tests.report.hooking import Receiver

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e


@pytest.fixture
def telltale(make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int]) -> Telltale:
    route = f'routes = {{"*" = "smtp://127.0.0.1:{mailbox[1]}"}}'
    return make_telltale(delivery=route, webhooks="allow_private = true\ntimeout = 5")


def add(page: "Page", telltale: Telltale, receiver: Receiver, *types: str) -> str:
    """Add an endpoint by hand; return the address of its page."""
    page.goto(f"{base(telltale)}/log")
    page.get_by_role("link", name="Webhooks", exact=True).click()
    page.get_by_role("link", name="Add a webhook").click()
    page.get_by_label("URL").fill(receiver.end.url)
    for type_ in types:
        page.get_by_label("Only these").check()
        page.get_by_label(type_).check()
    page.get_by_role("button", name="Add webhook").click()
    receiver.end.secret = (page.locator(".note pre").text_content() or "").strip()
    page.get_by_role("link", name="Go on to the webhook").click()
    return page.url


def test_an_endpoint_is_added_and_tested_and_followed(
    telltale: Telltale, chromium: "Browser", receiver: Receiver
) -> None:
    """What is delivered to it appears while its page is open, without loading it anew."""
    page = chromium.new_page()
    page.set_default_timeout(SECONDS)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if said.type == "error" else None)
    set_up(telltale, page)
    add(page, telltale, receiver)
    page.get_by_text("Nothing has happened yet").wait_for()
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("It took the test").wait_for()
    row = page.locator(".attempts tbody tr").first
    assert row.locator("th").inner_text().strip() == "test"
    assert row.locator(".chip").inner_text() == "204"

    page.wait_for_selector("html[data-live=on]")
    page.evaluate("window.same = true")
    page.get_by_label("What happened since").fill("2026-11-23T14:05")
    submit(telltale, "reader@keeper.test")
    page.locator(".attempts tr", has_text="sent").get_by_role("link", name="reader@keeper.test").wait_for()
    page.locator("#hook").get_by_text("Going", exact=True).wait_for()
    assert page.evaluate("window.same") is True
    assert page.get_by_label("What happened since").input_value() == "2026-11-23T14:05"

    receiver.end.answer = lambda _: 500
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("It did not take the test").wait_for()
    page.get_by_role("link", name="Not taken").click()
    page.locator(".attempts tr", has_text="500").wait_for()
    page.get_by_text("Remove …").click()
    page.get_by_role("button", name="Remove the webhook").click()
    page.get_by_text("There are no webhooks yet").wait_for()
    assert broken == []


def test_webhooks_are_managed_without_scripts(telltale: Telltale, chromium: "Browser", receiver: Receiver) -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(SECONDS)
    set_up(telltale, page)
    at = add(page, telltale, receiver, "delivered", "soft_bounced")
    page.get_by_text("delivered, soft_bounced").wait_for()
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("It took the test").wait_for()
    page.get_by_text("New secret …").click()
    page.get_by_role("button", name="Make a new secret").click()
    receiver.end.secret = (page.locator(".note pre").text_content() or "").strip()
    page.goto(at)
    page.get_by_text("the former one signs along").wait_for()
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("It took the test").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator("#hook").get_by_text("Stopped by root").wait_for()
    page.get_by_role("button", name="Enable").click()
    page.get_by_text("It goes on from where it was").wait_for()
    page.get_by_role("button", name="Send again").click()
    page.get_by_text("is sent again").wait_for()


def test_webhooks_have_no_serious_findings_of_axe(
    telltale: Telltale, chromium: "Browser", receiver: Receiver, axe: str
) -> None:
    """WCAG 2.2 AA as far as a program can tell, on a desktop and a telephone, in light and dark."""
    page = chromium.new_page()
    page.set_default_timeout(SECONDS)
    set_up(telltale, page)
    at = add(page, telltale, receiver)
    receiver.end.answer = lambda event: 503 if event["type"] == "test" else 204
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("It did not take the test").wait_for()
    long = telltale.run("webhook", "add", f"http://127.0.0.1:1/{'long/' * 80}", "--type", "accepted").split()[0]
    stopped = telltale.run("webhook", "add", receiver.end.url, "--type", "opened").split()[0]
    telltale.run("webhook", "stop", stopped)
    submit(telltale, "reader@keeper.test")
    page.goto(f"{base(telltale)}/webhooks/{long}")
    page.locator("#hook").get_by_text("Failing", exact=True).wait_for()
    tested = at.removeprefix(base(telltale)).partition("?")[0] + "?done=tested"
    paths = ("/webhooks", "/webhooks/new", tested, f"/webhooks/{long}", f"/webhooks/{stopped}")
    found = findings(chromium, page.context.storage_state(), base(telltale), paths, axe)
    assert found == [], "\n".join(map(str, found))

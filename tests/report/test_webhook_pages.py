"""report/pages/webhooks.py: endpoints that are added, tested, followed, stopped and removed in the browser."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from report import sessions
from report.hooks import order, sender, signing
from report.hooks.plain import TYPES, State, hint, next_try_ms, state_of
from report.pages.webhooks import ROWS
from report.server import ReportServer
from report.settings import WebhookSettings
from storage.access import SCOPES, Role, Scope
from storage.feed import EventType, Place
from storage.model import queue_id
from storage.reader import Reader
from storage.status import Event
from storage.webhook_model import HookAttempt, Told, Waiting, Webhook
from storage.webhook_verbs import KEPT_FAILED, KEPT_TAKEN
from tests.report.asking import add_token, program
from tests.report.browsing import Browser, add_user, browsing, served
from tests.report.hooking import Endpoint, endpoint
from tests.report.mailing import START, Mail

PRIVATE = WebhookSettings(allow_private=True, timeout=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_LOOK_SECONDS", 0.05)


@pytest.fixture
async def server(mail: Mail) -> AsyncIterator[ReportServer]:
    for name, role in (("root", Role.ADMIN), ("ann", Role.SENDER), ("vera", Role.VIEWER)):
        await add_user(mail.store, name, role)
    async with served(mail.state_dir, PRIVATE) as server:
        yield server


@pytest.fixture
async def end() -> AsyncIterator[Endpoint]:
    async with endpoint() as made:
        yield made


async def added(browser: Browser, end: Endpoint, **fields: str) -> str:
    """Add an endpoint by the form, take its secret from the page, and return the address of its page."""
    await browser.get("/webhooks/new")
    await browser.submit("/webhooks/new", **({"url": end.url, "which": "all"} | fields))
    assert browser.status == 200, browser.text
    end.secret = secret_of(browser)
    (at,) = [link for link in browser.links() if re.fullmatch(r"/webhooks/wh_\w+", link)]
    return at


def secret_of(browser: Browser) -> str:
    found = re.search(r"whsec_[\w+/=]{44}", browser.text)
    assert found, browser.text
    return found[0]


async def test_an_endpoint_is_added_tested_and_its_deliveries_are_seen(
    root: Browser, mail: Mail, end: Endpoint
) -> None:
    """Its secret is shown once, and what comes is signed with it."""
    assert "There are no webhooks yet" in await root.get("/webhooks")
    at = await added(root, end)
    assert "Nothing has happened yet" in await root.get(at)
    assert end.secret not in root.text
    await root.submit(f"{at}/test")
    assert "It took the test" in root.text
    assert [event["type"] for _, event in end.taken] == ["test"]
    end.answer = lambda _: 500
    await root.submit(f"{at}/test")
    assert "It did not take the test" in root.text
    assert "It failed itself" in root.text
    end.answer = lambda _: 204
    (job,) = await mail.accept("bob@example.test")
    await mail.settle(job, Event.DELIVER)
    await end.until(lambda: len(end.taken) == 3)
    await until_seen(root, at, "delivered")
    assert f"/recipient/{queue_id(job.recipient_id)}" in root.links()
    assert "The last event was taken" in root.text
    assert "by root" in root.text
    assert "Going" in await root.get("/webhooks")


async def until_seen(browser: Browser, at: str, type_: str) -> None:
    """Load a page anew until a delivery is on it: it is written after the endpoint has answered."""
    async with asyncio.timeout(20):
        while not re.search(rf'<th role="rowheader" scope="row" class="event">{type_}\b', await browser.get(at)):
            pass


async def test_types_are_chosen_and_what_is_wrong_is_said(root: Browser, reader: Reader, end: Endpoint) -> None:
    await added(root, end, which="some", user="ann", **{"recipient.bounced": "1", "recipient.failed": "1"})
    (hook,) = await reader.webhooks.all()
    assert (hook.types, hook.user) == ({EventType.BOUNCED, EventType.FAILED}, "ann")
    assert "bounced, failed" in await root.get("/webhooks")
    await root.get("/webhooks/new")
    for fields, said in (
        ({"url": end.url, "which": "some"}, "choose one type at least"),
        ({"url": "ftp://x", "which": "all"}, "URL: expected a URL such as"),
        ({"url": end.url, "which": "all", "user": "nobody"}, "Whose mail: there is no user"),
    ):
        await root.submit("/webhooks/new", **fields)
        assert root.status == 422
        assert said in root.text.replace("&#34;", '"')
    assert len(await reader.webhooks.all()) == 1


async def test_it_is_changed_and_called_at_once(
    root: Browser, reader: Reader, mail: Mail, end: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it did not take goes to its new address, however long its rest was to be."""
    monkeypatch.setattr(sender, "_FIRST_REST", 600.0)
    monkeypatch.setattr(signing, "SCHEDULE", (600,) * 9)
    at = await added(root, end, url=end.url.replace("/hook", "/gone"))
    await mail.accept("bob@example.test")
    await until_seen(root, f"{at}?show=failed", "accepted")
    await root.get(f"{at}/edit")
    assert "/gone" in root.text
    for fields, said in (({"url": "ftp://x", "which": "all"}, "URL: expected"), ({"url": end.url}, "choose one type")):
        await root.submit(f"{at}/edit", **fields)
        assert root.status == 422
        assert said in root.text
    await root.submit(f"{at}/edit", url=end.url, which="some", **{"recipient.accepted": "1", "recipient.opened": "1"})
    assert "The changes are saved" in root.text
    (hook,) = await reader.webhooks.all()
    assert (hook.url, hook.types) == (end.url, {EventType.ACCEPTED, EventType.OPENED})
    await mail.accept("cyd@example.test")
    await end.until(lambda: len(end.taken) == 1)
    await root.submit(f"{at}/enable")
    await end.until(lambda: len(end.taken) == 2)
    assert "told of accepted, opened" in await root.get(at)
    text = await root.get(f"{at}/edit")
    assert 'name="recipient.opened" value="1" checked' in text
    assert (await root.get("/webhooks/none/edit"), root.status)[1] == 404


async def test_there_are_no_more_than_the_most(root: Browser, end: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MOST", 1)
    await added(root, end)
    await root.get("/webhooks/new")
    await root.submit("/webhooks/new", url=end.url, which="all")
    assert root.status == 422
    assert "There are 1 webhooks already" in root.text


async def test_it_is_stopped_enabled_replayed_and_removed(root: Browser, mail: Mail, end: Endpoint) -> None:
    at = await added(root, end)
    await root.get(at)
    await root.submit(f"{at}/stop")
    assert "Stopped by root" in root.text
    await mail.accept("bob@example.test")
    assert re.search(r"Waits: what happened from", " ".join((await root.get(at)).split()))
    assert not end.taken
    await root.submit(f"{at}/enable")
    await end.until(lambda: len(end.taken) == 1)
    await until_seen(root, at, "accepted")
    await root.submit(f"{at}/replay", since="2000-01-01T00:00")
    assert "is sent again" in root.text
    await end.until(lambda: len(end.taken) == 2)
    assert end.taken[0] == end.taken[1]
    for since in ("", "soon"):
        await root.submit(f"{at}/replay", since=since)
        assert root.status == 422
        assert "Since: " in root.text
    assert "sent again from 2000-01-01T00:00:00.000Z" in await root.get(at)
    await root.submit(f"{at}/remove")
    assert "The webhook is removed" in root.text
    assert (await root.get(at), root.status)[1] == 404
    for order_ in ("test", "stop", "enable", "replay", "secret", "remove"):
        await root.get("/webhooks/new")
        await root.submit(f"{at}/{order_}")
        assert root.status == 404


async def test_a_replay_leaves_out_nothing_that_was_not_sent_yet(
    root: Browser, reader: Reader, mail: Mail, end: Endpoint
) -> None:
    """Whoever names a time after what waits does not skip it."""
    at = await added(root, end)
    await root.get(at)
    await root.submit(f"{at}/stop")
    await mail.accept("bob@example.test")
    place = (await reader.webhooks.all())[0].place
    await root.submit(f"{at}/replay", since="2999-01-01T00:00")
    assert (await reader.webhooks.all())[0].place == place


async def test_a_former_secret_signs_along(root: Browser, reader: Reader, end: Endpoint) -> None:
    """Whoever still has the former secret takes what comes, and so does who has the new one."""
    at = await added(root, end)
    former = end.secret
    for _ in range(2):
        await root.get(at)
        await root.submit(f"{at}/secret")
        new = secret_of(root)
        assert new != former
        for known in (former, new):
            end.secret = known
            await root.get(at)
            await root.submit(f"{at}/test")
            assert "It took the test" in root.text
    assert "signs along until" in root.text
    (hook,) = await reader.webhooks.all()
    assert len(hook.secrets(0)) == 3
    assert hook.secrets(max(one.until_ms for one in hook.former)) == (new,)


async def test_what_is_not_taken_is_shown_with_its_next_try(root: Browser, mail: Mail, end: Endpoint) -> None:
    at = await added(root, end)
    end.answer = lambda _: 503
    await mail.accept("bob@example.test")
    await end.until(lambda: end.called == 1)
    await until_seen(root, f"{at}?show=failed", "accepted")
    text = " ".join((await root.get(at)).split())
    assert "It has taken nothing since it first failed" in text
    assert "Next try" in text
    assert "it is stopped" in text
    assert "1 event to be sent again" in text
    text = await root.get("/webhooks")
    assert "Failing" in text


async def test_those_alone_who_may_see_them(server: ReportServer, root: Browser, end: Endpoint) -> None:
    at = await added(root, end)
    for name in ("vera", "ann"):
        async with browsing(server) as other:
            await other.log_in(name)
            for path in ("/webhooks", "/webhooks/new", at):
                assert (await other.get(path), other.status)[1] == 403
            await other.get("/log")
            await other.submit(f"{at}/remove")
            assert other.status == 403
            assert "Webhooks" not in await other.get("/log")
    for order_ in ("test", "stop", "enable", "replay", "secret", "remove"):
        await root.post(f"{at}/{order_}", {"form_token": "0" * 64})
        assert root.status == 403
    await root.post("/webhooks/new", {"form_token": "0" * 64, "url": end.url, "which": "all"})
    assert root.status == 403


async def test_whom_the_scope_is_given_has_to_do_with_own_ones_alone(
    server: ReportServer, root: Browser, reader: Reader, mail: Mail, end: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sender sees, in the browser and by the API, is own; that does not hang on the table of roles."""
    more = {Role.SENDER: SCOPES[Role.SENDER] | {Scope.WEBHOOKS}}
    monkeypatch.setattr(sessions, "SCOPES", {**SCOPES, **more})
    all_mail, own = await added(root, end), await added(root, end, user="ann")
    async with browsing(server) as ann:
        await ann.log_in("ann")
        await ann.get("/webhooks")
        assert [link for link in ann.links() if "/webhooks/wh_" in link] == [own]
        assert "Whose mail" not in await ann.get("/webhooks/new")
        await ann.submit("/webhooks/new", url=end.url, which="all", user="root")
        assert ann.status == 200
        await ann.get(own)
        await ann.submit(f"{all_mail}/remove")
        assert ann.status == 404
    assert sorted(hook.user or "" for hook in await reader.webhooks.all()) == ["", "ann", "ann"]
    async with program(server, await add_token(mail.store, "ann", Role.SENDER)) as prog:
        _, told = await prog.get("/webhooks")
        assert [one["user"] for one in told["webhooks"]] == ["ann", "ann"]
        assert (await prog.get(all_mail))[0] == 404
        assert (await prog.post("/webhooks", {"url": end.url, "user": "root"}))[0] == 422
        status, made = await prog.post("/webhooks", {"url": end.url})
        assert (status, made["user"]) == (201, "ann")


async def test_addresses_that_are_none_are_answered_in_sentences(root: Browser, end: Endpoint) -> None:
    at = await added(root, end)
    for path in ("/webhooks/%00", "/webhooks/%F0%9F%92%A9", "/webhooks/%22%3E%3Cb%3E", f"/webhooks/{'x' * 3000}"):
        assert (await root.get(path), root.status)[1] == 404
    for query in ("?show=x&done=x", "?done=tested", "?show=%00"):
        assert (await root.get(at + query), root.status)[1] == 200
    assert "its answer is not kept" in await root.get(f"{at}?done=tested")
    for since, status in (("0001-01-01T00:00+14:00", 200), ("0001-01-01T00:00", 422), ("1969-01-01T00:00Z", 200)):
        await root.get(at)
        assert (await root.submit(f"{at}/replay", since=since), root.status)[1] == status
    await root.get("/webhooks/new")
    for fields in ({"url": "x" * 5000}, {"url": "https://x.test/\0"}, {"url": end.url, "user": "\0"}, {}):
        assert (await root.submit("/webhooks/new", which="all", **fields), root.status)[1] == 422


async def test_who_stopped_it_has_the_last_word(mail: Mail, reader: Reader) -> None:
    """What comes of calls that were under way does not hide why an endpoint was stopped."""
    hook = Webhook("wh_1", "https://x.test/", "whsec_x", frozenset(), None, 0, Place(0, 0))
    await mail.store.webhooks.add(hook, "root")
    await mail.store.webhooks.stop("wh_1", START, "ann")
    await mail.store.webhooks.tell(Told("wh_1", hook.place, hook.place, 5, "503", taken_ms=7, next_ms=9))
    one = await reader.webhooks.one("wh_1")
    assert one
    assert (one.note, one.failing_ms, one.next_ms, one.stopped_ms) == ("stopped by ann", None, None, START)
    assert [(each.change, each.actor) for each in await reader.webhooks.changes("wh_1", 9)] == [
        ("stopped", "ann"),
        ("added", "root"),
    ]


async def test_hostile_words_are_shown_and_not_obeyed(root: Browser, mail: Mail, end: Endpoint) -> None:
    at = await added(root, end, url=f"{end.url}?x=%3Cb%3E")
    id_ = at.rpartition("/")[2]
    bad = HookAttempt(START, 5, "recipient.<i>", Place(1, 0), 7, 500, "500 <script>alert(1)</script>", 1)
    await mail.store.webhooks.tried(id_, bad)
    await root.get(at)
    assert "<script>alert" not in root.text
    assert "alert(1)" in root.text
    assert "&lt;i&gt;" in root.text


async def test_more_of_what_is_kept_is_shown_when_asked_for(root: Browser, mail: Mail, end: Endpoint) -> None:
    at = await added(root, end)
    for number in range(ROWS + 3):
        call = HookAttempt(number, 1, "test", None, None, 500, "500", 1)
        await mail.store.webhooks.tried(at.rpartition("/")[2], call)
    assert "It did not take the test" in await root.get(f"{at}?done=tested")
    await root.get(f"{at}?show=failed")
    assert root.text.count('class="event"') == ROWS
    (link,) = [link for link in root.links() if "all=1" in link]
    await root.get(link)
    assert root.text.count('class="event"') == ROWS + 3
    assert "all=1" not in root.text


async def test_the_last_calls_are_kept_and_no_more(mail: Mail, reader: Reader) -> None:
    """However much is taken, what was not taken stays to be seen; and both are bounded."""
    hook = Webhook("wh_1", "https://x.test/", "whsec_x", frozenset(), None, 0, Place(0, 0))
    await mail.store.webhooks.add(hook, "root")
    for number in range(KEPT_FAILED + 20):
        for status in (204, 500):
            call = HookAttempt(number, 1, "test", None, None, status, str(status), 1)
            await mail.store.webhooks.tried("wh_1", call)
    some = await reader.webhooks.attempts("wh_1", 1000)
    assert sum(one.taken for one in some) == KEPT_TAKEN
    assert [one.at_ms for one in some] == sorted((one.at_ms for one in some), reverse=True)
    failed = await reader.webhooks.attempts("wh_1", 1000, failed=True)
    assert [one.at_ms for one in failed] == list(range(KEPT_FAILED + 19, 19, -1))
    await mail.store.webhooks.remove("wh_1")
    assert await reader.webhooks.attempts("wh_1", 10) == []
    await mail.store.webhooks.tried("wh_1", some[0])
    assert await reader.webhooks.attempts("wh_1", 10) == []


async def test_the_api_tells_of_calls_and_makes_new_secrets(server: ReportServer, mail: Mail, end: Endpoint) -> None:
    async with program(server, await add_token(mail.store)) as prog:
        _, made = await prog.post("/webhooks", {"url": end.url})
        end.secret = made["secret"]
        at = f"/webhooks/{made['id']}"
        end.answer = lambda _: 404
        await prog.ask("POST", f"{at}/test")
        status, told = await prog.get(f"{at}/attempts", failed="true")
        assert status == 200
        (one,) = told["attempts"]
        assert (one["type"], one["taken"], one["status"], one["event"], one["tries"]) == ("test", False, 404, None, 1)
        _, rotated = await prog.ask("POST", f"{at}/secret")
        assert rotated["secret"] != made["secret"]
        assert rotated["former_until"]
        assert (await prog.ask("POST", "/webhooks/none/secret"))[0] == 404
        status, changed = await prog.ask("PATCH", at, json={"types": ["recipient.opened"]})
        assert (status, changed["url"], changed["types"]) == (200, end.url, ["recipient.opened"])
        assert (await prog.ask("PATCH", at, json={"types": []}))[1]["types"] == []
        assert (await prog.ask("PATCH", at, json={"url": "ftp://x"}))[0] == 422
        assert (await prog.ask("PATCH", "/webhooks/none", json={}))[0] == 404
        status, problem = await prog.post("/webhooks", {"url": end.url, "types": ["recipient.bounce"]})
        assert status == 422
        assert 'did you mean "bounced"?' in problem["errors"][0]["detail"]
        _, problem = await prog.post("/webhooks", {"url": end.url, "types": ["soft-bounced"]})
        assert 'did you mean "recipient.soft_bounced"?' in problem["errors"][0]["detail"]


def test_every_type_has_its_sentence() -> None:
    assert {type_ for some in TYPES.values() for type_ in some} == set(EventType)


def test_what_statuses_tell() -> None:
    assert "nothing at this address" in hint(404)
    assert "redirects" in hint(302)
    assert "does not accept" in hint(422)
    assert "failed itself" in hint(599)
    assert hint(100)
    assert hint(0) == hint(999) == ""


@pytest.mark.parametrize(
    ("hook", "waiting", "state", "next_ms"),
    [
        ({}, {}, State.NEW, None),
        ({"taken_ms": 1}, {"events": 1, "due_ms": 9}, State.GOING, 9),
        ({"failing_ms": 1, "next_ms": 5}, {"due_ms": 9}, State.FAILING, 9),
        ({"failing_ms": 1, "next_ms": 5}, {"due_ms": 9, "since_ms": 1}, State.FAILING, 5),
        ({"failing_ms": 1, "next_ms": 5}, {}, State.FAILING, None),
        ({"stopped_ms": 1, "failing_ms": 1, "next_ms": 5}, {"due_ms": 9}, State.STOPPED, None),
    ],
)
def test_how_it_goes(hook: dict[str, int], waiting: dict[str, int], state: State, next_ms: int | None) -> None:
    made = Webhook("wh_1", "https://x.test/", "whsec_x", frozenset(), None, 0, Place(0, 0), **hook)  # type: ignore[arg-type]
    assert state_of(made) is state
    assert next_try_ms(made, Waiting(**waiting)) == next_ms

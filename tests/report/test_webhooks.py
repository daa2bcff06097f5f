"""report/hooks: what comes to an endpoint, again and at last, and never to private addresses; and its API."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from report.hooks import sender, signing, wire
from report.hooks.sender import Sender
from report.hooks.target import wrong_url
from report.hooks.wire import Wire
from report.settings import WebhookSettings
from storage.reader import Reader
from storage.status import Event
from storage.webhook_model import Webhook
from tests.report.asking import Program, add_token, program, serving
from tests.report.hooking import Endpoint, endpoint
from tests.report.mailing import Mail

PRIVATE = WebhookSettings(allow_private=True, timeout=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(sender, "_FIRST_REST", 0.1)
    monkeypatch.setattr(sender, "_LONGEST_REST", 0.2)


@asynccontextmanager
async def sending(mail: Mail, settings: WebhookSettings = PRIVATE, **plugs: Any) -> AsyncIterator[Sender]:
    reader = await Reader.open(mail.state_dir)
    made = Sender(mail.store, reader, settings, mail.state_dir, **plugs)
    made.start()
    try:
        yield made
    finally:
        await made.stop()
        await reader.close()


@pytest.fixture
async def hooked(mail: Mail) -> AsyncIterator[tuple[Endpoint, Program, dict[str, Any]]]:
    token = await add_token(mail.store)
    async with endpoint() as end, serving(mail.state_dir, PRIVATE) as server, program(server, token) as prog:
        status, made = await prog.post("/webhooks", {"url": end.url})
        assert status == 201, made
        end.secret = made["secret"]
        yield end, prog, made


async def test_an_endpoint_is_told_of_all_that_happens_signed(
    hooked: tuple[Endpoint, Program, dict[str, Any]], mail: Mail
) -> None:
    end, prog, made = hooked
    (job,) = await mail.accept("bob@example.test", subject="Grüße")
    await mail.settle(job, Event.DELIVER)
    await mail.hit(job)
    await end.until(lambda: len(end.taken) == 3)
    assert sorted(end.types) == ["accepted", "delivered", "opened"]
    _, told = await prog.get("/events", since="2000-01-01T00:00:00Z")
    assert sorted(event["id"] for event in told["events"]) == sorted(id_ for id_, _ in end.taken)
    assert sorted(told["events"], key=lambda event: event["id"]) == sorted(
        [event for _, event in end.taken], key=lambda event: event["id"]
    )
    _, tried = await prog.ask("POST", f"/webhooks/{made['id']}/test")
    assert tried == {"taken": True, "status": 204, "detail": "204"}
    assert end.taken[-1][1]["type"] == "test"


async def test_an_endpoint_is_told_of_its_types_only(mail: Mail) -> None:
    async with endpoint() as end, serving(mail.state_dir, PRIVATE) as server:
        async with program(server, await add_token(mail.store)) as prog:
            ask = {"url": end.url, "types": ["recipient.bounced", "recipient.failed"]}
            end.secret = (await prog.post("/webhooks", ask))[1]["secret"]
        jobs = await mail.accept("a@x.test", "b@x.test")
        await mail.settle(jobs[0], Event.DELIVER)
        await mail.settle(jobs[1], Event.FAIL)
        await end.until(lambda: len(end.taken) == 1)
        assert end.types == ["failed"]


async def test_what_is_not_taken_comes_again_with_the_same_id(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event that is refused holds up no other, and comes until it is taken."""
    monkeypatch.setattr(signing, "SCHEDULE", (0.1, 0.1, 0.1, 0.1))
    async with endpoint() as end, sending(mail):
        hook = await hook_of(mail, end)
        refused = []

        def answer(event: dict[str, Any]) -> int:
            if event["data"]["recipient"] == "b@x.test" and len(refused) < 3:
                refused.append(event["id"])
                return 500
            return 200

        end.answer = answer
        await mail.accept("a@x.test", "b@x.test", "c@x.test")
        await end.until(lambda: len(end.taken) == 3)
        assert [event["data"]["recipient"] for _, event in end.taken][-1] == "b@x.test"
        assert set(refused) == {end.taken[-1][0]}
        reader = await Reader.open(mail.state_dir)
        await until_none_waits(reader, hook)
        one = await reader.webhooks.one(hook.id)
        assert one
        assert (one.failing_ms, one.note) == (None, "")
        await reader.close()


async def until_none_waits(reader: Reader, hook: Webhook) -> None:
    async with asyncio.timeout(5):
        while (await reader.webhooks.waiting([hook.id]))[0].events:  # noqa: ASYNC110 - another process's writing is seen by asking
            await asyncio.sleep(0.01)


async def until_failing(reader: Reader, hook: Webhook) -> None:
    async with asyncio.timeout(10):
        while (one := await reader.webhooks.one(hook.id)) is None or one.failing_ms is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


async def until_stopped(reader: Reader, hook: Webhook) -> Webhook:
    async with asyncio.timeout(10):
        while (one := await reader.webhooks.one(hook.id)) is None or one.active:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    return one


async def hook_of(mail: Mail, end: Endpoint, url: str | None = None) -> Webhook:
    end.secret = signing.new_secret(b"s" * 32)
    reader = await Reader.open(mail.state_dir)
    hook = Webhook("wh_1", url or end.url, end.secret, frozenset(), None, 0, await reader.feed.end())
    await mail.store.webhooks.add(hook, "root")
    await reader.close()
    return hook


async def test_an_event_is_given_up_in_the_end(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "SCHEDULE", (0.05, 0.05))
    async with endpoint() as end, sending(mail):
        hook = await hook_of(mail, end)
        end.answer = lambda event: 400 if event["data"]["recipient"] == "b@x.test" else 200
        await mail.accept("a@x.test", "b@x.test")
        await end.until(lambda: end.called == 4)
        reader = await Reader.open(mail.state_dir)
        await until_none_waits(reader, hook)
        await reader.close()


async def test_a_dead_endpoint_is_stopped_and_goes_on_where_it_was(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost between the stop and the order to go on."""
    monkeypatch.setattr(signing, "SCHEDULE", (0.1,) * 50)
    now = [1_000_000]
    async with endpoint() as end, sending(mail, now_ms=lambda: now[0]):
        hook = await hook_of(mail, end)
        end.answer = lambda _: 503
        await mail.accept("a@x.test", "b@x.test", "c@x.test")
        await end.until(lambda: end.called >= 3)
        reader = await Reader.open(mail.state_dir)
        await until_failing(reader, hook)
        now[0] += PRIVATE.stop_after * 1000 + 1000
        one = await until_stopped(reader, hook)
        assert "took nothing for 95 hours (503)" in one.note
        await mail.accept("d@x.test")
        end.answer = lambda _: 200
        await mail.store.webhooks.enable(hook.id, now[0], "root")
        now[0] += 1000
        await end.until(lambda: {event["data"]["recipient"][0] for _, event in end.taken} == set("abcd"))
        await reader.close()


async def test_an_endpoint_that_is_gone_is_stopped_at_once(mail: Mail) -> None:
    async with endpoint() as end, sending(mail):
        hook = await hook_of(mail, end)
        end.answer = lambda _: 410
        await mail.accept("a@x.test")
        reader = await Reader.open(mail.state_dir)
        one = await until_stopped(reader, hook)
        assert "gone" in one.note
        await reader.close()


async def test_a_killed_sender_sends_again_and_leaves_nothing_out(mail: Mail) -> None:
    """Whatever ended between an event and the word that it was sent: it comes again."""
    async with endpoint() as end:
        hook = await hook_of(mail, end)
        await mail.accept(*[f"{n}@x.test" for n in range(30)])
        async with sending(mail):
            await end.until(lambda: len(end.taken) >= 3)
        async with sending(mail):
            await end.until(lambda: len({id_ for id_, _ in end.taken}) == 30)
        assert hook


async def test_one_sender_of_many_sends(mail: Mail) -> None:
    async with endpoint() as end, sending(mail), sending(mail):
        await hook_of(mail, end)
        await mail.accept(*[f"{n}@x.test" for n in range(20)])
        await end.until(lambda: len(end.taken) == 20)
        await asyncio.sleep(0.3)
        assert len(end.taken) == 20


async def test_events_are_sent_again_from_a_time_on(
    hooked: tuple[Endpoint, Program, dict[str, Any]], mail: Mail
) -> None:
    end, prog, made = hooked
    await mail.accept("a@x.test")
    await end.until(lambda: len(end.taken) == 1)
    status, _ = await prog.post(f"/webhooks/{made['id']}/replay", {"since": "2000-01-01T00:00:00Z"})
    assert status == 200
    await end.until(lambda: len(end.taken) == 2)
    assert end.taken[0] == end.taken[1]
    assert (await prog.post(f"/webhooks/{made['id']}/replay", {}))[0] == 422
    assert (await prog.post("/webhooks/none/replay", {"after": "1-0"}))[0] == 404


async def test_webhooks_are_shown_stopped_and_removed(
    hooked: tuple[Endpoint, Program, dict[str, Any]], mail: Mail
) -> None:
    end, prog, made = hooked
    _, all_ = await prog.get("/webhooks")
    assert [one["id"] for one in all_["webhooks"]] == [made["id"]]
    assert "secret" not in all_["webhooks"][0]
    _, stopped = await prog.ask("POST", f"/webhooks/{made['id']}/stop")
    assert not stopped["active"]
    await mail.accept("a@x.test")
    await asyncio.sleep(0.3)
    assert not end.taken
    await prog.ask("POST", f"/webhooks/{made['id']}/enable")
    await end.until(lambda: len(end.taken) == 1)
    assert (await prog.ask("DELETE", f"/webhooks/{made['id']}"))[0] == 204
    assert (await prog.get(f"/webhooks/{made['id']}"))[0] == 404
    assert (await prog.post("/webhooks", {"url": end.url, "user": "nobody"}))[0] == 422


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.org/", "expected a URL"),
        ("https://", "expected a URL"),
        ("https://example.org:0/", "expected a URL"),
        ("https://example.org:99999/", "expected a URL"),
        ("https://ann:pw@example.org/", "without a user name"),
        ("https://example.org/#x", "fragment"),
        ("http://example.org/", "expected https"),
        ("https://127.0.0.1/", "not private"),
        ("https://[::1]/", "not private"),
        ("https://[::ffff:10.0.0.1]/", "not private"),
        ("https://[fe80::1%25eth0]/", "not private"),
        ("https://169.254.169.254/latest", "not private"),
        ("https://2130706433/", "not private"),
        ("https://127.1/", "not private"),
        ("https://exa mple.org/", "expected a URL"),
        ("https://example.org/\r\nX: y", "expected a URL"),
    ],
)
def test_urls_that_nothing_is_sent_to(url: str, words: str) -> None:
    assert words in (wrong_url(url, allow_private=False) or "")


def test_urls_that_may_be_used() -> None:
    assert wrong_url("https://example.org:8443/hook?x=1", allow_private=False) is None
    assert wrong_url("http://127.0.0.1:1/", allow_private=True) is None


@pytest.mark.parametrize("name", ["localhost", "0x7f000001", "rebind.test"])
async def test_a_name_that_leads_to_a_private_address_is_not_called(
    mail: Mail, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a name led to before, the addresses that are connected to are looked at."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def found(host: str, port: int, **more: Any) -> Any:
        return await real("127.0.0.1" if host == "rebind.test" else host, port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", found)
    called = Wire(allow_private=False, timeout_seconds=2)
    async with endpoint() as end:
        port = end.url.rpartition(":")[2]
        answer = await called.post(f"http://{name}:{port}", (signing.new_secret(b"s" * 32),), "evt", b"{}")
        assert answer.status == 0
        assert "private" in answer.words
        assert not end.called
    await called.close()


async def test_redirects_are_not_followed(mail: Mail) -> None:
    called = wire.Wire(allow_private=True, timeout_seconds=2)
    async with endpoint() as end, endpoint() as other:
        end.secret = other.secret = signing.new_secret(b"s" * 32)
        end.answer, end.headers = lambda _: 307, {"Location": other.url}
        answer = await called.post(end.url, (end.secret,), "evt", b"{}")
        assert (answer.status, answer.taken) == (307, False)
        assert not other.called
    await called.close()


async def test_an_endpoint_that_says_nothing_is_left_in_time(mail: Mail) -> None:
    called = wire.Wire(allow_private=True, timeout_seconds=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        answer = await called.post(url, (signing.new_secret(b"s" * 32),), "evt", b"{}")
        assert answer == wire.Answer(0, "no answer in time")
    answer = await called.post(url, (signing.new_secret(b"s" * 32),), "evt", b"{}")
    assert answer.status == 0
    await called.close()

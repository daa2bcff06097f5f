"""Unsubscribing: one click, a page, and what it does to copies that come later or wait already."""

import asyncio
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path

import pytest

from pixel.server import PixelServer
from pixel.settings import PixelSettings
from pixel.unsubscribe_page import Wish, page_of
from storage.broadcast_model import Subscription
from storage.model import BodyType, Job, LogFilter, LogRow, Message, NewRecipient
from storage.people import ALL_TYPES, POLICY, Unsubscription
from storage.reader import Reader
from storage.secret import load_secret
from storage.settings import ServerSettings
from storage.status import Event, Status
from storage.store import Store
from storage.token import Purpose, TokenBox
from storage.tracking import TrackingSettings
from storage.unsubscribe_link import UnsubscribeBox
from tests.storage.makers import BUSY, DAY, NOW, result

ONE_CLICK = b"List-Unsubscribe=One-Click"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


class Site:
    """A real store and pixel server."""

    def __init__(self, state_dir: Path, store: Store, reader: Reader, server: PixelServer) -> None:
        self.store = store
        self.reader = reader
        self.server = server
        self.box = UnsubscribeBox(load_secret(state_dir))

    async def accept(self, address: str, type_: str | None = "general", *, leased: bool = True) -> list[Job]:
        message = Message(
            self.store.next_id(), NOW, "a@sender.test", BodyType.SEVEN_BIT, False, 1, b"", broadcast_type=type_,
            from_header="News <news@sender.test>",
        )  # fmt: skip
        people = [NewRecipient(self.store.next_id(), address, address.rpartition("@")[2])]
        return await self.store.accept(message, b"x", people, lifetime_ms=5 * DAY, leased=leased)

    async def ask(self, path: str, method: str = "GET", headers: str = "", body: bytes = b"") -> bytes:
        endpoint = self.server.addresses[0]
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        )
        writer.write(head.encode() + body)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def post(self, job: Job, body: bytes = ONE_CLICK, headers: str = FORM) -> bytes:
        return await self.ask(self.path(job), "POST", headers, body)

    async def get(self, job: Job) -> bytes:
        return await self.ask(self.path(job))

    def path(self, job: Job) -> str:
        return f"/u/{self.box.seal(job.recipient_id, job.message.broadcast_type or '', job.address)}"

    async def rows(self) -> list[LogRow]:
        return list(reversed(await self.reader.log(LogFilter(), limit=100)))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    store = await Store.open(tmp_path, POLICY)
    reader = await Reader.open(tmp_path)
    listen = PixelSettings(listen=("127.0.0.1:0",))  # type: ignore[arg-type]  # read by the validator
    server = PixelServer(listen, TrackingSettings(), ServerSettings(state_dir=tmp_path), POLICY)
    await server.start()
    yield Site(tmp_path, store, reader, server)
    await server.drain()
    await reader.close()
    await store.close()


async def test_one_click_keeps_the_type_away_and_nothing_else(site: Site) -> None:
    """RFC 8058, 3.2: a POST, without a page in between."""
    (job,) = await site.accept("bob@there.test")
    answer = await site.post(job)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"You are unsubscribed" in answer
    assert await site.accept("bob@there.test") == []
    assert len(await site.accept("bob@there.test", "emergency")) == 1
    assert len(await site.accept("bob@there.test", None)) == 1
    assert len(await site.accept("eve@there.test")) == 1
    row = (await site.rows())[1]
    assert row.status is Status.NO_EMAIL_SELECTED
    assert row.diagnostic.startswith("unsubscribed from general mail")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_nothing_but_a_post_changes_anything(site: Site, method: str) -> None:
    """Scanners and previews follow each link of a message."""
    (job,) = await site.accept("bob@there.test")
    answer = await site.ask(site.path(job), method)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(await site.accept("bob@there.test")) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", ""),
        (ONE_CLICK, FORM),
        (b"wish=nonsense", FORM),
        (b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\ny\r\n--b--", "Content-Type: multipart/form-data\r\n"),
        (b"\xff%zz=&&=" + b"&a=b" * 900, FORM),
    ],
)  # fmt: skip
async def test_any_other_post_is_the_one_click(site: Site, body: bytes, headers: str) -> None:
    (job,) = await site.accept("bob@there.test")
    assert (await site.post(job, body, headers)).startswith(b"HTTP/1.1 200 ")
    assert await site.accept("bob@there.test") == []


async def test_from_all_types_and_back(site: Site) -> None:
    (job,) = await site.accept("bob@there.test")
    await site.post(job)
    assert b"whatever their type" in await site.post(job, b"wish=all")
    assert await site.accept("bob@there.test", "weekly") == []
    assert b"no more mail of the type" in await site.post(job, b"wish=undo-all")
    assert len(await site.accept("bob@there.test", "weekly")) == 1
    assert await site.accept("bob@there.test") == []  # what was left before stays so
    assert b"<h1>Unsubscribe</h1>" in await site.post(job, b"wish=undo-type")
    assert len(await site.accept("bob@there.test")) == 1


async def test_what_an_operator_noted_no_link_takes_back(site: Site) -> None:
    """A copy is forwarded, and its link with it: whoever has it may say no for the address, and yes only to that."""
    (job,) = await site.accept("bob@there.test")
    for type_, wish in (("general", b"wish=undo-type"), (ALL_TYPES, b"wish=undo-all")):
        await site.store.contacts.unsubscribe([Unsubscription("bob@there.test", type_, 1, "operator")])
        answer = await site.post(job, wish)
        assert b"<h1>You are unsubscribed</h1>" in answer
        assert b">Undo<" not in answer
    assert await site.accept("bob@there.test", "weekly") == []


async def test_what_waits_in_the_queue_does_not_go_out(site: Site) -> None:
    """Unsent becomes No Email Selected; what was tried before is Bounced, and what is being tried goes on."""
    (tried,) = await site.accept("bob@there.test")
    await site.store.settle(result(tried, Event.DEFER, BUSY))
    await site.accept("Bob@there.test", leased=False)
    await site.accept("bob@there.test", "emergency", leased=False)
    await site.accept("bob@there.test", None, leased=False)
    await site.accept("bobby@there.test", leased=False)
    (under_way,) = await site.accept("bob@there.test")
    await site.post(under_way)
    unsent = Status.UNSENT
    assert [row.status for row in await site.rows()] == [
        Status.BOUNCED, Status.NO_EMAIL_SELECTED, unsent, unsent, unsent, unsent,
    ]  # fmt: skip
    assert [row.diagnostic for row in await site.rows()][:2] == ["unsubscribed before it was sent"] * 2


async def test_a_link_that_is_not_ours_is_told_so(site: Site) -> None:
    (job,) = await site.accept("bob@there.test", None)
    secret = load_secret(site.server._server.state_dir)
    foreign, own = (TokenBox(secret, purpose) for purpose in (Purpose.PIXEL, Purpose.UNSUBSCRIBE))
    tokens = foreign.seal(job.recipient_id), "", "x", own.seal(4711), own.seal(job.recipient_id)
    for path in (*(f"/u/{token}" for token in tokens), f"{site.path(job)}x"):
        for method in ("GET", "POST"):
            answer = await site.ask(path, method)
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert b"This link is not known" in answer


async def test_a_link_works_when_the_log_has_forgotten_its_copy(site: Site) -> None:
    """RFC 8058 asks for no less than weeks, and people keep mail for years."""
    (job,) = await site.accept("bob@there.test")
    await site.store.settle(result(job, Event.DELIVER))
    assert await site.store.purge(NOW + DAY) == 1
    asked = await site.get(job)
    assert b"Shall <strong>bob@there.test</strong> get no more mail of the type" in asked
    assert b"You are unsubscribed" in await site.post(job)
    await site.accept("bob@there.test")
    await site.accept("bob@there.test", "weekly")
    assert [row.status for row in await site.rows()] == [Status.NO_EMAIL_SELECTED, Status.UNSENT]
    assert b"<h1>Unsubscribe</h1>" in await site.post(job, b"wish=undo-type")


async def test_where_the_store_fails_the_person_is_asked_to_come_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = await site.accept("bob@there.test")
    await site.server._opened.aclose()
    await site.server.start()
    store = site.server._running.handler._pages._store  # type: ignore[union-attr]
    await store.close()
    answer = await site.post(job)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Nothing was changed" in answer
    assert len(await site.accept("bob@there.test")) == 1


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value or "" for name, value in attrs if (tag, name) == ("button", "value")]


@pytest.mark.parametrize(
    ("left", "wishes"),
    [
        (frozenset(), [Wish.TYPE, Wish.ALL]),
        ({"other"}, [Wish.TYPE, Wish.ALL]),
        ({"general"}, [Wish.UNDO_TYPE, Wish.ALL]),
        ({ALL_TYPES, "general"}, [Wish.UNDO_ALL]),
    ],
)
def test_the_page_offers_what_can_be_asked_for(left: frozenset[str], wishes: list[Wish]) -> None:
    evil = "<script>alert(1)</script>"
    answer = page_of(Subscription(1, f'"{evil}"@x.test', "general", evil, frozenset(left)))
    outline = _Outline()
    outline.feed(answer.body.decode())
    assert answer.status is HTTPStatus.OK
    assert outline.values == wishes
    assert outline.tags.count("h1") == 1
    assert "script" not in outline.tags

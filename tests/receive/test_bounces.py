"""relay/receive/bounces.py: port 25 takes what comes back to our return paths, and is no relay."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from relay.receive.listener import BounceListener
from relay.receive.settings import BounceSettings
from relay.receive.tls import server_context
from storage.settings import ServerSettings
from storage.store import StoreFullError
from storage.token import Purpose, TokenBox
from tests.receive.conftest import HOST, Talk

BOX = TokenBox(b"k" * 32, Purpose.RETURN_PATH)
OURS = BOX.seal(42)
DSN = b"From: MAILER-DAEMON\r\nSubject: failed\r\n\r\nbare\rand\nbare\r\n.\r\n"
STUFFED = DSN.replace(b"\r\n.\r\n", b"\r\n..\r\n")


class Desk:
    """Takes bounce messages: the worker's side of the seam."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, int | None, str]] = []
        self.failure: Exception | None = None
        self.full = False

    async def take(self, raw: bytes, recipient_id: int | None, sender: str) -> bool:
        if self.failure:
            raise self.failure
        self.taken.append((raw, recipient_id, sender))
        return not self.full


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def talk(desk: Desk, tmp_path: Path) -> AsyncIterator[Talk]:
    settings = BounceSettings(listen=cast("Any", ("127.0.0.1:0",)), domain="Bounce.Example", max_message_bytes=10_000)
    server = ServerSettings(hostname=HOST, state_dir=tmp_path)
    tls = server_context(None, None, tmp_path, HOST)
    listener = BounceListener(settings, server, BOX.open, desk.take, tls)
    await listener.start()
    endpoint = listener.addresses[0]
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(listener.drain, 0)
        talk = Talk(*await asyncio.open_connection(endpoint.host, endpoint.port))
        stack.push_async_callback(talk.close)
        yield talk


@pytest.mark.parametrize(
    ("sender", "kept"),
    [
        ("<>", ""),
        ("<mailer-daemon@b.example>", "mailer-daemon@b.example"),
        ("<MAILER-DAEMON>", ""),
        ("<x@[192.0.2.1]>", ""),
        ("<a..b@c.example>", ""),
    ],
)
async def test_a_bounce_message_is_stored_as_it_came(talk: Talk, desk: Desk, sender: str, kept: str) -> None:
    await talk.greet()
    assert (await talk(f"MAIL FROM:{sender}")).startswith("250 2.1.0 ")
    assert (await talk(f"RCPT TO:<{OURS}@bounce.example>")).startswith("250 2.1.5 ")
    assert (await talk.message(STUFFED)).startswith("250 2.0.0 ")
    assert desk.taken == [(DSN, 42, kept)]


async def test_some_servers_fold_the_letters_of_an_address(talk: Talk, desk: Desk) -> None:
    await talk.greet()
    await talk("MAIL FROM:<>")
    assert (await talk(f"RCPT TO:<{OURS.upper()}@BOUNCE.example>")).startswith("250 ")
    assert (await talk.message(STUFFED)).startswith("250 ")
    assert [recipient_id for _, recipient_id, _ in desk.taken] == [42]


@pytest.mark.parametrize("sender", ["<>", "<ann@a.example>", f"<{OURS}@bounce.example>"])
@pytest.mark.parametrize(
    "recipient",
    [
        "bob@b.example",
        "bob@bounce.example",
        "postmaster@relay.example",
        "postmaster@sub.bounce.example",
        "postmaster+x@bounce.example",
        "abuse@relay.example",
        f"{OURS}@relay.example",
        f"{OURS}x@bounce.example",
        f"{OURS}@sub.bounce.example",
        f"@bounce.example:{OURS}@b.example",
        f"{TokenBox(b'k' * 32, Purpose.PIXEL).seal(42)}@bounce.example",
        f"{TokenBox(b'x' * 32, Purpose.RETURN_PATH).seal(42)}@bounce.example",
        f'"{OURS}"@bounce.example',
        "bob%b.example@bounce.example",
    ],
)
async def test_nothing_else_is_taken(talk: Talk, desk: Desk, sender: str, recipient: str) -> None:
    await talk.greet()
    assert (await talk(f"MAIL FROM:{sender}")).startswith("250 ")
    assert (await talk(f"RCPT TO:<{recipient}>")).startswith("550 5.1.1 ")
    assert (await talk("DATA")).startswith("554 5.5.1 ")
    assert desk.taken == []


@pytest.mark.parametrize(
    "recipient",
    ["postmaster@bounce.example", "PostMaster@BOUNCE.example", "Postmaster", "<@b.example:postmaster@bounce.example>"],
)
async def test_postmaster_takes_bounces_that_lost_their_return_path(talk: Talk, desk: Desk, recipient: str) -> None:
    """RFC 5321, 4.5.1, with the null sender only."""
    await talk.greet()
    path = recipient if recipient.startswith("<") else f"<{recipient}>"
    assert (await talk("MAIL FROM:<>")).startswith("250 ")
    assert (await talk(f"RCPT TO:{path}")).startswith("250 2.1.5 ")
    assert (await talk("RCPT TO:<postmaster@bounce.example>")).startswith("250 2.1.5 ")
    assert (await talk.message(STUFFED)).startswith("250 2.0.0 ")
    assert desk.taken == [(DSN, None, "")]


@pytest.mark.parametrize("sender", ["<ann@a.example>", f"<{OURS}@bounce.example>", "<mailer-daemon@b.example>"])
@pytest.mark.parametrize("recipient", ["postmaster@bounce.example", "Postmaster"])
async def test_postmaster_takes_nothing_else(talk: Talk, desk: Desk, sender: str, recipient: str) -> None:
    await talk.greet()
    await talk(f"MAIL FROM:{sender}")
    assert (await talk(f"RCPT TO:<{recipient}>")).startswith("550 5.1.1 ")


async def test_nobody_logs_in_here(talk: Talk) -> None:
    assert "AUTH" not in await talk.greet()
    assert (await talk("AUTH PLAIN AGFubgBzZWNyZXQ=")).startswith("502 5.5.1 ")
    await talk.starttls()
    assert "AUTH" not in await talk("EHLO client.example")
    assert (await talk("AUTH PLAIN AGFubgBzZWNyZXQ=")).startswith("502 5.5.1 ")


async def test_one_message_to_several_return_paths(talk: Talk, desk: Desk) -> None:
    await talk.greet()
    await talk("MAIL FROM:<>")
    for number in (1, 2, 2):
        assert (await talk(f"RCPT TO:<{BOX.seal(number)}@bounce.example>")).startswith("250 ")
    assert (await talk.message(STUFFED)).startswith("250 ")
    assert [recipient_id for _, recipient_id, _ in desk.taken] == [1, 2]


async def test_but_not_to_many(talk: Talk) -> None:
    await talk.greet()
    await talk("MAIL FROM:<>")
    replies = [(await talk(f"RCPT TO:<{BOX.seal(number)}@bounce.example>"))[:9] for number in range(11)]
    assert replies == ["250 2.1.5"] * 10 + ["452 4.5.3"]


@pytest.mark.parametrize(
    ("failure", "reply"), [(OSError("the disk is gone"), "451 4.3.0 "), (StoreFullError(), "452 4.3.1 ")]
)
async def test_what_could_not_be_stored_is_not_promised(
    talk: Talk, desk: Desk, caplog: pytest.LogCaptureFixture, failure: Exception, reply: str
) -> None:
    desk.failure = failure
    await talk.greet()
    await talk("MAIL FROM:<>")
    await talk(f"RCPT TO:<{OURS}@bounce.example>")
    assert (await talk.message(STUFFED)).startswith(reply)
    assert "the disk is gone" in caplog.text or "event=store-full" in caplog.text
    assert (await talk("DATA")).startswith("503 ")


async def test_a_bounce_message_has_a_size_too(talk: Talk) -> None:
    assert "SIZE 10000" in await talk.greet()
    assert (await talk("MAIL FROM:<> SIZE=10001")).startswith("552 5.3.4 ")
    await talk("MAIL FROM:<>")
    await talk(f"RCPT TO:<{OURS}@bounce.example>")
    assert (await talk.message(b"x" * 10_001 + b"\r\n")).startswith("552 5.3.4 ")


async def test_a_malformed_sender_is_refused_all_the_same(talk: Talk) -> None:
    await talk.greet()
    for argument in ("FROM:x", "FROM:<a\x01b>", "FROM:<> SIZE=x"):
        assert (await talk(f"MAIL {argument}")).startswith("501 5.5.4 ")


@pytest.mark.parametrize(
    ("local_part", "reply"),
    [
        (OURS, "552 5.2.2 Enough has come back to this address"),
        ("postmaster", "452 4.3.1 Too much mail at once, try again later"),
    ],
)
async def test_what_there_is_no_room_for_is_refused(talk: Talk, desk: Desk, local_part: str, reply: str) -> None:
    desk.full = True
    await talk.greet()
    await talk("MAIL FROM:<>")
    await talk(f"RCPT TO:<{local_part}@bounce.example>")
    assert await talk.message(STUFFED) == reply

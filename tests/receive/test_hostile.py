"""Streams that no RFC knows: no session fails on them, and nothing is left behind."""

import asyncio
import random

import pytest

from tests.receive.conftest import CONTENT, Place, Talk, until

FRAGMENTS = [
    b"EHLO x", b"HELO", b"MAIL FROM:<a@b.example>", b"MAIL FROM:<> SMTPUTF8 SIZE=", b"MAIL FROM:",
    b"RCPT TO:<c@d.example>", b"RCPT TO:<\xc3\xb6@d.example>", b"RCPT TO:<c@d.example> ORCPT=rfc822;",
    b"DATA", b"BDAT 10 LAST", b"RSET", b"NOOP", b"QUIT", b"STARTTLS",
    b"AUTH PLAIN", b"AUTH LOGIN YQ==", b"AUTH PLAIN AGEAYg==", b"*", b".", b"..",
    b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n.\r\n", b"\r\n.\r\n",
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\x16\x03\x01\x02\x00\x01", b"<", b">", b'"', b"\\", b" ", b"=",
    b"x" * 5000, b"From: a@b.example\r\nBcc: c\r\n\r\n", CONTENT,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
async def test_no_stream_of_bytes_makes_a_session_fail(
    place: Place, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    chance = random.Random(seed)
    service = place.listener._service

    async def attack(stream: bytes) -> None:
        endpoint = place.plain if chance.random() < 0.8 else place.secure
        talk = Talk(*await asyncio.open_connection(endpoint.host, endpoint.port))
        try:
            at = 0
            while at < len(stream):
                size = chance.choice([1, 7, 100, 100_000])
                await talk.send(stream[at : at + size])
                at += size
            if chance.random() < 0.5:
                talk.writer.write_eof()
                await talk.reader.read()
        except ConnectionError:
            pass  # it was cut off, as it deserved
        finally:
            talk.writer.transport.abort()

    streams = [
        chance.choice([b"", b"EHLO x\r\n"]) + b"".join(chance.choices(FRAGMENTS, k=chance.randrange(1, 60)))
        for _ in range(40)
    ]
    async with asyncio.timeout(20):
        await asyncio.gather(*[attack(stream) for stream in streams])
    await until(lambda: service.connections.total == 0)
    assert "failed" not in caplog.text.replace("event=tls-failed", "").replace("event=login-failed", "")
    assert (service.budget.used, service.sessions) == (0, set())
    talk = await place.connect()
    await talk.begin()
    assert (await talk.message()).startswith("250 ")


async def test_five_hundred_connections_that_say_nothing_leave_room_for_one_that_does(place: Place) -> None:
    place.limit(max_connections_per_client=600, max_connections=600)
    talks = [await place.connect(greet=False) for _ in range(500)]
    speaking = await place.connect()
    await speaking.begin()
    assert (await speaking.message()).startswith("250 ")
    for talk in talks:
        talk.writer.transport.abort()
    await until(lambda: place.listener._service.connections.total == 1)

"""relay/receive/submission.py: not an open relay, ever; and users who write as themselves."""

import logging
from base64 import b64encode
from typing import Any

import pytest

from relay.receive import replies
from storage.access import Role
from storage.model import User
from tests.receive.conftest import CHEAP, Build, Place


def plain(name: str, password: str, on_behalf_of: str = "") -> str:
    return b64encode(f"{on_behalf_of}\0{name}\0{password}".encode()).decode()


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        [],
        ["AUTH PLAIN " + plain("ann", "wrong")],
        ["AUTH PLAIN " + plain("nobody", "")],
        ["AUTH PLAIN", "*"],
        ["RSET"],
        ["EHLO again"],
        ["HELO again"],
        ["VRFY ann"],
    ],
)
async def test_without_a_proof_nothing_is_taken(strict: Place, tls: bool, said: list[str]) -> None:
    talk = await strict.connect(tls=tls)
    for line in said:
        await talk(line)
    for sender in ("<>", "<ann@a.example>", "<bob@b.example>", "<x@relay.example>", "broken"):
        assert (await talk(f"MAIL FROM:{sender}")).startswith("530 5.7.0 ")
    assert (await talk("RCPT TO:<bob@b.example>")).startswith("503 ")
    assert (await talk("DATA")).startswith("503 ")
    assert await strict.rows() == []


async def test_a_client_without_a_way_to_authenticate_is_told_so(strict: Place) -> None:
    strict.listener._service.tls = None
    talk = await strict.connect(greet=False)
    assert "STARTTLS" not in await talk.greet()
    assert (await talk("STARTTLS")).startswith("454 4.7.0 ")
    assert (await talk("MAIL FROM:<>")).startswith("530 5.7.0 This client may not ")


@pytest.mark.parametrize(
    ("networks", "trusted"),
    [(("127.0.0.0/8",), True), (("127.0.0.2",), False), (("::1",), False), ((), False), (("0.0.0.0/0",), True)],
)
async def test_trusted_networks_need_no_auth(build: Build, networks: tuple[str, ...], trusted: bool) -> None:
    place = await build(trusted_networks=networks)
    talk = await place.connect()
    assert (await talk("MAIL FROM:<>")).startswith("250 " if trusted else "530 5.7.0 ")


@pytest.mark.parametrize(
    ("client", "trusted"),
    [("127.0.0.1", True), ("::ffff:127.0.0.1", True), ("::1", False), ("fe80::1%eth0", True), ("192.0.2.1", False)],
)
async def test_whom_the_networks_hold(build: Build, client: str, trusted: bool) -> None:
    place = await build(trusted_networks=("127.0.0.0/8", "fe80::/10"))
    service = place.listener._service
    assert service.trusts(client) is trusted  # type: ignore[attr-defined]


@pytest.mark.parametrize("starttls", [False, True])
@pytest.mark.parametrize(
    "exchange",
    [
        ["AUTH PLAIN " + plain("ann", "secret")],
        ["AUTH PLAIN " + plain("ann", "secret", "ann")],
        ["AUTH PLAIN", plain("ann", "secret")],
        ["AUTH LOGIN", b64("ann"), b64("secret")],
        ["AUTH LOGIN " + b64("ann"), b64("secret")],
        ["auth login", b64("ann"), b64("secret")],
    ],
)
async def test_a_user_submits(strict: Place, starttls: bool, exchange: list[str]) -> None:
    talk = await strict.connect(tls=not starttls)
    if starttls:
        await talk.starttls()
        assert "AUTH PLAIN LOGIN" in await talk("EHLO client.example")
    *before, last = exchange
    for line in before:
        assert (await talk(line)).startswith("334 ")
    assert await talk(last) == "235 2.7.0 Authentication successful"
    await talk.begin(sender="anyone@x.example")
    assert (await talk.message()).startswith("250 ")
    (job,) = strict.outbox.jobs
    assert job.message.user == "ann"
    assert job.content
    assert b") with ESMTPSA id " in job.content
    assert b"ann\r\n" not in job.content.split(b"From:")[0]


@pytest.mark.parametrize(
    ("exchange", "reply"),
    [
        (["AUTH"], "504 5.5.4 "),
        (["AUTH CRAM-MD5"], "504 5.5.4 "),
        (["AUTH PLAIN =="], "501 5.5.2 "),
        (["AUTH PLAIN ="], "501 5.5.2 "),
        (["AUTH PLAIN " + b64("ann")], "501 5.5.2 "),
        (["AUTH PLAIN " + b64("\0ann\0secret\0more")], "501 5.5.2 "),
        (["AUTH PLAIN not-base64!"], "501 5.5.2 "),
        (["AUTH PLAIN", "not-base64!"], "501 5.5.2 "),
        (["AUTH PLAIN", "*"], "501 5.7.0 "),
        (["AUTH LOGIN", "*"], "501 5.7.0 "),
        (["AUTH LOGIN", b64("ann"), "*"], "501 5.7.0 "),
        (["AUTH LOGIN not-base64!"], "501 5.5.2 "),
        (["AUTH PLAIN " + plain("ann", "wrong")], "535 5.7.8 "),
        (["AUTH PLAIN " + plain("ann", "secret", "bob")], "535 5.7.8 "),
        (["AUTH LOGIN", b64("ann"), b64("wrong")], "535 5.7.8 "),
        (["AUTH LOGIN =", b64("secret")], "535 5.7.8 "),
        (["AUTH PLAIN " + b64encode(b"\0\xff\0\xfe").decode()], "535 5.7.8 "),
    ],
)
async def test_an_exchange_that_fails_leaves_the_session(strict: Place, exchange: list[str], reply: str) -> None:
    talk = await strict.connect(tls=True)
    for line in exchange:
        answer = await talk(line)
    assert answer.startswith(reply)
    assert (await talk("MAIL FROM:<>")).startswith("530 ")
    assert (await talk("AUTH PLAIN " + plain("ann", "secret"))).startswith("235 ")


@pytest.mark.parametrize(
    ("change", "reply"),
    [
        ({"password_hash": CHEAP.hash("another")}, "535 5.7.8 "),
        ({"role": Role.VIEWER}, "535 5.7.1 "),
        ({"senders": ("@b.example",)}, "553 5.7.1 "),
        (None, "535 5.7.8 "),
    ],
)
async def test_an_open_session_of_a_user_who_may_not_send_any_more_sends_nothing(
    strict: Place, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any] | None, reply: str
) -> None:
    """Who stole a password keeps nothing of it by an open connection."""
    monkeypatch.setattr("relay.receive.submission.STILL_SECONDS", 0.0)
    talk = await strict.connect(tls=True)
    assert (await talk("AUTH PLAIN " + plain("ann", "secret"))).startswith("235 ")
    await talk.begin(sender="anyone@x.example")
    assert (await talk.message()).startswith("250 ")
    if change is None:
        await strict.store.remove_user("ann")
    else:
        await strict.store.set_user("ann", **change)
    await talk.begin(sender="anyone@x.example")
    assert (await talk.message()).startswith(reply)
    assert len(await strict.rows()) == 1
    if reply.startswith("535 "):
        assert (await talk("MAIL FROM:<anyone@x.example>")).startswith("530 5.7.0 ")


async def test_a_client_that_goes_away_in_the_exchange(strict: Place) -> None:
    for mechanism in ("PLAIN", "LOGIN", "LOGIN " + b64("ann")):
        talk = await strict.connect(tls=True)
        assert (await talk(f"AUTH {mechanism}")).startswith("334 ")
        (session,) = strict.listener._service.sessions
        await talk.close()
        await session.task


async def test_no_password_is_taken_in_clear(strict: Place) -> None:
    talk = await strict.connect()
    assert (await talk("AUTH PLAIN " + plain("ann", "secret"))).startswith("538 5.7.11 ")
    assert (await talk("AUTH LOGIN")).startswith("538 5.7.11 ")


async def test_where_auth_has_no_place(strict: Place) -> None:
    talk = await strict.connect(tls=True, greet=False)
    await talk.reply()
    assert (await talk("AUTH PLAIN")).startswith("503 5.5.1 ")
    await talk("HELO old.example")
    assert (await talk("AUTH PLAIN")).startswith("503 5.5.1 ")
    await talk("EHLO client.example")
    assert (await talk("AUTH PLAIN " + plain("ann", "secret"))).startswith("235 ")
    assert (await talk("AUTH PLAIN " + plain("ann", "secret"))).startswith("503 5.5.1 ")


async def test_a_trusted_client_may_authenticate_but_not_inside_of_a_transaction(place: Place) -> None:
    await place.store.add_user(User("bob", CHEAP.hash("hidden"), ("@b.example",)))
    talk = await place.connect(tls=True)
    await talk.begin()
    assert (await talk("AUTH PLAIN " + plain("bob", "hidden"))).startswith("503 5.5.1 ")
    await talk("RSET")
    assert (await talk("AUTH PLAIN " + plain("bob", "hidden"))).startswith("235 ")
    assert (await talk("MAIL FROM:<ann@a.example>")).startswith("553 5.7.1 ")


@pytest.mark.parametrize(
    ("sender", "header", "reply"),
    [
        ("bob@b.example", b"From: Bob <bob@b.example>\r\n", "250 "),
        ("Other@B.example", b"From: other@b.example\r\n", "250 "),
        ("", b"From: bob@b.example\r\n", "250 "),
        ("bob@b.example", b"Subject: no From\r\n", "250 "),
        ("bob@b.example", b"From: boss@a.example\r\n", "553 5.7.1 "),
        ("", b"From: boss@a.example\r\n", "553 5.7.1 "),
        ("bob@b.example", b"From: bob@b.example\r\nFrom: boss@a.example\r\n", "553 5.7.1 "),
        ("bob@b.example", b"From: bob@b.example, boss@a.example\r\n", "553 5.7.1 "),
        ("bob@b.example", b"no field\r\nFrom: boss@a.example\r\n", "250 "),
        ("bob@b.example", b"A: b\r\nno field\r\nFrom : boss@a.example\r\n", "553 5.7.1 "),
        ("bob@b.example", b"From: ann@a.example <bob@b.example>\r\n", "553 5.7.1 "),
        ("bob@b.example", b"From: bob@b.example\r\nFr\0om: ann@a.example\r\n", "553 5.7.1 "),
        ("bob@b.example", b"From: bob@b.example\r\n\r\nFr\0om: ann@a.example\r\n", "250 "),
    ],
)
async def test_a_user_with_senders_writes_as_nobody_else(strict: Place, sender: str, header: bytes, reply: str) -> None:
    """What stands behind a first line that is no field is text, for us and, by the blank line we add, for all."""
    talk = await strict.connect(tls=True)
    assert (await talk("AUTH PLAIN " + plain("bob", "hidden"))).startswith("235 ")
    await talk.begin(sender=sender)
    assert (await talk.message(header + b"\r\nText\r\n")).startswith(reply)


async def test_the_envelope_of_a_user_with_senders(strict: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    talk = await strict.connect(tls=True)
    assert (await talk("AUTH PLAIN " + plain("bob", "hidden"))).startswith("235 ")
    assert (await talk("MAIL FROM:<ann@a.example>")) == "553 5.7.1 You may not send from this address"
    assert "event=sender-refused client=127.0.0.1 user=bob sender=ann@a.example" in caplog.text


async def test_a_failed_login_is_logged_without_its_password(strict: Place, caplog: pytest.LogCaptureFixture) -> None:
    talk = await strict.connect(tls=True)
    await talk("AUTH PLAIN " + plain("ann\r\nevil=1", "my password"))
    assert 'event=login-failed client=127.0.0.1 user="ann\\r\\nevil=1" reply=' in caplog.text
    assert "my password" not in caplog.text


async def test_trouble_of_the_store_is_no_wrong_password(strict: Place, caplog: pytest.LogCaptureFixture) -> None:
    talk = await strict.connect(tls=True)
    await strict.reader.close()
    for _ in range(2):
        assert await talk("AUTH PLAIN " + plain("ann", "secret")) == f"454 4.7.0 {replies.AUTH_UNAVAILABLE.text}"
    assert "event=authentication-not-possible" in caplog.text
    assert not strict.listener._service.logins._tries

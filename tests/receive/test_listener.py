"""relay/receive/listener.py: beginning to listen, and ending without loss."""

import asyncio
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from relay.receive.accept import Acceptor
from relay.receive.auth import Authenticator
from relay.receive.listener import SubmissionListener, own_name
from relay.receive.settings import SubmissionSettings
from relay.receive.tls import server_context
from storage.settings import ServerSettings
from tests.receive.conftest import CONTENT, Build, Place, Talk, until


async def test_all_endpoints_are_bound_once_started(build: Build) -> None:
    place = await build(listen=("127.0.0.1:0", "127.0.0.1:0"), tls_listen=())
    assert len(place.listener.addresses) == 2
    for endpoint in place.listener.addresses:
        talk = Talk(*await asyncio.open_connection(endpoint.host, endpoint.port))
        assert (await talk.reply()).startswith("220 ")
        await talk.close()


async def test_processes_share_a_port(build: Build, tmp_path: Path) -> None:
    place = await build(tls_listen=())
    settings = SubmissionSettings(listen=(cast("Any", str(place.plain)),))
    second = SubmissionListener(
        settings, ServerSettings(state_dir=tmp_path), cast("Acceptor", None), cast("Authenticator", None), None
    )
    await second.start()
    assert second.addresses == place.listener.addresses
    await second.drain(0)


async def test_a_port_that_is_taken_is_named_and_none_is_left_bound(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = SubmissionSettings(listen=cast("Any", ("127.0.0.1:0", f"127.0.0.1:{port}")))
        listener = SubmissionListener(
            settings, ServerSettings(state_dir=tmp_path), cast("Acceptor", None), cast("Authenticator", None), None
        )
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use"):
            await listener.start()
        assert listener.addresses == ()
        assert listener._servers == []


def test_a_server_without_a_name_has_that_of_its_machine() -> None:
    assert own_name(ServerSettings()) == socket.gethostname()
    assert own_name(ServerSettings(hostname="relay.example")) == "relay.example"


async def test_an_idle_client_is_told_at_the_end(place: Place) -> None:
    greeted, begun, in_clear = await place.connect(), await place.connect(tls=True), await place.connect()
    await begun.begin()
    await place.listener.drain(5)
    for talk in (greeted, begun, in_clear):
        assert (await talk.reply()) == "421 4.3.2 Service is shutting down, try again later"
        assert await talk.at_end()
    with pytest.raises(ConnectionError):
        await place.connect()


async def test_a_message_on_its_way_is_taken_to_its_end(place: Place) -> None:
    uploading, storing = await place.connect(), await place.connect()
    for talk in (uploading, storing):
        await talk.begin()
        assert (await talk("DATA")).startswith("354 ")
    place.store.go_on.clear()
    await storing.send(CONTENT + b".\r\n")
    await asyncio.wait_for(place.store.reached.wait(), 5)
    draining = asyncio.create_task(place.listener.drain(30))
    await until(lambda: place.listener._service.draining)
    await uploading.send(CONTENT + b".\r\nMAIL FROM:<>\r\n")
    place.store.go_on.set()
    for talk in (uploading, storing):
        assert (await talk.reply()).startswith("250 2.0.0 queued as ")
        assert (await talk.reply()).startswith("421 4.3.2 ")
        assert await talk.at_end()
    await asyncio.wait_for(draining, 5)
    assert len(await place.rows()) == 2


async def test_a_login_that_waits_is_idle(strict: Place) -> None:
    talk = await strict.connect(tls=True)
    assert (await talk("AUTH LOGIN")).startswith("334 ")
    await strict.listener.drain(5)
    assert (await talk.reply()).startswith("421 4.3.2 ")


async def test_the_grace_is_bounded_and_what_is_being_stored_is_stored(place: Place) -> None:
    endless, storing = await place.connect(), await place.connect()
    for talk in (endless, storing):
        await talk.begin()
        assert (await talk("DATA")).startswith("354 ")
    place.store.go_on.clear()
    await storing.send(CONTENT + b".\r\n")
    await asyncio.wait_for(place.store.reached.wait(), 5)
    (session,) = [one for one in place.listener._service.sessions if one._content is None]
    await asyncio.wait_for(place.listener.drain(0.05), 5)
    assert await endless.at_end()
    assert await storing.at_end()
    place.store.go_on.set()
    await asyncio.wait_for(session.task, 5)
    assert len(await place.rows()) == 1
    assert len(place.outbox.jobs) == 1


async def test_an_heir_accepts_on_the_same_sockets_and_the_old_sessions_go_on(build: Build, tmp_path: Path) -> None:
    """A reload refuses nobody: who is connected stays with the old listener, who comes meets the new one."""
    place, other = await build(), await build()
    old = await place.connect(tls=True)
    first = old.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await other.listener.drain(0)
    other.listener._service.draining = False
    other.listener._service.tls = server_context(None, None, tmp_path / "other", "other.example")
    other.listener.take_over(place.listener)
    new = await place.connect(tls=True)
    assert new.writer.get_extra_info("ssl_object").getpeercert(binary_form=True) != first
    assert (await old("NOOP")).startswith("250 ")
    lingering = asyncio.create_task(place.listener.linger(30))
    assert (await old("QUIT")).startswith("221 ")
    await asyncio.wait_for(lingering, 5)
    await place.listener.drain(0)
    assert (await new("NOOP")).startswith("250 ")

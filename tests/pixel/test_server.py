import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pixel.answer import IMAGE
from pixel.server import PixelServer
from pixel.settings import PixelSettings
from storage.model import Attempt, BodyType, Job, LogFilter, LogRow, Message, NewRecipient, Phase, Reply, Result
from storage.people import POLICY
from storage.reader import Reader
from storage.secret import load_secret
from storage.settings import Endpoint, ServerSettings
from storage.status import Event, Status
from storage.store import Store
from storage.token import Purpose, TokenBox
from storage.tracking import TrackingSettings

LISTEN = PixelSettings(listen=("127.0.0.1:0",))  # type: ignore[arg-type]  # read by the validator
# A copy taken long before the test: nobody's hit is too early.
LONG_AGO = 1_700_000_000_000


class House:
    """A real store with deliveries in it, and a pixel server beside."""

    def __init__(self, state_dir: Path, store: Store) -> None:
        self.state_dir = state_dir
        self.store = store
        self.settings = ServerSettings(state_dir=state_dir)
        self.box = TokenBox(load_secret(state_dir), Purpose.PIXEL)

    async def start(self, tracking: TrackingSettings | None = None) -> PixelServer:
        server = PixelServer(LISTEN, tracking or TrackingSettings(), self.settings, POLICY)
        await server.start()
        return server

    async def accept(self, *addresses: str) -> list[Job]:
        message = Message(self.store.next_id(), LONG_AGO, "a@sender.test", BodyType.SEVEN_BIT, False, 1, b"plan")
        people = [NewRecipient(self.store.next_id(), one, one.rpartition("@")[2]) for one in addresses]
        return await self.store.accept(message, b"x", people, lifetime_ms=86_400_000, leased=True)

    async def settle(self, job: Job, event: Event, *, in_doubt: bool = False) -> None:
        attempt = Attempt(LONG_AGO, 100, Phase.AFTER_DOT, Reply(250, None, "Ok"), "mx.test", None, None, in_doubt)
        later = LONG_AGO + 10**12 if event is Event.DEFER else None
        await self.store.settle(Result(job, attempt, event, later))

    async def delivered(self, *addresses: str) -> list[Job]:
        jobs = await self.accept(*addresses)
        for job in jobs:
            await self.settle(job, Event.DELIVER)
        return jobs

    async def get(self, server: PixelServer, job: Job, headers: str = "") -> bytes:
        return await ask(server.addresses[0], f"/o/{self.box.seal(job.recipient_id)}.gif", headers)

    async def rows(self) -> dict[str, LogRow]:
        reader = await Reader.open(self.state_dir)
        rows = await reader.log(LogFilter(), limit=100)
        await reader.close()
        return {row.recipient: row for row in rows}

    async def timeline(self, job: Job) -> list[str]:
        reader = await Reader.open(self.state_dir)
        entries = await reader.timeline(job.recipient_id)
        await reader.close()
        return [f"{entry.hit}: {entry.text} {entry.address}" for entry in entries if entry.hit]


async def ask(endpoint: Endpoint, path: str, headers: str = "") -> bytes:
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return re.sub(rb"Date: [^\r]+", b"", answer)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await Store.open(tmp_path, POLICY)
    yield House(tmp_path, store)
    await store.close()


async def test_an_open_of_a_delivered_copy_makes_it_opened(house: House) -> None:
    read, unread = await house.delivered("reader@example.test", "other@example.test")
    server = await house.start()
    assert (await house.get(server, read)).endswith(IMAGE)
    await server.drain()
    rows = await house.rows()
    assert (rows["reader@example.test"].status, rows["reader@example.test"].opens) == (Status.OPENED, 1)
    assert rows["other@example.test"].status is Status.DELIVERED
    assert unread.recipient_id != read.recipient_id


async def test_a_hit_comes_into_the_store_while_the_server_runs(house: House) -> None:
    (job,) = await house.delivered("reader@example.test")
    server = await house.start()
    await house.get(server, job)
    async with asyncio.timeout(5):
        while server.counts.committed < 1:  # noqa: ASYNC110 - the count has no event
            await asyncio.sleep(0.01)
    assert (await house.rows())["reader@example.test"].status is Status.OPENED
    await server.drain()


async def test_machines_are_kept_apart(house: House) -> None:
    (job,) = await house.delivered("reader@example.test")
    server = await house.start()
    await house.get(server, job, "User-Agent: Mozilla/5.0\r\n")
    await house.get(server, job, "User-Agent: Barracuda Sentinel (EE)\r\n")
    await server.drain()
    row = (await house.rows())["reader@example.test"]
    assert (row.status, row.opens, row.machine_hits) == (Status.DELIVERED, 0, 2)


async def test_one_address_behind_the_proxy_that_sweeps_all_images_is_a_machine(house: House) -> None:
    jobs = await house.delivered(*(f"r{number}@example.test" for number in range(20)))
    server = await house.start()
    for job in jobs:
        await house.get(server, job, "X-Forwarded-For: 203.0.113.7\r\n")
    await server.drain()
    assert {(row.status, row.machine_hits) for row in (await house.rows()).values()} == {(Status.DELIVERED, 1)}


async def test_loopback_may_open_for_many(house: House) -> None:
    jobs = await house.delivered(*(f"r{number}@example.test" for number in range(20)))
    server = await house.start()
    for job in jobs:
        await house.get(server, job)
    await server.drain()
    assert {row.status for row in (await house.rows()).values()} == {Status.OPENED}


async def test_a_hit_before_the_250_is_no_open_and_one_that_settles_a_doubt_is(house: House) -> None:
    early, doubtful = await house.accept("early@example.test", "doubt@example.test")
    await house.settle(doubtful, Event.DEFER, in_doubt=True)
    server = await house.start()
    await house.get(server, early)
    await house.get(server, doubtful)
    await server.drain()
    rows = await house.rows()
    assert (rows["early@example.test"].status, rows["early@example.test"].machine_hits) == (Status.UNSENT, 1)
    assert rows["doubt@example.test"].status is Status.OPENED


async def test_the_answer_is_the_same_for_real_forged_and_unknown_tokens(house: House) -> None:
    (job,) = await house.delivered("reader@example.test")
    server = await house.start()
    real = await house.get(server, job)
    forged = await ask(server.addresses[0], "/o/" + "a" * 26 + ".gif")
    unknown = await ask(server.addresses[0], f"/o/{house.box.seal(12345)}.gif")
    assert real == forged == unknown
    await server.drain()
    assert (server.counts.committed, server.counts.unknown) == (1, 1)


@pytest.mark.parametrize(("keep", "kept"), [(False, False), (True, True)])
async def test_addresses_and_agents_are_kept_only_where_the_configuration_says_so(
    house: House, *, keep: bool, kept: bool
) -> None:
    (job,) = await house.delivered("reader@example.test")
    server = await house.start(TrackingSettings(keep_addresses=keep))
    await house.get(server, job, "User-Agent: Secret/1\r\nX-Forwarded-For: 203.0.113.7\r\n")
    await server.drain()
    (told,) = await house.timeline(job)
    assert told.startswith("person: ")
    assert ("203.0.113.7" in told, "Secret/1" in told) == (kept, kept)
    content = b"".join(path.read_bytes() for path in house.state_dir.iterdir() if path.is_file())
    assert (b"203.0.113.7" in content) is kept


async def test_a_reload_changes_rules_and_sockets(house: House, caplog: pytest.LogCaptureFixture) -> None:
    (job,) = await house.delivered("reader@example.test")
    server = await house.start(TrackingSettings(scanner_seconds=10**9))
    await house.get(server, job)
    before = server.addresses
    both = PixelSettings(listen=("127.0.0.1:0", "[::1]:0"))  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while server.counts.committed < 1:  # noqa: ASYNC110 - the count has no event
            await asyncio.sleep(0.01)
    tracking = TrackingSettings(base_url="https://example.test/mail/")
    await server.reload(both, tracking, house.settings, POLICY)
    assert (server.addresses[0], len(server.addresses)) == (before[0], 2)
    path = f"/mail/o/{house.box.seal(job.recipient_id)}"
    assert (await ask(server.addresses[1], path)).endswith(IMAGE)
    await server.reload(
        PixelSettings(listen=("[::1]:0",)),  # type: ignore[arg-type]
        tracking,
        ServerSettings(state_dir=house.state_dir / "elsewhere"),
        POLICY,
    )
    assert [endpoint.host for endpoint in server.addresses] == ["::1"]
    assert "takes a restart" in caplog.text
    with pytest.raises(ConnectionRefusedError):
        await ask(before[0], path)
    await server.drain()
    row = (await house.rows())["reader@example.test"]
    assert (row.machine_hits, row.opens) == (1, 1)


async def test_a_socket_that_cannot_be_had_is_an_error_and_leaves_nothing_open(house: House) -> None:
    server = await house.start()
    taken = PixelSettings(listen=(str(server.addresses[0]),))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="in use"):
        await PixelServer(taken, TrackingSettings(), house.settings, POLICY).start()
    await server.drain()


async def test_before_the_start_nothing_is_listened_on_or_counted(house: House) -> None:
    server = PixelServer(LISTEN, TrackingSettings(), house.settings, POLICY)
    await server.reload(LISTEN, TrackingSettings(), house.settings, POLICY)
    assert (server.addresses, server.counts.taken) == ((), 0)
    await server.drain()


async def test_draining_ends_idle_connections(house: House) -> None:
    server = await house.start()
    reader, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"messages.\n")
    async with asyncio.timeout(3):
        await server.drain()
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()

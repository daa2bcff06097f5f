from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from report.server import ReportServer
from storage.access import Role
from storage.model import HitKind, Phase, Reply
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Event
from storage.store import Store
from tests.report.asking import Program, add_token, program, serving
from tests.report.browsing import Browser, add_user, browsing, served
from tests.report.mailing import START, Mail


@pytest.fixture
async def mail(tmp_path: Path) -> AsyncIterator[Mail]:
    store = await Store.open(tmp_path, POLICY)
    yield Mail(store, tmp_path)
    await store.close()


@pytest.fixture
async def week(mail: Mail) -> Mail:
    """A store that holds a recipient in every status that deliveries bring."""
    jobs = await mail.accept("ann@example.test", "bob@example.test", "cyd@other.test", "no-such-user@example.test")
    await mail.settle(jobs[0], Event.DELIVER)
    await mail.hit(jobs[0], HitKind.SCANNER, "0.4 s after the server's 250")
    await mail.hit(jobs[0])
    await mail.settle(jobs[1], Event.DELIVER)
    await mail.bounce_later(jobs[1])
    full = Reply(452, "4.2.2", "The email account that you tried to reach is over quota")
    await mail.settle(jobs[2], Event.DEFER, full, next_ms=START + 3_600_000, phase=Phase.RCPT)
    gone = Reply(550, "5.1.1", "<no-such-user@example.test>: Recipient address rejected: User unknown")
    await mail.settle(jobs[3], Event.FAIL, gone, phase=Phase.RCPT)
    (signed,) = await mail.accept("dan@example.test", subject="Signed: Grüße [red]", untracked="signed message")
    await mail.settle(signed, Event.HAND_OVER)
    await mail.accept("eve@example.test", subject="")
    await mail.blocked("ann@example.test")
    return mail


@pytest.fixture
async def server(mail: Mail) -> AsyncIterator[ReportServer]:
    for name, role in (("root", Role.ADMIN), ("ann", Role.SENDER), ("vera", Role.VIEWER)):
        await add_user(mail.store, name, role)
    async with served(mail.state_dir) as server:
        yield server


@pytest.fixture
async def root(server: ReportServer) -> AsyncIterator[Browser]:
    async with browsing(server) as browser:
        await browser.log_in("root")
        yield browser


@pytest.fixture
async def reader(mail: Mail) -> AsyncIterator[Reader]:
    reader = await Reader.open(mail.state_dir)
    yield reader
    await reader.close()


@pytest.fixture
async def api(mail: Mail) -> AsyncIterator[ReportServer]:
    """A server that takes mail by the HTTP API."""
    async with serving(mail.state_dir) as server:
        yield server


@pytest.fixture
async def prog(api: ReportServer, mail: Mail) -> AsyncIterator[Program]:
    async with program(api, await add_token(mail.store)) as asking:
        yield asking

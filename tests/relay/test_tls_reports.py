"""The daily reports on TLS: to whom they go, that each goes once, and when."""

import email
import gzip
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from email import policy
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web as aiohttp_web

from relay.deliver.dns import Resolver
from relay.deliver.settings import DnsSettings, TlsReportSettings
from relay.deliver.tally import is_report
from relay.deliver.tlsrpt import NO_POLICY
from relay.inject.plan import InjectOptions
from relay.receive.accept import Acceptor
from relay.tls_reports import TlsReports, author
from storage.model import Job, LogFilter
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Status
from storage.store import Store
from storage.tls_model import TlsCount, TlsKey
from storage.untracked import UntrackedReason
from tests.peers.certificates import make, pem_file
from tests.peers.dns import DnsServer
from tests.peers.https import HttpsServer

DAY = 20_000
DAY_MS = 86_400_000
NEXT_MORNING = (DAY + 1) * DAY_MS + 5 * 3_600_000
KEY = TlsKey(DAY, "example.test", NO_POLICY, "validation-failure", "mx.example.test", "192.0.2.1")
ROOT = make("Root", authority=True)


class Nobody:
    def room(self) -> int:
        return 0

    def submit(self, jobs: Sequence[Job]) -> None:
        raise AssertionError


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("_smtp._tls.example.test", "TXT", '"v=TLSRPTv1; rua=mailto:tls@reports.test,mailto:b@reports.test"')
        yield server


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path, POLICY)
    await store.tls.count([TlsCount(KEY, 3), TlsCount(replace(KEY, failure="", mx="", address=""), 4)])
    yield store
    await store.close()


@pytest.fixture
async def reader(store: Store, tmp_path: Path) -> AsyncIterator[Reader]:
    reader = await Reader.open(tmp_path)
    yield reader
    await reader.close()


def reports(store: Store, dns: DnsServer, *, signs: bool = True, **settings: Any) -> TlsReports:
    return TlsReports(
        store,
        Resolver(DnsSettings(nameservers=(dns.endpoint,), timeout=1)),  # type: ignore[arg-type]
        allow_private=True,
        acceptor=Acceptor(store, InjectOptions(), "mx.relay.test", Nobody(), lifetime_ms=DAY_MS),
        author=author(TlsReportSettings(**settings), "mx.relay.test"),
        signs=lambda field: signs and b"@" in field,
        lifetime_ms=DAY_MS,
    )


async def queued(reader: Reader) -> list[str]:
    return sorted(row.recipient for row in await reader.log(LogFilter(), limit=100))


async def test_a_report_goes_to_all_who_want_it_once(store: Store, reader: Reader, dns: DnsServer) -> None:
    """Two processes, or a restart in between, make one message of it: it is queued as its counts go."""
    one, other = reports(store, dns), reports(store, dns)
    await one.send(NEXT_MORNING)
    await other.send(NEXT_MORNING)
    assert await queued(reader) == ["b@reports.test", "tls@reports.test"]
    jobs = await store.claim(NEXT_MORNING + 1000, 10)
    assert {job.status for job in jobs} == {Status.UNSENT}
    message = jobs[0].message
    assert (message.sender, message.untracked_reason, message.plan) == ("", UntrackedReason.REPORT, b"")
    assert is_report(message)
    content = await store.content(message.id)
    assert content is not None
    parsed = email.message_from_bytes(content, policy=policy.default)
    assert parsed["From"] == "postmaster@mx.relay.test"
    _, attached = parsed.iter_parts()
    (found,) = json.loads(gzip.decompress(attached.get_content()))["policies"]
    assert found["summary"] == {"total-successful-session-count": 4, "total-failure-session-count": 3}
    assert await store.tls.reportable(DAY + 9) == []
    await one.close()
    await other.close()


async def test_a_day_is_reported_when_it_is_over_and_each_host_takes_its_time(
    store: Store, reader: Reader, dns: DnsServer
) -> None:
    sender = reports(store, dns, contact="tls@relay.test", organization="Example")
    await sender.send(DAY * DAY_MS + 80_000_000)
    await sender.send((DAY + 1) * DAY_MS + 500_000)
    assert await queued(reader) == []
    await sender.send(NEXT_MORNING)
    assert len(await queued(reader)) == 2
    await sender.close()


async def test_what_nobody_wants_any_more_goes_without_a_report(store: Store, reader: Reader, dns: DnsServer) -> None:
    dns.forget("_smtp._tls.example.test")
    sender = reports(store, dns)
    await sender.send(NEXT_MORNING)
    assert await queued(reader) == []
    assert await store.tls.reportable(DAY + 9) == []
    await sender.close()


async def test_without_a_key_no_mail_goes(
    store: Store, reader: Reader, dns: DnsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 8460, 3: reports by mail are signed."""
    sender = reports(store, dns, signs=False)
    await sender.send(NEXT_MORNING)
    assert await queued(reader) == []
    assert "no DKIM key signs for postmaster@mx.relay.test" in caplog.text
    assert await store.tls.reportable(DAY + 9) == []
    await sender.close()


async def test_while_dns_has_no_answer_a_report_waits_for_two_days(
    store: Store, reader: Reader, dns: DnsServer
) -> None:
    dns.servfail("_smtp._tls.example.test")
    sender = reports(store, dns)
    await sender.send(NEXT_MORNING)
    assert len(await store.tls.reportable(DAY + 9)) == 1
    await sender.send(NEXT_MORNING + 2 * DAY_MS)
    assert await store.tls.reportable(DAY + 9) == []
    await sender.close()


async def test_a_report_is_posted_where_that_is_wanted(
    store: Store, dns: DnsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem_file(tmp_path, ROOT)))
    dns.add("reports.test", "A", "127.0.0.1")
    async with HttpsServer(make("reports.test", ROOT).context()) as web:
        rua = f'"v=TLSRPTv1; rua=https://reports.test:{web.port}/v1/tlsrpt"'
        dns.add("_smtp._tls.example.test", "TXT", rua)
        sender = reports(store, dns, signs=False)
        await sender.send(NEXT_MORNING)
        # It was not taken: it stays, for a later time.
        assert len(await store.tls.reportable(DAY + 9)) == 1
        web.answer = lambda _: aiohttp_web.Response(status=201)
        await sender.send(NEXT_MORNING)
        kind, body = web.bodies[-1]
        assert kind == "application/tlsrpt+gzip"
        first = json.loads(gzip.decompress(web.bodies[0][1]))
        assert json.loads(gzip.decompress(body))["report-id"] == first["report-id"]
        assert await store.tls.reportable(DAY + 9) == []
        await sender.close()


@pytest.mark.parametrize("contact", ["x", "@relay.test", "a b@relay.test", "a@b c", "a\r\nBcc: x@relay.test"])
def test_a_contact_is_an_address(contact: str) -> None:
    with pytest.raises(ValueError, match=r"must be an address|expected a domain"):
        TlsReportSettings(contact=contact)
    assert TlsReportSettings(contact="TLS@Relay.Test").contact == "TLS@relay.test"

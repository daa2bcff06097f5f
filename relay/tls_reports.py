"""Sends the daily reports on TLS (RFC 8460): from the counts in the store to the queue, or to an https: address.

Rules: one process does it, after the day is over and some time of its own later; a report goes out with the deletion
of its counts, in one transaction, so that neither a restart nor a kill sends two; mail is sent only where our keys sign
for its author, as RFC 8460, 3 asks.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from relay.deliver import tlsrpt
from relay.deliver.dns import Resolver
from relay.deliver.https import Https
from relay.deliver.mx import Found
from relay.deliver.settings import TlsReportSettings
from relay.deliver.tlsrpt import GZIPPED, Author, Report, Wanted
from relay.receive.accept import Acceptor, Prepared
from relay.receive.envelope import HERE, Envelope, Recipient
from storage.address import Address
from storage.kv import kv
from storage.model import queue_id
from storage.queue_verbs import Acceptance
from storage.store import Store
from storage.tls_verbs import TlsReport

_DAY_MS: Final = tlsrpt.DAY_SECONDS * 1000
# Counts reach the store within a minute of the day's end; then each host takes its own time (RFC 8460, 4.1).
_FIRST_MS: Final = 10 * 60_000
_SPREAD_MS: Final = 4 * 3_600_000
# A web server that does not take a report gets it again until then.
_GIVEN_UP_DAYS: Final = 2

# Some web servers are slow, or never answer.
_AT_ONCE: Final = 20

_log = logging.getLogger("telltale.relay")


class TlsReports:
    """Makes and sends what is due."""

    def __init__(
        self,
        store: Store,
        resolver: Resolver,
        *,
        allow_private: bool,
        acceptor: Acceptor,
        author: Author,
        signs: Callable[[bytes], bool],
        lifetime_ms: int,
    ) -> None:
        """`signs` tells whether our keys sign mail with this From field.

        `allow_private`: reports may be posted to private addresses.
        """
        self._store = store
        self._resolver = resolver
        self._https = Https(resolver, allow_private=allow_private)
        self._acceptor = acceptor
        self._author = author
        self._signs = signs
        self._lifetime_ms = lifetime_ms

    async def send(self, now_ms: int) -> None:
        """Send the reports on days that are over; raises StoreFailedError, StoreFullError."""
        today = now_ms // _DAY_MS
        late = now_ms - today * _DAY_MS >= _FIRST_MS + _delay_ms(self._author.hostname, today)
        due = await self._store.tls.reportable(today if late else today - 1)
        for start in range(0, len(due), _AT_ONCE):
            await asyncio.gather(*(self._report(day, domain, now_ms) for day, domain in due[start : start + _AT_ONCE]))

    async def close(self) -> None:
        """Close connections."""
        await self._https.close()
        await self._resolver.close()

    async def _report(self, day: int, domain: str, now_ms: int) -> None:
        answer = await self._resolver.texts(f"_smtp._tls.{domain}")
        report = Report(domain, day, self._author, await self._store.tls.counts(day, domain))
        wanted = tlsrpt.wanted(answer.records)
        posted = await self._post(report, wanted)
        mail = await self._mail(report, wanted, now_ms)
        unsent = (wanted.urls and not posted and mail is None) or answer.found is Found.TROUBLE
        if unsent and now_ms // _DAY_MS - day <= _GIVEN_UP_DAYS:
            return
        await self._store.tls.report(TlsReport(day, domain, mail))
        if mail:
            fields = {"queue_id": queue_id(mail.message.id), "domain": domain, "report": report.id}
            _log.info(kv(event="tls-report-queued", **fields))

    async def _post(self, report: Report, wanted: Wanted) -> bool:
        """POST it (RFC 8460, 5.4); return whether anybody took it."""
        taken = False
        for url in wanted.urls:
            failure = await self._https.post(url, report.gzipped(), GZIPPED)
            taken = taken or failure is None
            _log.info(kv(event="tls-report-posted", domain=report.domain, report=report.id, failure=failure))
        return taken

    async def _mail(self, report: Report, wanted: Wanted, now_ms: int) -> Acceptance | None:
        """Return it as a message for the queue; None where it is not mailed."""
        if not wanted.addresses:
            return None
        if not self._signs(f"<{self._author.contact}>".encode()):
            reason = f"no DKIM key signs for {self._author.contact}: telltale dkim generate"
            _log.warning(kv(event="tls-report-not-mailed", domain=report.domain, reason=reason))
            return None
        message_id = f"{tlsrpt.ID_PREFIX}{report.day}.{report.domain}@{self._author.hostname}"
        content = report.mail(wanted.addresses, formatdate(now_ms / 1000), message_id)
        to = tuple(Recipient(_address(address)) for address in wanted.addresses)
        envelope = Envelope(HERE, None, to, is_report=True)
        prepared = await self._acceptor.prepare(envelope, content, now_ms)
        if not isinstance(prepared, Prepared):
            _log.error(kv(event="our-bug", reason=f"a report is refused: {prepared.text}"))
            return None
        return Acceptance(
            prepared.message, prepared.content, None, prepared.recipients, self._lifetime_ms, leased=False
        )


def _address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(local, domain.lower())


def _delay_ms(hostname: str, day: int) -> int:
    """Return how long this host waits on this day: not all hosts of the world report at midnight."""
    digest = hashlib.sha256(f"{hostname} {day}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _SPREAD_MS


def author(settings: TlsReportSettings, hostname: str) -> Author:
    """Return who reports, by the settings."""
    return Author(settings.organization or hostname, settings.contact or f"postmaster@{hostname}", hostname)

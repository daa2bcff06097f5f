"""Verbs and questions of TLS, as `Store.tls`: what writes is one transaction, and returns after its commit."""

from collections.abc import Sequence

from storage import tls_verbs
from storage.lane import Lane
from storage.model import Job
from storage.tls_model import StoredSts, TlsCount
from storage.tls_verbs import TlsReport


class TlsFacts:
    """MTA-STS policies that were fetched, and what TLS sessions came to."""

    def __init__(self, writer: Lane, lookups: Lane) -> None:
        """Write and ask by the store's own lanes."""
        self._writer = writer
        self._lookups = lookups

    async def keep_sts(self, policy: StoredSts) -> None:
        """Keep a domain's MTA-STS policy, in the place of its last one."""
        await self._writer.call(tls_verbs.keep_sts, policy)

    async def forget_sts(self, before_ms: int) -> None:
        """Delete MTA-STS policies whose time was over before then."""
        await self._writer.call(tls_verbs.forget_sts, before_ms)

    async def sts(self, domain: str) -> StoredSts | None:
        """Return a domain's MTA-STS policy as it was fetched last, whether or not its time is over."""
        return await self._lookups.call(tls_verbs.read_sts, domain)

    async def ageing_sts(self, now_ms: int, wanted_since_ms: int, limit: int) -> list[str]:
        """Return domains whose policy is past half of its time and was wanted since then, the oldest first."""
        return await self._lookups.call(tls_verbs.read_ageing, (now_ms, wanted_since_ms, limit))

    async def count(self, counts: Sequence[TlsCount]) -> None:
        """Add to the counts of sessions."""
        await self._writer.call(tls_verbs.count_sessions, counts)

    async def reportable(self, before_day: int) -> list[tuple[int, str]]:
        """Return (day, domain) of sessions counted before a day, oldest first."""
        return await self._lookups.call(tls_verbs.read_reportable, before_day)

    async def counts(self, day: int, domain: str) -> list[TlsCount]:
        """Return what a domain's sessions of a day came to."""
        return await self._lookups.call(tls_verbs.read_sessions, (day, domain))

    async def report(self, report: TlsReport) -> list[Job]:
        """Delete the counts of a day and domain and queue their report, in one transaction; return its jobs.

        Counts that are gone were reported: then nothing is queued.
        """
        return await self._writer.call(tls_verbs.report, report)

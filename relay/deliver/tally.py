"""Counts what TLS sessions come to, for the domains that ask for reports (RFC 8460).

Rules: nothing is counted for who asks for no report, and that costs next to nothing; counts are written in groups,
so that a crash loses a minute of them; a report's own session is not counted (RFC 8460, 3).
"""

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from typing import Final

from relay.deliver import tlsrpt
from relay.deliver.connect import Connection
from relay.deliver.demand import Proof
from relay.deliver.failure import OF_DANE, OF_STS, FailureType, Mishap
from relay.deliver.sts import Mode
from relay.deliver.sts_policies import InForce
from storage.commit import StoreFailedError, StoreFullError
from storage.kv import kv
from storage.model import Job, Message
from storage.store import Store
from storage.tls_model import TlsCount, TlsKey
from storage.untracked import UntrackedReason

_DAY_MS: Final = 86_400_000
# Servers choose how they fail, and under how many addresses: beyond this, their failures are counted without.
_MOST_KINDS: Final = 5000

_log = logging.getLogger("telltale.deliver")


def is_report(message: Message) -> bool:
    """Return whether a message is a report on TLS, made here."""
    ours = not message.client and message.untracked_reason == UntrackedReason.REPORT
    return ours and message.message_id.startswith(f"<{tlsrpt.ID_PREFIX}")


class Tally:
    """The counts of one process that are not written yet."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._wanted: dict[str, InForce] = {}
        self._counts: Counter[TlsKey] = Counter()

    def want(self, domain: str, in_force: InForce) -> None:
        """Count for a domain that asks for reports from now on; `in_force` is what MTA-STS says of it."""
        self._wanted[domain] = in_force
        if in_force.failure:
            self._failed(domain, Mishap(FailureType(in_force.failure), reason=in_force.reason))

    def keep_only(self, domains: Container[str]) -> None:
        """Count for no others any more."""
        self._wanted = {domain: in_force for domain, in_force in self._wanted.items() if domain in domains}

    def used(self, connection: Connection, job: Job) -> None:
        """Count a connection for the domain of a recipient that goes over it: once for each domain."""
        domain = job.domain
        if domain not in self._wanted or domain in connection.counted or is_report(job.message):
            return
        connection.counted.add(domain)
        for mishap in connection.mishaps:
            self._failed(domain, mishap)
        if connection.as_asked and connection.secured is not None:
            _, asked = connection.secured
            if asked.proof is Proof.DANE:
                policy = tlsrpt.policy_of_tlsa(map(str, asked.tlsa), connection.host)
            else:
                policy = self._policy(domain)
            self._add(TlsKey(self._day(), domain, policy))

    def failed(self, mishaps: Iterable[Mishap], jobs: Iterable[Job]) -> None:
        """Count what kept us from connecting, for the domains of all who waited for the connection."""
        if not self._wanted:
            return
        domains = {job.domain for job in jobs if job.domain in self._wanted and not is_report(job.message)}
        for mishap in mishaps:
            for domain in domains:
                self._failed(domain, mishap)

    async def flush(self) -> None:
        """Write the counts; where the store does not take them, they wait for the next time."""
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            await self._store.tls.count([TlsCount(key, sessions) for key, sessions in counts.items()])
        except (StoreFailedError, StoreFullError) as error:
            _log.error(kv(event="tls-sessions-not-counted", error=error))
            self._counts += counts

    def _failed(self, domain: str, mishap: Mishap) -> None:
        if mishap.tlsa or mishap.failure in OF_DANE:
            policy = tlsrpt.policy_of_tlsa(mishap.tlsa, mishap.mx)
        elif mishap.failure in OF_STS:
            policy = tlsrpt.policy_of_sts(None)
        else:
            policy = self._policy(domain)
        key = TlsKey(
            self._day(), domain, policy, mishap.failure, mishap.mx, mishap.address, mishap.source, mishap.reason
        )
        self._add(key)

    def _policy(self, domain: str) -> str:
        stored = self._wanted[domain].stored
        if stored is None or stored.mode == Mode.NONE:
            return tlsrpt.NO_POLICY
        return tlsrpt.policy_of_sts(stored)

    def _add(self, key: TlsKey) -> None:
        if len(self._counts) >= _MOST_KINDS and key not in self._counts:
            key = replace(key, mx="", address="", source="", reason="")
        self._counts[key] += 1

    def _day(self) -> int:
        return self._now_ms() // _DAY_MS

"""Which MTA-STS policy is in force for a domain (RFC 8461): found by DNS, fetched, kept in the store for all processes.

Rules: a policy that was fetched holds to the end of its time, whatever DNS or the web server say meanwhile (3.1,
10.2: else an attacker would only have to take them away); a newer one takes its place; one that cannot be
fetched is not asked for again at once.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from relay.deliver.dns import Resolver
from relay.deliver.sts import Mode, Published, StsPolicy, parse_policy, record_id
from storage.commit import StoreFailedError, StoreFullError
from storage.kv import kv
from storage.store import Store
from storage.tls_model import StoredSts

# RFC 8461, 3.3: at most one try in five minutes.
_AGAIN_MS: Final = 300_000
_FAILURES_KEPT: Final = 5000
_DAY_MS: Final = 86_400_000
# A policy that no mail has asked for in this time is not kept fresh.
_WANTED_MS: Final = 60 * _DAY_MS
_REFRESHED_AT_ONCE: Final = 50
_SHOWN: Final = 200

_log = logging.getLogger("telltale.deliver")

Fetch = Callable[[str], Awaitable[bytes | str]]


@dataclass(frozen=True, slots=True)
class InForce:
    """What MTA-STS says of a domain now."""

    stored: StoredSts | None = None
    """The policy; None: there is none."""
    failure: str = ""
    """The result type (RFC 8460, 4.3.2.1) where a policy is announced that cannot be had; else ""."""
    reason: str = ""

    @property
    def policy(self) -> StsPolicy | None:
        """The policy as delivery keeps to it."""
        return StsPolicy(Mode(self.stored.mode), self.stored.mx) if self.stored else None


@dataclass(frozen=True, slots=True)
class _Failed:
    id: str
    until_ms: int
    failure: str
    reason: str


class StsPolicies:
    """The policies, by way of the store."""

    def __init__(self, store: Store, resolver: Resolver, fetch: Fetch, now_ms: Callable[[], int]) -> None:
        """`fetch` returns a policy's text, or why there is none."""
        self._store = store
        self._resolver = resolver
        self._fetch = fetch
        self._now_ms = now_ms
        self._asking: dict[str, asyncio.Task[InForce]] = {}
        self._failed: OrderedDict[str, _Failed] = OrderedDict()

    async def of(self, domain: str) -> InForce:
        """Return what is in force for a domain that mail goes to."""
        task = self._asking.get(domain)
        if task is None:
            task = self._asking[domain] = asyncio.create_task(self._ask(domain))
            task.add_done_callback(lambda _: self._asking.pop(domain, None))
        return await asyncio.shield(task)

    async def refresh(self) -> None:
        """Fetch anew what is past half of its time, so that mail that comes seldom does not find it gone."""
        now_ms = self._now_ms()
        for domain in await self._store.tls.ageing_sts(now_ms, now_ms - _WANTED_MS, _REFRESHED_AT_ONCE):
            known = await self._store.tls.sts(domain)
            if known is not None:
                await self._renewed(domain, known.id, known, wanted_ms=known.wanted_ms)
        await self._store.tls.forget_sts(now_ms - _DAY_MS)

    async def close(self) -> None:
        """End what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, domain: str) -> InForce:
        known, answer = await asyncio.gather(
            self._store.tls.sts(domain), self._resolver.texts(f"_mta-sts.{domain}"), return_exceptions=False
        )
        now_ms = self._now_ms()
        if known is not None and known.expires_ms <= now_ms:
            known = None
        published = record_id(answer.records)
        if published is None:
            return InForce(known)
        if known is not None and known.id == published and now_ms < (known.fetched_ms + known.expires_ms) // 2:
            if known.wanted_ms <= now_ms - _DAY_MS:
                await self._keep(replace(known, wanted_ms=now_ms))
            return InForce(known)
        return await self._renewed(domain, published, known, wanted_ms=now_ms)

    async def _renewed(self, domain: str, published: str, known: StoredSts | None, *, wanted_ms: int) -> InForce:
        """Fetch a policy; where that fails, the one that is known stays in force."""
        failed = self._failed.get(domain)
        if failed is None or failed.id != published or failed.until_ms <= self._now_ms():
            found = await self._published(domain)
            if isinstance(found, Published):
                return InForce(await self._taken(domain, published, found, wanted_ms))
            failure, reason = found
            failed = _Failed(published, self._now_ms() + _AGAIN_MS, failure, reason)
            self._remember(domain, failed)
            _log.warning(kv(event="mta-sts-policy-not-fetched", domain=domain, reason=reason))
        return InForce(known) if known is not None else InForce(None, failed.failure, failed.reason)

    async def _published(self, domain: str) -> Published | tuple[str, str]:
        """Fetch and read; or the result type of what failed, and why."""
        content = await self._fetch(domain)
        if isinstance(content, str):
            return "sts-policy-fetch-error", content[:_SHOWN]
        published = parse_policy(content)
        return published if isinstance(published, Published) else ("sts-policy-invalid", published)

    async def _taken(self, domain: str, id_: str, found: Published, wanted_ms: int) -> StoredSts:
        now_ms = self._now_ms()
        policy = found.policy
        taken = StoredSts(
            domain, id_, policy.mode, policy.mx, found.max_age, now_ms, now_ms + found.max_age * 1000, wanted_ms
        )
        self._failed.pop(domain, None)
        await self._keep(taken)
        return taken

    async def _keep(self, policy: StoredSts) -> None:
        try:
            await self._store.tls.keep_sts(policy)
        except (StoreFailedError, StoreFullError) as error:
            _log.error(kv(event="mta-sts-policy-not-kept", domain=policy.domain, error=error))

    def _remember(self, domain: str, failed: _Failed) -> None:
        self._failed[domain] = failed
        self._failed.move_to_end(domain)
        if len(self._failed) > _FAILURES_KEPT:
            self._failed.popitem(last=False)

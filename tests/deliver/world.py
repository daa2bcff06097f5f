"""A whole delivery around a real store, with a DNS and servers of its own, and a clock that can jump."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relay.deliver.client import Extensions, Timeouts
from relay.deliver.copy import Copy
from relay.deliver.copy_room import CopyRoom
from relay.deliver.delivery import Delivery
from relay.deliver.dns import Resolver
from relay.deliver.https import Https
from relay.deliver.settings import DeliverySettings, DnsSettings, RetrySettings
from relay.deliver.shape import ALONE, Share
from relay.deliver.shaping import build, laid_over, shipped_raw
from storage.model import BodyType, Job, LogFilter, LogRow, Message, NewRecipient, Reply, TimelineEntry
from storage.people import POLICY
from storage.reader import Reader
from storage.settings import ServerSettings
from storage.status import PENDING
from storage.store import Store
from tests.peers.dns import DnsServer

CONTENT = b"Subject: hello\r\n\r\nhello\r\n"
SOON = Timeouts(connect=1, greeting=1, mail=1, rcpt=1, data=1, block=1, dot=1, quit=1)
DAY_MS = 86_400_000


class World:
    def __init__(self, state_dir: Path, dns: DnsServer) -> None:
        self.state_dir = state_dir
        self.dns = dns
        self.jumped = 0.0
        self.compose: Callable[[Job, bytes], Copy | Reply] = lambda job, content: Copy(
            f"r{job.recipient_id}@relay.test", content
        )
        self.store: Store
        self.reader: Reader
        self.delivery: Delivery

    async def open(self) -> None:
        self.store = await Store.open(self.state_dir, POLICY)
        self.reader = await Reader.open(self.state_dir)
        self.make()

    def make(
        self,
        *,
        schedule: tuple[int, ...] = (60,),
        timeouts: Timeouts = SOON,
        store: Store | None = None,
        copy_room: CopyRoom | None = None,
        shaping: dict[str, Any] | None = None,
        share: Share = ALONE,
        dns_timeout: int = 1,
        https_port: int = 1,
        tls_reports: bool = False,
        warn_after_ms: int = 0,
        **settings: Any,
    ) -> Delivery:
        """Make the delivery anew, with these settings of `[delivery]`, and `shaping` laid over what is shipped."""
        dns = DnsSettings(nameservers=(self.dns.endpoint,), timeout=dns_timeout)  # type: ignore[arg-type]
        self.delivery = Delivery(
            store or self.store,
            self._composed,
            DeliverySettings(**({"allow_private_destinations": True} | settings)),
            dns,
            RetrySettings(schedule=schedule),
            ServerSettings(hostname="relay.test", state_dir=self.state_dir),
            timeouts=timeouts,
            copy_room=copy_room,
            shaping=build(laid_over(shipped_raw(), shaping or {}), shaping or {}),
            share=share,
            tls_reports=tls_reports,
            https=Https(Resolver(dns), allow_private=True, port=https_port),
            warn_after_ms=warn_after_ms,
            chance=lambda: 0.5,
            clock=self.clock,
            now_ms=self.now_ms,
        )
        return self.delivery

    async def anew(self, **settings: Any) -> Delivery:
        """Make the delivery anew, as a restart does; the one before is drained."""
        if hasattr(self, "delivery"):
            await self.delivery.drain(0)
        return self.make(**settings)

    def _composed(self, job: Job, content: bytes, _: Extensions) -> Copy | Reply:
        return self.compose(job, content)

    async def close(self) -> None:
        await self.delivery.drain(0)
        await self.reader.close()
        await self.store.close()
        for _ in range(3):  # the loop closes the sockets
            await asyncio.sleep(0)

    # Time.

    def clock(self) -> float:
        return time.monotonic() + self.jumped

    def now_ms(self) -> int:
        return round((time.time() + self.jumped) * 1000)

    def jump(self, seconds: float) -> None:
        """Let time pass at once; what falls due is looked for by `flush_hint` or within a second."""
        self.jumped += seconds

    # Mail.

    async def accept(
        self,
        *addresses: str,
        leased: bool = True,
        content: bytes = CONTENT,
        lifetime_ms: int = 5 * DAY_MS,
        **changes: Any,
    ) -> list[Job]:
        """Store a message as the listener does; the jobs are not submitted yet."""
        recipients = [NewRecipient(self.store.next_id(), address, address.rpartition("@")[2]) for address in addresses]
        values = {
            "id": self.store.next_id(),
            "received_ms": self.now_ms(),
            "sender": "ann@relay.test",
            "body": BodyType.SEVEN_BIT,
            "smtputf8": False,
            "size": len(content),
            "plan": b"",
        } | changes
        return await self.store.accept(Message(**values), content, recipients, lifetime_ms=lifetime_ms, leased=leased)

    async def send(self, *addresses: str, **changes: Any) -> None:
        """Accept and submit."""
        self.delivery.submit(await self.accept(*addresses, **changes))

    # What came of it.

    async def row(self, address: str) -> LogRow:
        (row,) = await self.reader.log(LogFilter(recipient=address), limit=2)
        return row

    async def rows(self, at: str = "") -> list[LogRow]:
        return await self.reader.log(LogFilter(recipient=at or None), limit=10_000)

    async def timeline(self, address: str) -> list[TimelineEntry]:
        return await self.reader.timeline((await self.row(address)).recipient_id)

    async def until(self, what: Callable[[], Any], seconds: float = 10.0) -> None:
        """Ask until it holds, or fail."""
        async with asyncio.timeout(seconds):
            while True:
                answer = what()
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return
                await asyncio.sleep(0.005)

    async def settled(self, address: str, attempts: int = 1) -> LogRow:
        """Wait until a recipient is done, or has been tried so often."""

        async def tried() -> bool:
            row = await self.row(address)
            return row.status not in PENDING or row.attempts >= attempts

        await self.until(tried)
        return await self.row(address)

    async def done(self, count: int) -> None:
        """Wait until so many recipients are done."""

        async def all_done() -> bool:
            counts = await self.reader.status_counts()
            return sum(n for status, n in counts.items() if status not in PENDING) >= count

        await self.until(all_done, 20)

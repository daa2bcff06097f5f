"""One relay process: joins the rooms of the relay around one store.

Rules: rooms do not know each other; what one needs of another is handed to it here. What came in is
served to its end: a drain lets transactions finish, gives leases back, and settles bounce messages.
A reload builds all rooms anew, gives them the old ones' ports, and lets the old ones end, so that every
setting but the ports can change and nobody is turned away.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any, Final

from relay.answer import settings as answer_settings
from relay.answer.settings import AnswerSettings
from relay.answers import Answers
from relay.broadcast.runner import TURN_FILE, Runner, RunnerSettings, processes
from relay.broadcast_fields import BroadcastFields
from relay.broadcasting import preparing
from relay.compose import Composer
from relay.deliver.delivery import Delivery
from relay.deliver.dns import Resolver
from relay.deliver.keys import load
from relay.deliver.settings import (
    TLS_REPORTS,
    DeliverySettings,
    DkimSettings,
    DnsSettings,
    RetrySettings,
    TlsReportSettings,
)
from relay.deliver.shape import ALONE, Share
from relay.deliver.shaping import Shaping
from relay.inject.plans import Plans
from relay.posting import inject_options
from relay.receive.accept import Acceptor
from relay.receive.auth import Authenticator
from relay.receive.listener import BounceListener, SubmissionListener
from relay.receive.settings import BounceSettings, SubmissionSettings
from relay.receive.tls import server_context
from relay.returns import Returns
from relay.sign import Signer
from relay.tls_reports import TlsReports, author
from storage import broadcast_settings
from storage.broadcast_settings import BroadcastSettings
from storage.commit import StoreFailedError, StoreFullError
from storage.kv import kv
from storage.people import POLICY, Policy
from storage.reader import Reader
from storage.secret import load_secret
from storage.settings import RetentionSettings, ServerSettings
from storage.store import Store
from storage.token import Purpose, TokenBox
from storage.tracking import TrackingSettings
from storage.turn import Turn
from storage.unsubscribe_link import UnsubscribeBox

# A message in DATA or after its dot is worth waiting for; systemd's TimeoutStopSec is above this.
_GRACE_SECONDS: Final = 30.0
_PURGE_EVERY_SECONDS: Final = 600
_AUDIT_EVERY_SECONDS: Final = 10.0
_PURGE_STEP: Final = 500
# What an operator waits for; asking costs one stat().
_FLUSH_SEEN_SECONDS: Final = 0.5

_log = logging.getLogger("telltale.relay")


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """The sections that steer a relay process."""

    server: ServerSettings
    submission: SubmissionSettings
    bounce: BounceSettings
    tracking: TrackingSettings
    delivery: DeliverySettings
    dns: DnsSettings
    retry: RetrySettings
    retention: RetentionSettings
    dkim: DkimSettings
    tls_report: TlsReportSettings = TLS_REPORTS
    broadcast: BroadcastSettings = broadcast_settings.DEFAULT
    policy: Policy = POLICY
    shaping: Shaping | None = None
    """Limits and rules of sites; None: as shipped."""
    share: Share = ALONE
    """Which of how many relay processes this is; the first one also purges what is past its retention."""
    answers: AnswerSettings = answer_settings.DEFAULT


class Rooms:
    """The rooms of a relay under one configuration, on a store that outlives them."""

    def __init__(self, at: RelaySettings, store: Store, reader: Reader) -> None:
        """Build them; raises OSError or ssl.SSLError where the certificate, DkimKeyError where a key cannot be used."""
        self._at = at
        secret = load_secret(at.server.state_dir)
        returns, pixel = TokenBox(secret, Purpose.RETURN_PATH), TokenBox(secret, Purpose.PIXEL)
        bounce_domain = at.bounce.domain or at.server.hostname
        plans = Plans()
        signer = Signer(load(at.server.state_dir, at.dkim), at.dkim.expires)
        broadcast_fields = BroadcastFields(
            UnsubscribeBox(secret), at.tracking.base_url, frozenset(at.broadcast.no_unsubscribe_types)
        )
        composer = Composer(
            pixel,
            returns,
            signer,
            base_url=at.tracking.base_url,
            bounce_domain=bounce_domain,
            broadcast_fields=broadcast_fields,
            plans=plans,
        )
        self._delivery = Delivery(
            store,
            composer.compose,
            at.delivery,
            at.dns,
            at.retry,
            at.server,
            shaping=at.shaping,
            share=at.share,
            warn_after_ms=at.answers.delay_after * 1000,
            tls_reports=at.tls_report.send,
        )
        acceptor = Acceptor(
            store,
            inject_options(at.tracking),
            at.server.hostname,
            self._delivery,
            lifetime_ms=at.retry.lifetime * 1000,
            signing_domains=signer.domains,
            broadcasts=at.broadcast,
            plans=plans,
        )
        self._tls_reports = TlsReports(
            store,
            Resolver(at.dns),
            allow_private=at.delivery.allow_private_destinations,
            acceptor=acceptor,
            author=author(at.tls_report, at.server.hostname),
            signs=lambda field: bool(signer.domains([field])),
            lifetime_ms=at.retry.lifetime * 1000,
        )
        tls = server_context(at.submission.tls_cert, at.submission.tls_key, at.server.state_dir, at.server.hostname)
        self.submission = SubmissionListener(at.submission, at.server, acceptor, Authenticator(reader), tls)
        self._returns = Returns(store, reader, returns)
        self._answers = Answers(
            store,
            acceptor,
            returns,
            at.answers,
            state_dir=at.server.state_dir,
            hostname=at.server.hostname,
            bounce_domain=bounce_domain,
            lifetime_ms=at.retry.lifetime * 1000,
        )
        self.bounces = BounceListener(at.bounce, at.server, self._returns.open, self._returns.take, tls)

        self.runner = Runner(
            store,
            reader,
            preparing(acceptor),
            self._delivery,
            Turn(at.server.state_dir / TURN_FILE),
            RunnerSettings(at.broadcast.ahead, at.retry.lifetime * 1000, processes(at.server.workers)),
        )
        self.hurry = asyncio.Event()

    async def start(self) -> None:
        """Begin delivering and listen; raises OSError where a port cannot be bound, with nothing left open."""
        try:
            await self._delivery.start()
            await self.submission.start()
            await self.bounces.start()
            self.runner.start()
            self._answers.start()
        except BaseException:
            await self.drain(0)
            raise

    async def take_over(self, old: "Rooms") -> None:
        """Begin delivering, and accept what `old` has listened for; its sessions stay its own."""
        await self._delivery.start()
        # What its sessions still bring goes by the new routes already.
        old._delivery.reload(self._at.delivery)  # noqa: SLF001 - of this class
        self.submission.take_over(old.submission)
        self.bounces.take_over(old.bounces)
        await old.runner.stop()
        self.runner.start()
        await old._answers.stop()  # noqa: SLF001 - of this class
        self._answers.start()

    async def retire(self) -> None:
        """Let sessions end by themselves for a while, or until `hurry` is set, then drain."""
        lingering = asyncio.gather(self.submission.linger(_GRACE_SECONDS), self.bounces.linger(_GRACE_SECONDS))
        hurried = asyncio.ensure_future(self.hurry.wait())
        either: list[asyncio.Future[Any]] = [lingering, hurried]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        lingering.cancel()
        hurried.cancel()
        await self.drain(_GRACE_SECONDS)

    def flush(self) -> None:
        """Try again at once what rests: an operator has flushed the queue."""
        self._delivery.flush_hint()

    async def refresh_policies(self) -> None:
        """Fetch MTA-STS policies anew before their time is over."""
        await self._delivery.refresh_policies()

    async def audit(self) -> None:
        """Look over a part of the queue for what nobody would ever try."""
        await self._delivery.audit()

    async def report_tls(self, now_ms: int) -> None:
        """Send the reports on TLS that are due."""
        if self._at.tls_report.send:
            await self._tls_reports.send(now_ms)

    async def resume(self) -> None:
        """Take up the bounce messages that an earlier process stored and did not settle."""
        await self._returns.resume()

    async def drain(self, grace_seconds: float) -> None:
        """Take nothing new, finish what is under way, give back the rest."""
        await self.runner.stop()
        await self._answers.stop()
        await asyncio.gather(self.submission.drain(grace_seconds), self.bounces.drain(grace_seconds))
        await self._delivery.drain(grace_seconds)
        await self._returns.drain()
        await self._tls_reports.close()


class Worker:
    """A whole relay process: takes mail, delivers it, and takes what comes back."""

    def __init__(self, settings: RelaySettings) -> None:
        """Take the settings; nothing is opened before `start`."""
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()
        self._retiring: dict[asyncio.Task[None], Rooms] = {}

    async def start(self) -> None:
        """Open the store, begin delivering, listen; all ports are bound when this returns.

        Raises OSError where a port, the certificate or the state directory cannot be used.
        """
        async with contextlib.AsyncExitStack() as stack:
            self._store = await Store.open(self._settings.server.state_dir, self._settings.policy)
            stack.push_async_callback(self._store.close)
            self._reader = await Reader.open(self._settings.server.state_dir)
            stack.push_async_callback(self._reader.close)
            self._rooms = Rooms(self._settings, self._store, self._reader)
            await self._rooms.start()
            await self._rooms.resume()
            self._stack = stack.pop_all()
        self._chores = [
            asyncio.create_task(self._purge_for_ever()),
            asyncio.create_task(self._tend_tls_for_ever()),
            asyncio.create_task(self._audit_for_ever()),
            asyncio.create_task(self._watch_flushes()),
        ]

    async def reload(self, settings: RelaySettings) -> None:
        """Serve by new settings, on the same ports; raises as `start`, and then the old ones stay in force."""
        rooms = Rooms(settings, self._store, self._reader)
        await rooms.take_over(self._rooms)
        old, self._rooms, self._settings = self._rooms, rooms, settings
        self._store.set_policy(settings.policy)
        retiring = asyncio.create_task(old.retire())
        self._retiring[retiring] = old
        retiring.add_done_callback(self._retiring.pop)

    async def drain(self) -> None:
        """Take nothing new, finish what is under way, give back the rest, close."""
        for chore in self._chores:
            chore.cancel()
        for rooms in self._retiring.values():
            rooms.hurry.set()
        await asyncio.gather(self._rooms.drain(_GRACE_SECONDS), *self._retiring)
        await self._stack.aclose()

    async def _watch_flushes(self) -> None:
        seen = self._store.flush_stamp()
        while True:
            await asyncio.sleep(_FLUSH_SEEN_SECONDS)
            if (stamp := self._store.flush_stamp()) != seen:
                seen = stamp
                self._rooms.flush()

    async def _audit_for_ever(self) -> None:
        # As for `_purge_for_ever`.
        while self._settings.share.index == 0:
            await asyncio.sleep(_AUDIT_EVERY_SECONDS)
            await self._rooms.audit()

    async def _purge_for_ever(self) -> None:
        # One process of the host is enough; it is index 0 of the relay's.
        while self._settings.share.index == 0:
            try:
                await self._purge(time.time_ns() // 1_000_000)
            except (StoreFailedError, StoreFullError) as error:
                _log.warning(kv(event="not-purged", reason=str(error)))
            await asyncio.sleep(_PURGE_EVERY_SECONDS)

    async def _tend_tls_for_ever(self) -> None:
        """Keep policies fresh and send reports: apart from all else, since it waits for strangers' servers."""
        while self._settings.share.index == 0:
            try:
                await self._rooms.refresh_policies()
                await self._rooms.report_tls(time.time_ns() // 1_000_000)
            except Exception as error:  # noqa: BLE001 - whatever a stranger's records do to our code, mail goes on
                _log.error(kv(event="tls-not-tended"), exc_info=error)
            await asyncio.sleep(_PURGE_EVERY_SECONDS)

    async def _purge(self, now_ms: int) -> None:
        """Delete what is past its retention, in steps that let other transactions in between."""
        keep = self._settings.retention
        while await self._store.purge(now_ms - keep.log * 1000, _PURGE_STEP):
            continue
        while await self._store.purge_dsns(now_ms - keep.dsn * 1000):
            continue
        while await self._store.blocked.purge(now_ms, now_ms - keep.log * 1000):
            continue
        while await self._store.purge_broadcasts(now_ms - keep.broadcasts * 1000):
            continue

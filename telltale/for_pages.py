"""What the front door hands to the report server: sending broadcasts as the command line does; importing files, too.

Rules: what takes its time runs in a thread, with a store of its own, so that no page waits for it; and what a command
would end with is told to people in the browser, without the paths of this machine.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from relay.broadcast.grammar import TemplateError
from relay.broadcast.letter import Contact
from relay.receive.senders import permits
from report.drafts import Draft
from report.handed import Handed, PreFlight, Preview, Refusal, Watch, When
from report.words import size
from storage.broadcast_audience import Audience, Entry, NoSuchListError
from storage.broadcast_model import RunOrder
from storage.broadcast_settings import parse_type
from storage.status import Status
from storage.store import Store, StoreFailedError, StoreFullError
from telltale import broadcast_send
from telltale.broadcast_send import Wanted, pre_flight, read_template, sender_of
from telltale.config import Config
from telltale.errors import FailureError
from telltale.for_imports import FilesImport, sentence
from telltale.recipients import Recipients

# Each holds a thread, and a copy of the recipients on disk.
_AT_ONCE: Final = 2
_PREVIEWS: Final = 20
_STORING: Final = "Storing the recipients"
_MOST_INLINE_BYTES: Final = 2 << 20
_MOST_PICTURED_CHARS: Final = 16 << 20

T = TypeVar("T")


def handed(config: Config) -> Handed:
    """Return all that the pages ask of other rooms."""
    return Handed(PagesBroadcasting(config), FilesImport(config))


class PagesBroadcasting:
    """Sends drafts."""

    def __init__(self, config: Config) -> None:
        """Take the configuration."""
        self._state_dir = config.server.state_dir
        self._config = config
        self._room = asyncio.Semaphore(_AT_ONCE)

    @property
    def default_type(self) -> str:
        """`broadcast.default_type`."""
        return self._config.broadcast.default_type

    def pre_flight(self, draft: Draft, senders: tuple[str, ...], watch: Watch) -> PreFlight | Refusal:
        """Judge a draft."""

        def judge() -> PreFlight:
            wanted = self._wanted(draft, senders)
            audience, found = pre_flight(self._state_dir, wanted, _now_ms(), watch.tell)
            audience.close()
            return _told(found, wanted.subject)

        return _answered(draft.folder, judge)

    async def preview(self, draft: Draft, senders: tuple[str, ...], place: int) -> Preview | Refusal:
        """Make the copy of one of the first recipients."""
        return await self._in_thread(draft.folder, lambda: self._preview(self._wanted(draft, senders), place))

    async def try_out(self, draft: Draft, senders: tuple[str, ...]) -> PreFlight | Refusal:
        """Judge a draft."""
        async with self._room:
            return await asyncio.to_thread(self.pre_flight, draft, senders, _Unwatched())

    async def send(self, draft: Draft, senders: tuple[str, ...], when: When) -> int | Refusal:
        """Store a draft's recipients and let it go."""
        async with self._room:
            return await asyncio.to_thread(self.hand_over, draft, senders, when, _Unwatched())

    def hand_over(self, draft: Draft, senders: tuple[str, ...], when: When, watch: Watch) -> int | Refusal:
        """Store a draft's recipients and let it go."""

        def store() -> int:
            wanted = replace(self._wanted(draft, senders), per_hour=when.per_hour)
            audience, found = pre_flight(self._state_dir, wanted, _now_ms(), watch.tell)
            try:
                if found.missing:
                    raise FailureError(f'some recipients lack the field "{found.missing[0].field}"')
                if not found.counts[Status.UNSENT]:
                    raise FailureError("there is nobody to send to")
                total = sum(found.counts.values())
                return asyncio.run(_stored(self._config, draft, wanted, audience, when.start_ms, watch, total))
            finally:
                audience.close()

        return _answered(draft.folder, store)

    async def _in_thread(self, folder: Path, work: Callable[[], T]) -> T | Refusal:
        async with self._room:
            return await asyncio.to_thread(_answered, folder, work)

    def _wanted(self, draft: Draft, senders: tuple[str, ...]) -> Wanted:
        """Read a draft as `telltale broadcast send` is read; raises FailureError."""
        try:
            type_ = parse_type(draft.type or self.default_type)
        except ValueError as error:
            raise FailureError(f'type "{draft.type}": {error}') from None
        sender = sender_of(draft.sender)
        if sender is None:
            raise FailureError(f'From "{draft.sender}": expected ann@example.org, or Ann <ann@example.org>')
        if not permits(senders, sender[0]):
            raise FailureError(f"From: you may send from {', '.join(senders)} only")
        most = self._config.submission.max_message_bytes
        if draft.message_file.stat().st_size > most:
            raise FailureError(f"the message is larger than {size(most)} (max_message_bytes in [submission])")
        template, letter = read_template(draft.message_file, draft.subject or None, sender[1])
        return Wanted(
            draft.name,
            type_,
            sender[0],
            template,
            letter,
            letter.subject,
            draft.list or None,
            draft.recipients_file,
            None,
            fold=self._config.contacts.fold_local_part,
            owner=draft.user,
        )

    def _preview(self, wanted: Wanted, place: int) -> Preview:
        people = self._first(wanted, min(place, _PREVIEWS - 1), 2)
        if not people:
            raise FailureError("there is nobody to send to")
        one, letter = people[0], wanted.letter
        try:
            copy = letter.personal_copy(Contact(one.address, one.name, one.fields))
        except TemplateError as error:
            raise FailureError(f"for {one.address}: {error}") from None
        message = message_from_bytes(copy, policy=policy.default)
        html, text = _texts(message)
        return Preview(
            one.address, str(message["subject"] or ""), html, text, len(people) > 1 and place < _PREVIEWS - 1
        )

    def _first(self, wanted: Wanted, place: int, count: int) -> list[Entry]:
        """Return who is at a place and after it, without reading all recipients."""
        audience = Audience.open(self._state_dir, wanted.type, fold=wanted.fold)
        try:
            if wanted.list is not None:
                audience.add_list(wanted.list, personal=True, most=place + count)
            if wanted.csv is not None:
                entries = Recipients(wanted.csv, wanted.type).entries()
                audience.add(islice(entries, place + count), personal=True)
            return [one for at in range(count) if (one := audience.person(place + at)) is not None]
        except NoSuchListError as error:
            raise FailureError(str(error)) from None
        finally:
            audience.close()


def _answered(folder: Path, work: Callable[[], T]) -> T | Refusal:
    try:
        return work()
    except (FailureError, StoreFailedError, StoreFullError) as error:
        return Refusal(sentence(error, folder))


class _Unwatched:
    """Nobody looks on."""

    def tell(self, what: str, done: int = 0, of: int | None = None) -> None:
        """Hear how far it is."""


async def _stored(
    config: Config, draft: Draft, wanted: Wanted, audience: Audience, start_ms: int | None, watch: Watch, total: int
) -> int:
    """Store a run and let it go; what keeps it from going leaves a run that never goes."""
    store, stored = await Store.open(config.server.state_dir, config.policy), 0

    def added(some: int) -> None:
        nonlocal stored
        stored += some
        watch.tell(_STORING, stored, total)

    try:
        watch.tell(_STORING, 0, total)
        try:
            run_id = await broadcast_send.draft(store, wanted, audience, _now_ms(), added, draft.note)
        except BaseException:
            if draft.run is not None:
                await store.broadcasts.order(draft.run, RunOrder.CANCEL, _now_ms(), "it was not handed over")
            raise
        if not await store.broadcasts.start(run_id, start_ms, _now_ms()):
            raise FailureError("it was cancelled while it was handed over")
        return run_id
    finally:
        await store.close()


def _told(found: broadcast_send.PreFlight, subject: str) -> PreFlight:
    missing, first_bad = tuple(found.missing), tuple(found.first_bad)
    return PreFlight(subject, found.counts, missing, found.bad, first_bad, found.without_address)


def _texts(message: EmailMessage) -> tuple[str | None, str]:
    """Return a message's HTML, with the pictures that it brings along put into it, and its text."""
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    shown = None if html is None else str(html.get_content())
    if shown is not None:
        room = _MOST_PICTURED_CHARS
        for name, address in _pictures(message).items():
            # A page may name one picture a hundred thousand times.
            times = min(shown.count(f"cid:{name}"), room // len(address))
            shown = shown.replace(f"cid:{name}", address, times)
            room -= times * len(address)
    return shown, "" if text is None else str(text.get_content())


def _pictures(message: EmailMessage) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for part in message.walk():
        name = str(part["content-id"] or "").strip("<> ")
        if name and part.get_content_maintype() == "image":
            data = part.get_payload(decode=True)
            if isinstance(data, bytes) and len(data) <= _MOST_INLINE_BYTES:
                found[name] = f"data:{part.get_content_type()};base64,{base64.b64encode(data).decode()}"
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

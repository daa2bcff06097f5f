"""Sends a broadcast, for the command line and the pages: pre-flight, draft, start; then it follows what the relay does.

Rule: nothing is stored before everything is known that can be known: a broadcast goes as a whole or not at all.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from email.utils import formataddr, parseaddr
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from relay.broadcast.draft import of_html, of_message
from relay.broadcast.grammar import TemplateError
from relay.broadcast.letter import Contact, Letter
from relay.broadcast.runner import TURN_FILE
from storage.address import Address, parse_mailbox
from storage.broadcast_audience import Audience, Missing, NoSuchListError
from storage.broadcast_model import Chunk, NewRun, Run, RunState
from storage.contact_rows import Bad
from storage.large import LARGE_BYTES
from storage.reader import Reader
from storage.status import Status
from storage.store import Store
from storage.turn import Turn
from telltale.errors import FailureError, UsageError
from telltale.file_import import Report
from telltale.recipients import Recipients

_RATE: Final = re.compile(r"(\d{1,9})\s*/\s*(s|sec|second|m|min|minute|h|hour|d|day)")
_AN_HOUR: Final = {"s": 3600.0, "m": 60.0, "h": 1.0, "d": 1 / 24}
_IN: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SHARED_CHUNK: Final = 500
# A large content is a file of its own for each chunk: fewer of them are written.
_LARGE_CHUNK: Final = 2000
_PERSONAL_CHUNK: Final = 100
_CHUNK_BYTES: Final = 8 << 20
_CHUNKS_AT_ONCE_BYTES: Final = 1 << 20
_LOOK_SECONDS: Final = 0.25
# Copies that the pre-flight makes.
_TRIED: Final = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    name: str
    type: str
    sender: str
    """MAIL FROM."""
    template: bytes
    letter: Letter
    subject: str
    list: str | None
    csv: Path | None
    per_hour: int | None
    fold: bool
    report: Path | None = None
    """Where the lines are written that are no recipients."""
    owner: str = ""
    """The user who sends it; "" is the command line."""


@dataclass(frozen=True, slots=True)
class PreFlight:
    """What would become of everybody."""

    counts: dict[Status, int]
    missing: list[Missing]
    bad: int
    first_bad: list[Bad]
    without_address: int
    """Contacts of the list who have none, so that there is nothing to have a row in the log."""
    seconds: float

    @property
    def total(self) -> int:
        """Recipients that would be a row of the log."""
        return sum(self.counts.values())


class Step(StrEnum):
    """What the pre-flight is at, for people."""

    GATHER = "Putting the recipients together"
    READ = "Reading the file of recipients"
    JUDGE = "Looking who would get it"


Told = Callable[[Step, int, int | None], object]
"""Is told what is done, how much of it, and of how much; what it raises ends it."""


def sender_of(text: str) -> tuple[str, str] | None:
    """Return (MAIL FROM, From) of `address` or `Name <address>`; None of what is neither."""
    name, address = parseaddr(text)
    found = parse_mailbox(address, utf8=False) if address.isprintable() else None
    if not isinstance(found, Address) or not found.domain:
        return None
    return str(found), formataddr((" ".join(name.split()), str(found)))


def read_sender(text: str) -> tuple[str, str]:
    """Return (MAIL FROM, From) of --from; raises UsageError."""
    found = sender_of(text)
    if found is None:
        raise UsageError(f'--from "{text}" is no address: expected ann@example.org or "Ann <ann@example.org>"')
    return found


def read_rate(text: str | None) -> int | None:
    """Read "100/s" or "5000/h" as copies an hour."""
    if text is None:
        return None
    found = _RATE.fullmatch(text.strip().lower())
    per_hour = int(int(found[1]) * _AN_HOUR[found[2][0]]) if found else 0
    if per_hour < 1:
        raise UsageError(f'--rate "{text}" is no rate: expected copies in a time, such as 100/s, 600/m or 5000/h')
    return per_hour


def read_time(text: str | None, now_ms: int) -> int | None:
    """Read when to begin: "2h" from now, or an ISO 8601 time (without a zone: local time)."""
    if text is None:
        return None
    if later := _IN.fullmatch(text.strip().lower()):
        return now_ms + int(later[1]) * _SECONDS[later[2]] * 1000
    try:
        at_ms = int(datetime.fromisoformat(text.strip()).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f'--schedule "{text}" is no point in time: say in how long ("30m", "2h") or when ("2026-11-27T08:00")'
        ) from None
    if at_ms <= now_ms:
        raise UsageError(f'--schedule "{text}" is past')
    return at_ms


def read_template(path: Path, subject: str | None, from_header: str) -> tuple[bytes, Letter]:
    """Read an .eml or .html file; every mistake in it is told with its line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FailureError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if path.suffix.lower() in {".html", ".htm"} and subject is None:
        raise UsageError(f"{path} is an HTML page and has no Subject: say --subject")
    try:
        return _read(path, content, subject, from_header)
    except TemplateError as error:
        raise FailureError(str(error)) from None
    except FailureError:
        raise
    except Exception as error:  # noqa: BLE001 - `email` raises whatever it likes of fields that are none
        raise FailureError(f"{path.name}: cannot be read as a message ({type(error).__name__})") from None


def _read(path: Path, content: bytes, subject: str | None, from_header: str) -> tuple[bytes, Letter]:
    if path.suffix.lower() in {".html", ".htm"} and subject is not None:
        stored = of_html(_text(path, content), subject, from_header, path.name)
    else:
        stored = _message(path, content, subject, from_header)
    return stored, Letter(stored, path.name)


def _message(path: Path, content: bytes, subject: str | None, from_header: str) -> bytes:
    try:
        return of_message(content, subject, from_header)
    except TemplateError as error:
        raise FailureError(f"{path.name}: {error}") from None


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FailureError(f"{path.name}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def pre_flight(
    state_dir: Path, wanted: Wanted, now_ms: int, told: Told = lambda *_: None
) -> tuple[Audience, PreFlight]:
    """Put the recipients together and judge them; the audience is the caller's to close.

    `told` hears how many bytes of the file were read, and of how many.
    """
    began = time.monotonic()
    letter = wanted.letter
    audience = Audience.open(state_dir, wanted.type, fold=wanted.fold)
    recipients, without_address = None, 0
    try:
        if wanted.list is not None:
            told(Step.GATHER, 0, None)
            without_address = audience.add_list(wanted.list, personal=letter.personal)
        if wanted.csv is not None:
            with ExitStack() as open_files:
                report = Report(wanted.report, open_files)
                recipients = Recipients(wanted.csv, wanted.type, report.add, partial(told, Step.READ))
                audience.add(recipients.entries(), personal=letter.personal)
        told(Step.JUDGE, 0, None)
        counts = audience.judge(wanted.name, now_ms, wanted.owner)
        missing = audience.missing(letter.needs) if letter.personal else []
        if letter.personal and not missing:
            _try(letter, audience)
    except NoSuchListError as error:
        audience.close()
        raise FailureError(str(error)) from None
    except BaseException:
        audience.close()
        raise
    bad, first_bad = (recipients.bad, recipients.first_bad) if recipients else (0, [])
    return audience, PreFlight(counts, missing, bad, first_bad, without_address, time.monotonic() - began)


def _try(letter: Letter, audience: Audience) -> None:
    """Make some copies, since a template may only fail with somebody's fields; raises FailureError."""
    for chunk in islice(audience.chunks(_TRIED), 1):
        for address, name, fields, *held in json.loads(chunk.recipients):
            if held:
                continue
            try:
                letter.personal_copy(Contact(address, name, fields))
            except TemplateError as error:
                raise FailureError(f"for {address}: {error}") from None


def chunk_size(template_bytes: int, *, personal: bool, per_hour: int | None) -> int:
    """Return how many recipients one step of a run takes: no more than go out in a second, or fill some megabytes."""
    shared = _SHARED_CHUNK if template_bytes <= LARGE_BYTES else _LARGE_CHUNK
    most = min(_PERSONAL_CHUNK, max(1, _CHUNK_BYTES // template_bytes)) if personal else shared
    return most if per_hour is None else max(1, min(most, per_hour // 3600))


async def draft(
    store: Store,
    wanted: Wanted,
    audience: Audience,
    now_ms: int,
    added: Callable[[int], object],
    made: Callable[[int], object] = lambda _run_id: None,
) -> int:
    """Store the broadcast as a draft and return its id, which `made` is told before there is a recipient in it.

    `added` is told how many recipients came to it.
    """
    letter = wanted.letter
    new = NewRun(
        wanted.name,
        wanted.type,
        wanted.sender,
        wanted.subject,
        wanted.template,
        letter.personal,
        wanted.per_hour,
        wanted.owner,
    )
    run_id = await store.broadcasts.create(new, now_ms)
    made(run_id)
    size = chunk_size(len(wanted.template), personal=letter.personal, per_hour=wanted.per_hour)
    some: list[Chunk] = []
    for chunk in audience.chunks(size):
        some.append(chunk)
        if sum(len(each.recipients) for each in some) >= _CHUNKS_AT_ONCE_BYTES:
            await store.broadcasts.add(run_id, some)
            added(sum(each.count for each in some))
            some = []
    if some:
        await store.broadcasts.add(run_id, some)
        added(sum(each.count for each in some))
    return run_id


def relay_runs(state_dir: Path) -> bool:
    """Return whether a relay process of this host sends broadcasts."""
    return Turn(state_dir / TURN_FILE).is_taken()


async def follow(reader: Reader, run_id: int, told: Callable[[Run, int], None]) -> Run:
    """Tell (run, how many have left the queue for the first time) again and again until the run's end."""
    from_message = 0
    while True:
        run = await reader.broadcasts.run(run_id)
        if run is None:
            raise FailureError("the broadcast is gone from the store")
        waiting, lowest = await reader.broadcasts.waiting(run_id, from_message or run.first_message or 0)
        from_message = lowest or from_message
        told(run, run.done - waiting)
        if run.state in {RunState.CANCELLED, RunState.PAUSED} or (run.state is RunState.DONE and not waiting):
            return run
        await asyncio.sleep(_LOOK_SECONDS)

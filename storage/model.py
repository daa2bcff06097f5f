"""The words as types: what rooms pass to each other and to the store.

Rule: values only; no clock, no chance, no database. Times are integers in milliseconds since the Unix
epoch (`_ms`), sizes are bytes, addresses are `local@domain` with the local part as the sender wrote it
and the domain in lower-case A-labels.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

from storage.access import Role
from storage.frozen import frozen
from storage.status import Event, Status

_QUEUE_ID_ALPHABET: Final = "0123456789BCDFGHJKLMNPQRSTVWXYZb"
_QUEUE_ID_CHARS: Final = 13  # 13 characters of 5 bits hold 63 bits


# Two characters at a time, and remembered for a while: a queue id is written in each line of the log.
_PAIRS: Final = [first + second for first in _QUEUE_ID_ALPHABET for second in _QUEUE_ID_ALPHABET]
_SHIFTS: Final = range(10 * (_QUEUE_ID_CHARS // 2 - 1), -1, -10)


@lru_cache(1024)
def queue_id(message_id: int) -> str:
    """Return the queue id that people and logs use for the message with this id."""
    return _QUEUE_ID_ALPHABET[message_id >> 60] + "".join([_PAIRS[message_id >> shift & 1023] for shift in _SHIFTS])


def message_id_of(queue_id: str) -> int | None:
    """Return the message id behind a queue id, or None where the text cannot be one."""
    if len(queue_id) != _QUEUE_ID_CHARS:
        return None
    value = 0
    for char in queue_id:
        digit = _QUEUE_ID_ALPHABET.find(char)
        if digit < 0:
            return None
        value = value * 32 + digit
    return value if value < 1 << 63 else None


class Phase(StrEnum):
    """How far an attempt came when its reply, or the lack of one, ended it."""

    DNS = "dns"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    AFTER_DOT = "after-dot"


class BodyType(StrEnum):
    """BODY= of MAIL FROM (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


@frozen
class Reply:
    """A remote server's reply, or our own words where none came (`code` 0)."""

    code: int
    enhanced: str | None
    """Enhanced status code (RFC 3463), e.g. "5.1.1"."""
    text: str
    """One line of clean Unicode: lines joined by a blank, no controls, no surrogates."""


@frozen
class Message:
    """A message as the queue holds it, without its content."""

    id: int
    received_ms: int
    sender: str
    """MAIL FROM as submitted; "" for the null sender."""
    body: BodyType
    smtputf8: bool
    size: int
    """Bytes of the stored content."""
    plan: bytes
    """The splice plan, as `relay.inject` writes it; b"" where the message goes untouched."""
    envid: str | None = None
    ret: str | None = None
    user: str | None = None
    """The authenticated user, None for a trusted network."""
    client: str = ""
    """The peer's address, for the log."""
    message_id: str = ""
    """The Message-ID header's value with its angle brackets."""
    from_header: str = ""
    subject: str = ""
    """Decoded for people (RFC 2047), one line, at most 500 characters."""
    untracked_reason: str | None = None
    """Why no image was inserted; None for a tracked message."""
    broadcast: str | None = None
    broadcast_type: str | None = None


@frozen
class NewRecipient:
    """A recipient as a client named it; what becomes of it, admission decides (storage/admit_verb.py)."""

    id: int
    address: str
    domain: str
    notify: str | None = None
    orcpt: str | None = None


@frozen
class Job:
    """One recipient leased to this process for one attempt."""

    message: Message
    recipient_id: int
    address: str
    domain: str
    status: Status
    attempts: int
    """Attempts made before this one."""
    expires_ms: int
    """When the recipient's life in the queue ends."""
    lease: int
    """Proof of the lease; the store refuses an answer whose lease is not the present one."""
    notify: str | None = None
    orcpt: str | None = None
    content: bytes | None = field(default=None, repr=False)
    """The stored content where it is at hand; None: read it with `Store.content`."""
    losses: int = 0
    """Leases before this one that were lost: their process ended without a word of what came of the try."""


@frozen
class Attempt:
    """One try to deliver a recipient."""

    at_ms: int
    duration_ms: int
    phase: Phase
    reply: Reply
    mx: str | None = None
    """Host name of the server tried last; None where none was reached by name."""
    address: str | None = None
    """Its network address."""
    tls: str | None = None
    """e.g. "TLSv1.3 TLS_AES_256_GCM_SHA384 unverified"; None in clear."""
    in_doubt: bool = False
    """The connection broke after the final dot: the server may have the message."""
    category: str | None = None
    """Why the reply refused, of a closed set (`relay.bounce.category`); None where the copy was taken."""
    rules: int | None = None
    """Version of the table that gave the category."""
    dsn_passed: bool = False
    """The server offers DSN (RFC 3461): what the sender asked for by NOTIFY went on to it, and is its duty once it
    has taken the copy. Not stored."""
    source: str | None = None
    """The address of ours that the connection came from; None where the system chose it."""


@frozen
class Result:
    """What an attempt came to, ready to be settled."""

    job: Job
    attempt: Attempt
    event: Event
    """DEFER, HAND_OVER, DELIVER, BOUNCE or FAIL."""
    next_attempt_ms: int | None = None
    """When to try again; set exactly where the event is DEFER."""
    warn_ms: int | None = None
    """When to tell the sender that this takes long; set where a deferral lasts beyond that."""


@frozen
class Settled:
    """The store's answer to a result."""

    status: Status
    """The recipient's status now."""
    accepted: bool
    """False where the lease was no longer ours: the attempt is kept as a fact, nothing else moved."""


class HitKind(StrEnum):
    """Who fetched an image, as judged."""

    PERSON = "person"
    PROXY = "mail proxy"
    """A mail provider's proxy on behalf of a person: counts as an open."""
    PREFETCH = "prefetch"
    """Fetched by the mail client or provider whether or not anybody reads."""
    SCANNER = "scanner"
    """A security gateway."""


OPENING: Final = frozenset({HitKind.PERSON, HitKind.PROXY})
"""Kinds of hits that are opens."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One fetch of a tracking image, judged."""

    recipient_id: int
    at_ms: int
    kind: HitKind
    why: str
    """The rule that judged it, in a few words for people."""
    address: str | None = None
    """The raw network address; None unless the configuration keeps it."""
    agent: str | None = None
    """The raw User-Agent; None unless the configuration keeps it."""


@dataclass(frozen=True, slots=True)
class HitFacts:
    """What is known of a recipient when a hit of its image is judged."""

    recipient_id: int
    status: Status
    delivered_ms: int | None
    """When the last server took the copy (its 250); None where none did yet."""
    in_doubt_ms: int | None
    """When the last attempt ended in doubt; None where it did not."""
    mx_address: str | None
    """Network address of the server that took the copy."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a DSN says of one of our recipients, ready to be applied."""

    recipient_id: int
    event: Event | None
    """DEFER, HAND_OVER (relayed, expanded), DELIVER, BOUNCE or FAIL; None for a complaint, which moves nothing."""
    reply: Reply
    remote_mta: str | None = None
    action: str | None = None
    """As the DSN names it (RFC 3464, 2.3.3)."""
    reported_address: str | None = None
    """The address as the DSN names it, where it is not the recipient's."""
    category: str | None = None
    """As in `Attempt`; None for a success."""
    rules: int | None = None
    """As in `Attempt`."""
    proven: bool = True
    """It came by the copy's own signed return path. One that did not, which anybody could have written who
    has seen the message, never ends a recipient that the queue still serves."""


class TimelineKind(StrEnum):
    """Kinds of entries in a recipient's timeline."""

    ACCEPTED = "accepted"
    ATTEMPT = "attempt"
    HIT = "hit"
    REPORT = "report"
    COMPLAINT = "complaint"
    """A feedback report (RFC 5965)."""
    QUEUE = "queue"
    """An operator held, released, flushed or removed it."""
    EXPIRED = "expired"
    ANSWER = "answer"
    """The sender was told."""
    BLOCKED = "blocked"
    """Its address came on the Blocked Email list while it waited."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One fact about a recipient: what happened, when, and what it was then."""

    at_ms: int
    kind: TimelineKind
    text: str
    """One line for people."""
    status: Status | None
    """The status after it; None where that was not kept."""
    phase: Phase | None = None
    reply: Reply | None = None
    mx: str | None = None
    address: str | None = None
    tls: str | None = None
    duration_ms: int | None = None
    hit: HitKind | None = None
    category: str | None = None
    """Why an attempt's or report's reply refused."""
    dsn_id: int | None = None
    """The stored bounce message that a report or a complaint came in."""
    source: str | None = None
    """The address of ours that an attempt went out from, where the operator chose one."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A stored fact whose category may be judged anew: an attempt's reply, or a report of a bounce message."""

    recipient_id: int
    id: int
    """Of the fact, among those of its kind and recipient."""
    kind: TimelineKind
    """ATTEMPT, REPORT or COMPLAINT."""
    at_ms: int
    recipient: str
    queue_id: str
    status: Status
    """Of the recipient, now."""
    reply: Reply
    mx: str | None
    category: str | None
    rules: int | None
    phase: Phase | None = None
    """Of an attempt."""
    dsn_id: int | None = None
    """Of a report or complaint."""


@dataclass(frozen=True, slots=True)
class StoredDsn:
    """A bounce message as it came, and what became of it."""

    id: int
    received_ms: int
    recipient_id: int | None
    """Whose signed return path it came to; None: it came to postmaster."""
    sender: str
    """MAIL FROM; "" for the null sender."""
    kind: str | None
    """What it was; None where it is not settled yet."""
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of the Email Log: one recipient."""

    queue_id: str
    recipient_id: int
    received_ms: int
    recipient: str
    sender: str
    subject: str
    broadcast: str | None
    status: Status
    attempts: int
    last_attempt_ms: int | None
    next_attempt_ms: int | None
    code: int | None
    enhanced_status: str | None
    diagnostic: str
    mx: str | None
    opens: int
    machine_hits: int
    first_open_ms: int | None
    tracked: bool
    untracked_reason: str | None
    held: bool
    late: str
    """A final report that came after the copy was Delivered ("bounced later: 5.1.1 …"), else ""."""
    size: int = 0
    """Bytes of the message, for `telltale queue list`."""
    category: str | None = None
    """Why the last reply refused; None where it did not."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which rows of the Email Log are wanted; None and () mean all."""

    statuses: tuple[Status, ...] = ()
    recipient: str | None = None
    """An address, a domain as "@example.org", or a part of an address."""
    sender: str | None = None
    """As `recipient`."""
    since_ms: int | None = None
    until_ms: int | None = None
    queue_id: str | None = None
    pending_only: bool = False
    """Only what the queue still has to serve."""
    subject: str | None = None
    """A part of the subject."""
    broadcast: str | None = None
    """A broadcast's name."""
    user: str | None = None
    """Only mail that this user submitted."""
    category: str | None = None
    """Why the last reply refused, by its category: "user unknown"."""
    words: str | None = None
    """Words that all stand in subject, sender and broadcast, or all in the recipient's address; "week*" stands for
    all that begin so. Only for pages, which come newest first."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What transactions did to the log, for those who follow it."""

    since: int
    """The serial that they come after."""
    serial: int
    """The last one's serial; `since` where nothing happened."""
    touched: tuple[int, ...]
    """Recipients that they changed or added, oldest first."""
    accepted: tuple[int, ...]
    """Those of them that are new."""
    torn: bool
    """Whether changes between `since` and these are forgotten: look at everything anew."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some rows of the Email Log, and whether there are more that way."""

    found: list[LogRow]
    """In the order they were looked for."""
    more: bool
    """Whether there are more rows that way, as far as it was looked."""
    reached: int | None
    """Where the time was up: the cursor to go on from; None: it was looked as far as was needed."""
    newest_first: bool

    @property
    def rows(self) -> list[LogRow]:
        """The rows, newest first."""
        return self.found if self.newest_first else self.found[::-1]


@dataclass(frozen=True, slots=True)
class User:
    """Someone who may submit mail."""

    name: str
    password_hash: str
    """argon2id in PHC form."""
    senders: tuple[str, ...] = ()
    """Addresses or "@domain" that the user may send from; () means any."""
    created_ms: int = 0
    role: Role = Role.SENDER
    answers: str | None = None
    """What the user wants to be told, as `relay.answer.settings` writes it; None: as configured."""

"""The Email Log's questions as SQL: which rows a filter wants, in which order, by which index.

Rules: no database here; what people typed is only ever a parameter; a page is found without looking
through the whole log wherever an index knows better: by queue id, by address and sender (with a domain),
by broadcast and user, by the rarer statuses, by what is pending, by time. A part of an address is looked
for row by row.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from storage.model import LogFilter, LogRow, message_id_of, queue_id
from storage.recipient import NEVER
from storage.statements import clean
from storage.status import PENDING, Status
from storage.stretch import FRESH_MESSAGES, HOUR_MS

COLUMNS: Final = (
    "r.id, r.message_id, m.received_ms, r.address, m.sender, m.subject, m.broadcast, r.status, r.attempts,"
    " r.last_attempt_ms, r.due_ms, r.lease, r.code, r.enhanced, r.diagnostic, r.mx, r.opens, r.machine_hits,"
    " r.first_open_ms, m.untracked_reason, r.late, m.size, r.category"
)
# CROSS JOIN is SQLite's word for "in this order": recipients are found first, their messages by them.
MESSAGE: Final = " CROSS JOIN message m ON m.id = r.message_id"

# The index recipient_status leaves these out: Unsent is found among the pending, Delivered is the bulk.
_UNINDEXED: Final = frozenset({Status.UNSENT, Status.DELIVERED})


def log_row(values: tuple[Any, ...]) -> LogRow:
    """Return the LogRow of a row of COLUMNS."""
    (
        id_,
        message_id,
        received_ms,
        address,
        sender,
        subject,
        broadcast,
        status,
        attempts,
        last_attempt_ms,
        due_ms,
        lease,
        code,
        enhanced,
        diagnostic,
        mx,
        opens,
        machine_hits,
        first_open_ms,
        untracked_reason,
        late,
        size,
        category,
    ) = values
    return LogRow(
        queue_id=queue_id(message_id),
        recipient_id=id_,
        received_ms=received_ms,
        recipient=address,
        sender=sender,
        subject=subject,
        broadcast=broadcast,
        status=Status(status),
        attempts=attempts,
        last_attempt_ms=last_attempt_ms,
        # Under a lease `due_ms` is when the lease expires: a try runs now, no next one is known.
        next_attempt_ms=due_ms if lease is None and due_ms != NEVER else None,
        code=code,
        enhanced_status=enhanced,
        diagnostic=diagnostic,
        mx=mx,
        opens=opens,
        machine_hits=machine_hits,
        first_open_ms=first_open_ms,
        tracked=untracked_reason is None,
        untracked_reason=untracked_reason,
        held=due_ms == NEVER,
        late=late,
        size=size,
        category=category,
    )


@dataclass(frozen=True, slots=True)
class Query:
    """SQL and its parameters; the answer's columns are COLUMNS."""

    sql: str
    values: tuple[Any, ...] | dict[str, Any] = ()


@dataclass(slots=True)
class Where:
    """Conditions joined by AND, with their parameters."""

    terms: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, term: str, *values: Any) -> None:
        """Add a condition and its values."""
        self.terms.append(term)
        self.values += values

    def joined(self) -> str:
        """Return all of them as one."""
        return " AND ".join(self.terms) if self.terms else "1"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which rows of those that match; all four are ids, None: no bound."""

    before_id: int | None = None
    """Older than the row of this recipient."""
    after_id: int | None = None
    """Newer than it."""
    low: int | None = None
    """A window of the log: from here on …"""
    high: int | None = None
    """… up to this one, which is outside."""
    newest_first: bool = True


class Search:
    """One filter, and where to look for what it wants."""

    def __init__(self, wanted: LogFilter, bounds: Bounds = Bounds()) -> None:
        """Ask for what `wanted` says, within `bounds`."""
        self._wanted = wanted
        self._bounds = bounds
        self._where = where(wanted)
        self._probe = _probe(wanted)
        self._named = _named(wanted)
        self._order = "DESC" if bounds.newest_first else "ASC"

    @staticmethod
    def order_of(wanted: LogFilter) -> Callable[[LogRow], tuple[int, ...]]:
        """Return what rows are sorted by; both rise with time."""
        if _is_queue(wanted):
            return lambda row: (message_id_of(row.queue_id) or 0, row.recipient_id)
        return lambda row: (row.recipient_id,)

    @property
    def by_stretch(self) -> bool:
        """Whether the answer is put together from `fresh` and `within` (storage/stretch.py)."""
        return self._probe is not None

    @property
    def by_index(self) -> bool:
        """Whether `pages` finds its rows without meeting many others."""
        wanted = self._wanted
        if wanted.queue_id is not None:
            return True
        texts = (wanted.recipient, wanted.sender, wanted.subject, wanted.user, wanted.category)
        if any(given is not None for given in (*texts, wanted.since_ms, wanted.until_ms)):
            return False
        if _is_queue(wanted):
            return not wanted.statuses or set(wanted.statuses) == PENDING
        return not _UNINDEXED & set(wanted.statuses)

    @property
    def is_named(self) -> bool:
        """Whether `stretches` leaves out all but those that have somebody's rows (`stretch_of`)."""
        return bool(self._named)

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves out any."""
        return self.is_named or self._wanted.since_ms is not None or self._wanted.until_ms is not None

    @property
    def is_queue(self) -> bool:
        """Whether the rows are those of the queue, whose windows are of message ids."""
        return _is_queue(self._wanted)

    def pages(self, limit: int) -> list[Query]:
        """Return queries whose answers together hold the first `limit` rows, each in their order."""
        wanted = self._wanted
        if _is_queue(wanted):
            return [self._pending(limit)]
        if wanted.queue_id is None and wanted.statuses and not _UNINDEXED & set(wanted.statuses):
            return [self._of_status(status, limit) for status in dict.fromkeys(wanted.statuses)]
        return [self._page("recipient r NOT INDEXED", limit)]

    def _page(self, source: str, limit: int, *terms: str, values: tuple[Any, ...] = ()) -> Query:
        bounds = self._within_bounds()
        made = " AND ".join([self._where.joined(), *terms, bounds.joined()])
        sql = f"SELECT {COLUMNS} FROM {source}{MESSAGE} WHERE {made} ORDER BY r.id {self._order} LIMIT ?"
        return Query(sql, (*self._where.values, *values, *bounds.values, limit))

    def _within_bounds(self) -> Where:
        made = Where()
        for term, value in (
            ("r.id < ?", self._bounds.before_id),
            ("r.id > ?", self._bounds.after_id),
            ("r.id >= ?", self._bounds.low),
            ("r.id < ?", self._bounds.high),
        ):
            if value is not None:
                made.add(term, value)
        return made

    def _of_status(self, status: Status, limit: int) -> Query:
        # The second term is what lets SQLite use the partial index.
        terms = ("r.status = ?", "r.status NOT IN ('Unsent', 'Delivered')")
        return self._page("recipient r INDEXED BY recipient_status", limit, *terms, values=(status,))

    def _pending(self, limit: int) -> Query:
        """Return the page of a queue, by message and recipient, which is the order of its index.

        Both ids rise with time, so this too is by time, without sorting the whole queue.
        """
        made, at = Where(), self._bounds
        for sign, id_ in (("<", at.before_id), (">", at.after_id)):
            if id_ is not None:
                own = "(ifnull((SELECT message_id FROM recipient WHERE id = ?), ?), ?)"
                made.add(f"(r.message_id, r.id) {sign} {own}", id_, id_, id_)
        for term, value in (("r.message_id >= ?", at.low), ("r.message_id < ?", at.high)):
            if value is not None:
                made.add(term, value)
        sql = (
            f"SELECT {COLUMNS} FROM recipient r INDEXED BY recipient_pending{MESSAGE}"
            f" WHERE {self._where.joined()} AND r.due_ms IS NOT NULL AND {made.joined()}"
            f" ORDER BY r.message_id {self._order}, r.id {self._order} LIMIT ?"
        )
        return Query(sql, (*self._where.values, *made.values, limit))

    def fresh(self, limit: int) -> Query:
        """Return the query for rows that are in no stretch yet."""
        terms, values = self._terms()
        sql = f"SELECT {COLUMNS}{FRESH_MESSAGES} AND {terms} ORDER BY r.id {self._order} LIMIT ?"
        return Query(sql, (*values, limit))

    def stretches(self) -> Query:
        """Return the query for (number, first id, last id) of stretches that may hold rows, the newest first."""
        made = self._meeting()
        for what, name in self._named:
            made.add("number IN (SELECT stretch FROM stretch_of WHERE what = ? AND name = ?)", what, name)
        sql = f"SELECT number, first_id, last_id FROM stretch WHERE {made.joined()} ORDER BY last_id DESC"
        return Query(sql, tuple(made.values))

    def edges(self) -> Query:
        """Return the query for the first ids of the stretches within the bounds, whoever's they are."""
        made = self._meeting()
        return Query(f"SELECT DISTINCT first_id FROM stretch WHERE {made.joined()} ORDER BY 1", tuple(made.values))

    def _meeting(self) -> Where:
        """Return the conditions on stretches that the bounds and the time leave."""
        made = Where()
        for term, value in (
            ("first_id < ?", self._bounds.before_id),
            ("last_id > ?", self._bounds.after_id),
            ("last_id >= ?", self._bounds.low),
            ("first_id < ?", self._bounds.high),
        ):
            if value is not None:
                made.add(term, value)
        if self._wanted.since_ms is not None:
            made.add(f"last_id >= {_FIRST_SINCE}", self._wanted.since_ms // HOUR_MS)
        if self._wanted.until_ms is not None:
            made.add(f"first_id <= {_LAST_UNTIL}", self._wanted.until_ms // HOUR_MS)
        return made

    def within(self, stretches: Sequence[int], limit: int) -> Query:
        """Return the query for rows in some stretches."""
        probe = self._probe
        assert probe is not None  # noqa: S101 - asked only where `by_stretch` says so
        terms, values = self._terms()
        sql = (
            f"SELECT {COLUMNS} FROM json_each(?) AS s CROSS JOIN {probe.sql} AND f.stretch = s.value"
            f" CROSS JOIN recipient r ON r.id = f.recipient_id{MESSAGE} WHERE {terms}"
            f" ORDER BY r.id {self._order} LIMIT ?"
        )
        return Query(sql, (json.dumps(list(stretches)), *probe.values, *values, limit))

    def among(self, recipient_ids: Sequence[int]) -> Query:
        """Return the query for those of some recipients that match."""
        terms, values = self._terms()
        held, more = holding(self._wanted.words)
        sql = (
            f"SELECT {COLUMNS} FROM json_each(?) AS s CROSS JOIN recipient r ON r.id = s.value{MESSAGE}"
            f" WHERE {terms} AND {held} ORDER BY r.id {self._order} LIMIT ?"
        )
        return Query(sql, (json.dumps(list(recipient_ids)), *values, *more, len(recipient_ids)))

    def _terms(self) -> tuple[str, list[Any]]:
        bounds = self._within_bounds()
        return f"{self._where.joined()} AND {bounds.joined()}", [*self._where.values, *bounds.values]


def _is_queue(wanted: LogFilter) -> bool:
    """Return whether rows are those that the queue still has to serve, which have an index of their own."""
    if wanted.queue_id is not None:
        return False
    rare = wanted.statuses and not _UNINDEXED & set(wanted.statuses)
    return not rare and (wanted.pending_only or bool(wanted.statuses and set(wanted.statuses) <= PENDING))


MESSAGE_TEXT: Final = "m.subject || ' ' || m.sender || ' ' || m.from_header || ' ' || ifnull(m.broadcast, '')"
"""Where words of messages `m` are looked for."""

_HOLDING: Final = f"(holds(?, {MESSAGE_TEXT}) OR holds(?, r.address))"


def holding(words: str | None) -> tuple[str, list[str]]:
    """Return the term, and its values, that asks for words of rows `r` and `m` without the full-text tables.

    `holds` is storage/wordtext.py's; the connection has it from its reader.
    """
    return ("1", []) if words is None else (_HOLDING, [words, words])


RECIPIENTS_OF_M: Final = "r.id BETWEEN m.first_recipient AND m.last_recipient AND +r.message_id = m.id"
"""Joins the recipients `r` of a message `m`: by their ids alone (+), or SQLite might index the whole log first."""

OF_MESSAGE: Final = (
    f"SELECT r.id, r.address FROM message m CROSS JOIN recipient r ON {RECIPIENTS_OF_M} WHERE m.id = ? ORDER BY r.id"
)
"""Finds (recipient id, address) by message id."""

_AMONG_ITS_OWN: Final = (
    "r.id BETWEEN (SELECT first_recipient FROM message WHERE id = ?)"
    " AND (SELECT last_recipient FROM message WHERE id = ?) AND r.message_id = ?"
)

BY_HEADER: Final = (
    "SELECT r.id FROM (SELECT f.message_id FROM stretch s"
    " CROSS JOIN by_header f ON f.stretch = s.number AND f.header = ?"
    f" UNION SELECT m.id{FRESH_MESSAGES} AND m.message_id = ?) AS found"
    f" CROSS JOIN message m ON m.id = found.message_id CROSS JOIN recipient r ON {RECIPIENTS_OF_M}"
    " WHERE r.address = ? COLLATE NOCASE ORDER BY r.message_id DESC LIMIT 1"
)
"""Finds a recipient by (Message-ID, Message-ID, address), in the newest message first."""

_FIRST_SINCE: Final = "(SELECT min(first_id) FROM hour WHERE hour >= ?)"
_LAST_UNTIL: Final = "(SELECT max(last_id) FROM hour WHERE hour <= ?)"


def where(wanted: LogFilter) -> Where:
    """Return the conditions of a filter on `recipient r` and `message m`."""
    made = Where()
    _add_texts(made, wanted)
    if wanted.statuses:
        made.add(f"r.status IN ({','.join('?' * len(wanted.statuses))})", *wanted.statuses)
    if wanted.since_ms is not None:
        made.add(f"m.received_ms >= ? AND r.id >= {_FIRST_SINCE}", wanted.since_ms, wanted.since_ms // HOUR_MS)
    if wanted.until_ms is not None:
        made.add(f"m.received_ms < ? AND r.id <= {_LAST_UNTIL}", wanted.until_ms, wanted.until_ms // HOUR_MS)
    if wanted.queue_id is not None:
        # No id is negative: a text that cannot be a queue id finds nothing.
        id_ = message_id_of(wanted.queue_id)
        made.add(_AMONG_ITS_OWN, *[-1 if id_ is None else id_] * 3)
    if wanted.pending_only:
        made.add("r.due_ms IS NOT NULL")
    return made


def _add_texts(made: Where, wanted: LogFilter) -> None:
    if wanted.recipient is not None:
        _add_address(made, clean(wanted.recipient), "r.address", "r.domain")
    if wanted.sender is not None:
        _add_address(made, clean(wanted.sender), "m.sender", "m.sender_domain")
    if wanted.subject is not None:
        made.add("m.subject LIKE ? ESCAPE '\\'", f"%{_escaped(clean(wanted.subject))}%")
    if wanted.broadcast is not None:
        made.add("m.broadcast = ?", clean(wanted.broadcast))
    if wanted.user is not None:
        made.add("m.user = ?", clean(wanted.user))
    if wanted.category is not None:
        made.add("r.category = ?", clean(wanted.category))


def _add_address(made: Where, text: str, address: str, domain: str) -> None:
    """Ask for an address ("a@b"), a domain ("@b") or a part of an address."""
    local, at, host = text.rpartition("@")
    if not at:
        made.add(f"{address} LIKE ? ESCAPE '\\'", f"%{_escaped(text)}%")
        return
    made.add(f"{domain} = ?", host.lower())
    if local:
        made.add(f"{address} = ? COLLATE NOCASE", text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _probe(wanted: LogFilter) -> Query | None:
    """Return what to look for in each stretch, as `f`; None where another index is the better one."""
    if wanted.queue_id is not None:
        return None
    if wanted.recipient is not None and "@" in wanted.recipient:
        return _probed("by_address f ON f.domain = ?", "f.address = ?", clean(wanted.recipient))
    if wanted.broadcast is not None:
        return Query("by_broadcast f ON f.broadcast = ?", (clean(wanted.broadcast),))
    # One sender often sends nearly all; then the rarer statuses and the queue are the shorter way.
    if wanted.pending_only or (wanted.statuses and Status.DELIVERED not in wanted.statuses):
        return None
    return _probe_sender(wanted)


def _named(wanted: LogFilter) -> list[tuple[str, str]]:
    """Return what of a filter `stretch_of` knows the stretches of."""
    found = []
    if wanted.broadcast is not None:
        found.append(("broadcast", clean(wanted.broadcast)))
    if wanted.user is not None:
        found.append(("user", clean(wanted.user)))
    if wanted.sender is not None and "@" in wanted.sender:
        found.append(("sender", clean(wanted.sender).rpartition("@")[2].lower()))
    return found


def _probe_sender(wanted: LogFilter) -> Query | None:
    if wanted.sender is not None and "@" in wanted.sender:
        return _probed("by_sender f ON f.sender_domain = ?", "f.sender = ?", clean(wanted.sender))
    if wanted.user is not None:
        return Query("by_user f ON f.user = ?", (clean(wanted.user),))
    return None


def _probed(domain_term: str, address_term: str, text: str) -> Query:
    local, _, host = text.rpartition("@")
    if not local:
        return Query(domain_term, (host.lower(),))
    return Query(f"{domain_term} AND {address_term}", (host.lower(), text))

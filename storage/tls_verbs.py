"""The verbs and questions of TLS: policies kept, sessions counted, reports made of the counts."""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

from storage import queue_verbs
from storage.lookups import Lookups
from storage.model import Job
from storage.queue_verbs import Acceptance
from storage.statements import Rows
from storage.tls_model import StoredSts, TlsCount, TlsKey
from storage.transaction import Transaction

_KEEP: Final = Rows.insert(
    "sts_policy",
    "domain,id,mode,mx,max_age,fetched_ms,expires_ms,wanted_ms",
    "ON CONFLICT (domain) DO UPDATE SET id=excluded.id, mode=excluded.mode, mx=excluded.mx,"
    " max_age=excluded.max_age, fetched_ms=excluded.fetched_ms, expires_ms=excluded.expires_ms,"
    " wanted_ms=excluded.wanted_ms WHERE excluded.fetched_ms >= sts_policy.fetched_ms",
)
_COUNT: Final = Rows.insert(
    "tls_session",
    "day,domain,policy,failure,mx,address,source,reason,sessions",
    "ON CONFLICT (day,domain,policy,failure,mx,address,source,reason)"
    " DO UPDATE SET sessions=tls_session.sessions+excluded.sessions",
)
_STS: Final = "SELECT domain,id,mode,mx,max_age,fetched_ms,expires_ms,wanted_ms FROM sts_policy"
_AGEING: Final = (
    "SELECT domain FROM sts_policy WHERE (fetched_ms + expires_ms) / 2 < ? AND wanted_ms >= ?"
    " ORDER BY fetched_ms LIMIT ?"
)


def keep_sts(transaction: Transaction, wanted: Sequence[StoredSts]) -> list[None]:
    """Keep policies, each in the place of the domain's last one unless that was fetched later."""
    rows = [(*astuple(each)[:3], json.dumps(each.mx), *astuple(each)[4:]) for each in wanted]
    _KEEP.run(transaction.connection, rows)
    return [None] * len(wanted)


def forget_sts(transaction: Transaction, wanted: Sequence[int]) -> list[None]:
    """Delete policies whose time was over before the times given."""
    transaction.connection.execute("DELETE FROM sts_policy WHERE expires_ms < ?", (max(wanted),))
    return [None] * len(wanted)


def read_sts(lookups: Lookups, domains: Sequence[str]) -> list[StoredSts | None]:
    """Return the policies of domains; None where none is kept."""
    return [_read_sts(lookups, domain) for domain in domains]


def _read_sts(lookups: Lookups, domain: str) -> StoredSts | None:
    found = lookups.connection.execute(f"{_STS} WHERE domain = ?", (domain,)).fetchone()
    if found is None:
        return None
    domain, id_, mode, mx, *times = found
    return StoredSts(domain, id_, mode, tuple(json.loads(mx)), *times)


def read_ageing(lookups: Lookups, wanted: Sequence[tuple[int, int, int]]) -> list[list[str]]:
    """Return domains whose policy is past half of its time, and was wanted of late: (now, wanted since, at most)."""
    return [[domain for (domain,) in lookups.connection.execute(_AGEING, values)] for values in wanted]


def count_sessions(transaction: Transaction, wanted: Sequence[Sequence[TlsCount]]) -> list[None]:
    """Add to the counts."""
    _COUNT.run(transaction.connection, [(*astuple(each.key), each.sessions) for some in wanted for each in some])
    return [None] * len(wanted)


def read_reportable(lookups: Lookups, days: Sequence[int]) -> list[list[tuple[int, str]]]:
    """Return (day, domain) of counts from before a day, oldest first."""
    sql = "SELECT DISTINCT day, domain FROM tls_session WHERE day < ? ORDER BY day, domain"
    return [lookups.connection.execute(sql, (day,)).fetchall() for day in days]


def read_sessions(lookups: Lookups, wanted: Sequence[tuple[int, str]]) -> list[list[TlsCount]]:
    """Return the counts of (day, domain)."""
    sql = (
        "SELECT day,domain,policy,failure,mx,address,source,reason,sessions FROM tls_session"
        " WHERE day = ? AND domain = ? ORDER BY policy, failure, mx, address"
    )
    rows = [lookups.connection.execute(sql, each).fetchall() for each in wanted]
    return [[TlsCount(TlsKey(*row[:8]), row[8]) for row in some] for some in rows]


@dataclass(frozen=True, slots=True)
class TlsReport:
    """The arguments of `Store.report_tls`."""

    day: int
    domain: str
    mail: Acceptance | None
    """The report as a message; None where it goes another way, or nobody wants it any more."""


def report(transaction: Transaction, wanted: Sequence[TlsReport]) -> list[list[Job]]:
    """Delete counts that were reported, and queue the message with them: both, once, or none."""
    return [_report(transaction, each) for each in wanted]


def _report(transaction: Transaction, wanted: TlsReport) -> list[Job]:
    sql = "DELETE FROM tls_session WHERE day = ? AND domain = ?"
    gone = transaction.connection.execute(sql, (wanted.day, wanted.domain)).rowcount
    if not gone or wanted.mail is None:
        return []
    return queue_verbs.accept(transaction, [wanted.mail])[0]

"""Why a recipient's copy is where it is, in plain words.

Rule: pure. What a reply means is told by `storage.reason`; here it is joined with what the row says.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from report.words import count
from storage.model import LogRow
from storage.reason import plain, reason
from storage.status import Status
from storage.untracked import in_words


def why(row: LogRow) -> str:
    """Return why the row's status is what it is, in a line without times."""
    parts = [_WORDS[row.status](row), plain(row.late)]
    if row.machine_hits and not row.opens:
        parts.append(f"{count(row.machine_hits, 'hit')} of machines, none of a person")
    if row.held:
        parts.insert(0, "held")
    if not row.tracked and row.status in _COPIES:
        parts.append(f"not tracked: {plain(in_words(row.untracked_reason))}")
    return "; ".join(part for part in parts if part)


def _reason_of(row: LogRow) -> str:
    return reason(row.code, row.enhanced_status, row.diagnostic, row.category)


def _unsent(row: LogRow) -> str:
    return _reason_of(row) or ("not tried yet" if not row.attempts else "")


def _sent(row: LogRow) -> str:
    return f"handed over to {plain(row.mx)}" if row.mx else "handed over"


def _delivered(row: LogRow) -> str:
    return f"taken by {plain(row.mx)}" if row.mx else "taken by the recipient's server"


def _opened(row: LogRow) -> str:
    return count(row.opens, "open")


def _failed(row: LogRow) -> str:
    return _reason_of(row) or "the address is not valid"


def _bounced(row: LogRow) -> str:
    words = _reason_of(row) or "could not be delivered"
    return f"gave up after {count(row.attempts, 'attempt')}: {words}" if _is_temporary(row) else words


def _is_temporary(row: LogRow) -> bool:
    """Whether the last reply spoke of a trouble that may pass (RFC 5321, 4.2.1; RFC 3463, 2)."""
    return row.code // 100 == 4 if row.code else (row.enhanced_status or "").startswith("4.")  # noqa: PLR2004 - 4yz


def _blocked(row: LogRow) -> str:
    return plain(row.diagnostic) or "on the Blocked Email list"


def _duplicate(row: LogRow) -> str:
    return plain(row.diagnostic) or "met before in the same broadcast"


def _no_email(row: LogRow) -> str:
    return plain(row.diagnostic) or "no address for this type of broadcast"


_WORDS: Final[MappingProxyType[Status, Callable[[LogRow], str]]] = MappingProxyType(
    {
        Status.UNSENT: _unsent,
        Status.SOFT_BOUNCED: _reason_of,
        Status.SENT: _sent,
        Status.DELIVERED: _delivered,
        Status.OPENED: _opened,
        Status.BOUNCED: _bounced,
        Status.FAILED: _failed,
        Status.BLOCKED: _blocked,
        Status.DUPLICATE: _duplicate,
        Status.NO_EMAIL_SELECTED: _no_email,
    }
)
# Where a copy is with the recipient's side, that it has no image matters.
_COPIES: Final = frozenset({Status.SENT, Status.DELIVERED})

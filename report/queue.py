"""What the queue still has to serve, as `telltale queue` shows it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from report.words import rfc3339, short_time, size, span
from storage.model import LogRow
from storage.reason import plain, reason

_DOMAINS_SHOWN: Final = 20


def as_object(row: LogRow) -> dict[str, Any]:
    """Return a waiting recipient as an object."""
    return {
        "queue_id": row.queue_id,
        "recipient": row.recipient,
        "sender": row.sender,
        "size": row.size,
        "received": rfc3339(row.received_ms),
        "status": row.status.value,
        "attempts": row.attempts,
        "last_attempt": rfc3339(row.last_attempt_ms),
        "next_attempt": rfc3339(row.next_attempt_ms),
        "held": row.held,
        "reason": _why(row) or None,
        "category": row.category,
    }


def print_rows(
    console: Console, rows: Sequence[LogRow], now_ms: int, zone: tzinfo | None, *, header: bool = True
) -> None:
    """Print waiting recipients, a line each and one below it with the reason."""
    for row in rows if not header else [None, *rows]:
        console.print(_HEADER if row is None else _line(row, now_ms, zone), soft_wrap=True)
        why = "" if row is None else _why(row)
        if why:
            console.print(Text(f"{'':<15}({why})", style="yellow"), soft_wrap=True)


def _why(row: LogRow) -> str:
    return reason(row.code, row.enhanced_status, row.diagnostic, row.category)


_FORM: Final = "{:<13}  {:>9}  {:>7}  {:<12}  {}"
_HEADER: Final = Text(_FORM.format("Queue id", "Size", "Age", "Next attempt", "Sender → Recipient"), style="bold")


def _line(row: LogRow, now_ms: int, zone: tzinfo | None) -> Text:
    way = f"{plain(row.sender) or '<>'} → {plain(row.recipient)}"
    age = span(now_ms - row.received_ms)
    return Text(_FORM.format(row.queue_id, size(row.size), age, _next(row, now_ms, zone), way))


def _next(row: LogRow, now_ms: int, zone: tzinfo | None) -> str:
    if row.held:
        return "held"
    if row.next_attempt_ms is None:
        return "trying now"
    return "due now" if row.next_attempt_ms <= now_ms else short_time(row.next_attempt_ms, now_ms, zone)


@dataclass(slots=True)
class QueueCount:
    """How many recipients wait."""

    total: int = 0
    held: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_domain: Counter[str] = field(default_factory=Counter)

    def add(self, row: LogRow) -> None:
        """Count a waiting recipient."""
        self.total += 1
        self.held += row.held
        self.by_status[row.status.value] += 1
        self.by_domain[row.recipient.rpartition("@")[2]] += 1

    def as_object(self) -> dict[str, Any]:
        """Return the counts as an object, the largest domains first."""
        return {
            "total": self.total,
            "held": self.held,
            "statuses": _largest(self.by_status),
            "domains": _largest(self.by_domain),
        }


def _largest(counts: Counter[str], at_most: int | None = None) -> Mapping[str, int]:
    # By name among equals, so that two looks at the same queue read the same.
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:at_most])


def print_count(console: Console, counted: QueueCount) -> None:
    """Print how many recipients wait: in all, by status, by domain (the largest)."""
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(justify="right")
    made.add_column()
    made.add_row(Text(str(counted.total), style="bold"), Text("waiting", style="bold"))
    domains = _largest(counted.by_domain, _DOMAINS_SHOWN)
    _add_rows(made, counted.by_status.items())
    if counted.held:
        made.add_row(str(counted.held), "held")
    _add_rows(made, ((f"@{plain(domain)}", number) for domain, number in domains.items()))
    others = len(counted.by_domain) - len(domains)
    if others:
        made.add_row(str(counted.total - sum(domains.values())), Text(f"in {others} other domains"))
    console.print(made)


def _add_rows(made: Table, rows: Iterable[tuple[str, int]]) -> None:
    for name, number in rows:
        made.add_row(Text(str(number)), Text(name))

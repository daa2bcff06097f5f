"""The whole story of a recipient: what is known of it, and each fact of its timeline.

Rule: text from elsewhere is shown, never obeyed.
"""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Final

from rich.console import Console
from rich.text import Text

from report.why import why
from report.words import count, full_time, size, span
from storage.model import LogRow, TimelineEntry
from storage.reason import plain
from storage.status import Status
from storage.untracked import in_words

_LABEL_COLUMNS: Final = 13
_KIND_COLUMNS: Final = 9  # "accepted"


def print_story(
    console: Console, row: LogRow, timeline: Sequence[TimelineEntry], now_ms: int, zone: tzinfo | None
) -> None:
    """Print a recipient's facts and timeline, oldest first."""
    for label, value in _facts(row, now_ms, zone):
        console.print(Text(f"{label:<{_LABEL_COLUMNS}}", style="bold") + Text(value), soft_wrap=True)
    console.print()
    for line in entry_lines(timeline, zone):
        console.print(line, soft_wrap=True)


def _facts(row: LogRow, now_ms: int, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    yield "Recipient", plain(row.recipient)
    yield "Status", f"{row.status}: {why(row)}"
    yield "Queue id", row.queue_id
    yield "Sender", plain(row.sender) or "<> (the null sender)"
    yield "Subject", plain(row.subject)
    if row.broadcast:
        yield "Broadcast", plain(row.broadcast)
    if row.size:
        yield "Size", size(row.size)
    yield "Attempts", str(row.attempts)
    if row.next_attempt_ms is not None:
        yield "Next attempt", _coming(row.next_attempt_ms, now_ms, zone)
    yield "Tracking", _tracking(row, zone)


def _coming(at_ms: int, now_ms: int, zone: tzinfo | None) -> str:
    left = "now" if at_ms <= now_ms else f"in {span(at_ms - now_ms)}"
    return f"{full_time(at_ms, zone)} ({left})"


def _tracking(row: LogRow, zone: tzinfo | None) -> str:
    if not row.tracked:
        return f"none: {plain(in_words(row.untracked_reason))}"
    opens = count(row.opens, "open")
    if row.first_open_ms is not None:
        opens += f", the first {full_time(row.first_open_ms, zone)}"
    return f"{opens}; {count(row.machine_hits, 'hit')} of machines"


def entry_lines(timeline: Sequence[TimelineEntry], zone: tzinfo | None) -> Iterator[Text]:
    """Yield the lines of a timeline: a line an entry, and one below it for how an attempt came there."""
    before: Status | None = None
    for entry in timeline:
        yield _entry_line(entry, before, zone)
        how = _how(entry)
        if how:
            yield Text(" " * (len(full_time(entry.at_ms, zone)) + _KIND_COLUMNS + 4) + how, style="dim")
        before = entry.status or before


def _entry_line(entry: TimelineEntry, before: Status | None, zone: tzinfo | None) -> Text:
    line = Text(full_time(entry.at_ms, zone), style="dim")
    line.append(f"  {entry.kind.value:<{_KIND_COLUMNS}}  ", style="bold not dim")
    line.append(_what(entry), style="not dim")
    if entry.status is not None and entry.status is not before:
        line.append(f" → {entry.status}", style="bold not dim")
    return line


def _what(entry: TimelineEntry) -> str:
    text = plain(entry.text)
    return f"{entry.hit}: {text}" if entry.hit is not None and not text.startswith(entry.hit) else text


def _how(entry: TimelineEntry) -> str:
    """Return where an attempt went, how far it came and how long it took; "" where nothing is known."""
    server = " ".join(part for part in (plain(entry.mx or ""), f"[{entry.address}]" if entry.address else "") if part)
    parts = [
        server,
        f"from {entry.source}" if entry.source else "",
        f"phase {entry.phase}" if entry.phase else "",
        f"category {entry.category}" if entry.category else "",
        plain(entry.tls) if entry.tls else "in clear" if entry.phase and entry.mx else "",
        f"{entry.duration_ms / 1000:.2f} s" if entry.duration_ms is not None else "",
    ]
    return ", ".join(part for part in parts if part)

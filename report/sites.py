"""The sites that workers deliver to at this moment, all workers together, with what waits for each in the store.

Rule: what is asked of the store is bounded, whatever waits; where there is more, that is said.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from report.words import count, rfc3339, short_time
from storage import sites
from storage.reader import Reader
from storage.reason import plain
from storage.sites import SiteState

# Counting so many costs some ten milliseconds.
COUNTED_AT_MOST: Final = 200_000


@dataclass(frozen=True, slots=True)
class SiteRow:
    """A site as all workers see it: their connections, limits and recipients added up."""

    state: SiteState
    waiting: int
    """Recipients in the store for its domains, those that are named; neither in memory nor due now, maybe."""
    workers: tuple[int, ...]
    """Which of the relay processes have something to do with it."""

    @property
    def load(self) -> int:
        """All its recipients, as far as is known."""
        return self.state.ready + self.state.trying + self.waiting


@dataclass(frozen=True, slots=True)
class SitesNow:
    """What there is at one moment, the sites with most recipients first."""

    rows: tuple[SiteRow, ...]
    workers: int
    """Relay processes that live."""
    waiting: int
    """Recipients in the store in all …"""
    waiting_elsewhere: int
    """… and those of them whose domains no site here names: their sites are at rest, or not known yet."""
    more: bool
    """Whether there are more than were counted."""


async def sites_now(state_dir: Path, reader: Reader, most: int | None = None) -> SitesNow:
    """Look at the files of living workers, and count what waits, `most` (COUNTED_AT_MOST) at most.

    Raises PermissionError.
    """
    told = await asyncio.to_thread(sites.read, state_dir)
    waiting, more = await reader.waiting(COUNTED_AT_MOST if most is None else most)
    rows = merged(told, waiting)
    named = {domain for row in rows for domain in row.state.domains}
    elsewhere = sum(number for domain, number in waiting.items() if domain not in named)
    # A reload has an old and a new file of one worker for a while.
    return SitesNow(rows, len({worker for worker, _ in told}), sum(waiting.values()), elsewhere, more)


def merged(told: Iterable[tuple[int, Sequence[SiteState]]], waiting: Mapping[str, int]) -> tuple[SiteRow, ...]:
    """Join what each worker (which, its sites) tells into one row a site."""
    by_site: dict[tuple[str, str, str | None], list[tuple[int, SiteState]]] = {}
    for worker, states in told:
        for state in states:
            by_site.setdefault((state.name, state.shape, state.source), []).append((worker, state))
    rows = [_row(seen, waiting) for seen in by_site.values()]
    return tuple(sorted(rows, key=lambda row: (-row.load, row.state.name, row.state.shape)))


def _row(seen: Sequence[tuple[int, SiteState]], waiting: Mapping[str, int]) -> SiteRow:
    joined = seen[0][1]
    for _, state in seen[1:]:
        last = max(joined, state, key=lambda each: each.reply_ms)
        joined = replace(
            joined,
            domains=tuple(dict.fromkeys((*joined.domains, *state.domains))),
            domain_count=max(joined.domain_count, state.domain_count),
            ready=joined.ready + state.ready,
            trying=joined.trying + state.trying,
            connections=joined.connections + state.connections,
            window=joined.window + state.window,
            most=joined.most + state.most,
            slowness=max(joined.slowness, state.slowness),
            reply=last.reply,
            reply_ms=last.reply_ms,
            until_ms=max(joined.until_ms, state.until_ms),
        )
    count_ = max(joined.domain_count, len(joined.domains))
    workers = tuple(sorted({worker for worker, _ in seen}))
    return SiteRow(replace(joined, domain_count=count_), sum(waiting.get(each, 0) for each in joined.domains), workers)


def as_object(row: SiteRow) -> dict[str, Any]:
    """Return a site as an object."""
    state = row.state
    return {
        "site": state.name,
        "entry": state.shape,
        "source": state.source,
        "domains": sorted(state.domains),
        "domain_count": state.domain_count,
        "ready": state.ready,
        "trying": state.trying,
        "waiting": row.waiting,
        "connections": state.connections,
        "connections_now": state.window,
        "connections_most": state.most,
        "rate": state.rate,
        "slowed_by": state.slowness,
        "last_reply": state.reply or None,
        "last_reply_at": rfc3339(state.reply_ms or None),
        "backoff_until": rfc3339(state.until_ms or None),
        "workers": list(row.workers),
    }


_FORM: Final = "{:>6} {:>7} {:>5} {:>8} {:>9}  {:<12}  {:<7}  {}"
_HEADER: Final = Text(
    _FORM.format("Ready", "Waiting", "Conn.", "Limit", "Rate", "Left alone", "Worker", "Site"), style="bold"
)


def print_sites(console: Console, now: SitesNow, rows: Sequence[SiteRow], now_ms: int, zone: tzinfo | None) -> None:
    """Print sites, a line each and one below it with the last reply, and what is not shown in numbers."""
    if not now.workers:
        console.print(Text("no relay process is running", style="yellow"))
    if now.workers or rows:
        console.print(_HEADER, soft_wrap=True)
    for row in rows:
        console.print(_line(row, now_ms, zone), soft_wrap=True)
        if row.state.reply:
            console.print(Text(f"{'':<7}({plain(row.state.reply)})", style="yellow"), soft_wrap=True)
    for sentence in _left(now, len(rows)):
        console.print(Text(sentence), soft_wrap=True)


def _line(row: SiteRow, now_ms: int, zone: tzinfo | None) -> Text:
    state = row.state
    until = short_time(state.until_ms, now_ms, zone) if state.until_ms > now_ms else "-"
    rate = (state.rate or "-") if state.slowness == 1 else f"{state.rate or ''}÷{state.slowness}"
    entry = "" if state.shape == "default" else f" [{plain(state.shape)}]"
    source = f" from {plain(state.source)}" if state.source else ""
    domains = "" if state.domain_count == 1 else f" ({count(state.domain_count, 'domain')})"
    limit = f"{state.window}/{state.most}"
    numbers = (state.ready + state.trying, row.waiting, state.connections, limit, rate, until)
    site = f"{plain(state.name)}{entry}{source}{domains}"
    return Text(_FORM.format(*numbers, ",".join(map(str, row.workers)), site))


def _left(now: SitesNow, shown: int) -> Iterable[str]:
    if shown < len(now.rows):
        yield f"{count(len(now.rows) - shown, 'more site')}: --all shows them"
    if now.waiting_elsewhere:
        yield f"{count(now.waiting_elsewhere, 'recipient')} in the store for domains of no site above"
    if now.more:
        yield f"more than {COUNTED_AT_MOST} recipients wait: the numbers of those that wait are lower bounds"

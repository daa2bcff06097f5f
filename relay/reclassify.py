"""Stored replies and bounce messages, judged anew by the present table of rules.

Rule: only categories change; what a reply did to a status is done. Memory does not grow with the log.
"""

from collections.abc import AsyncIterator
from typing import Final

from relay.bounce.apply import reports_for
from relay.bounce.classify import VERSION
from relay.bounce.finding import Parsed
from relay.bounce.parse import parse
from relay.deliver.verdict import category_of
from storage.model import Judged, Phase
from storage.reader import Reader
from storage.store import Store

Change = tuple[Judged, str]
"""A stored fact, and the category that it has by the present rules."""

# Changes that one transaction writes: what waits for a commit meanwhile waits for these.
_AT_ONCE: Final = 500


async def changes(reader: Reader, since_ms: int = 0) -> AsyncIterator[list[Change]]:
    """Yield what the present rules see differently, of all that happened since then, some at a time."""
    judge = _Judge(reader)
    async for facts in reader.judged(since_ms):
        judged = [(fact, await judge.category(fact)) for fact in facts]
        changed = [(fact, category) for fact, category in judged if category and category != fact.category]
        for start in range(0, len(changed), _AT_ONCE):
            yield changed[start : start + _AT_ONCE]


async def write(store: Store, changed: list[Change]) -> int:
    """Write new categories; return how many facts took theirs."""
    return await store.recategorise([(fact, category, VERSION) for fact, category in changed])


class _Judge:
    """Keeps the bounce message parsed last: its reports come one after the other."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._dsn_id: int | None = None
        self._parsed: Parsed | None = None

    async def category(self, fact: Judged) -> str | None:
        """Return a fact's category by the present rules; None where it has none, or nothing is left to read."""
        if fact.dsn_id is None:
            return category_of(fact.reply, fact.phase or Phase.RCPT, fact.mx)
        parsed = await self._read(fact.dsn_id, fact.recipient)
        reports = reports_for(parsed, fact.recipient_id, fact.recipient) if parsed else []
        return reports[0].category if reports else None

    async def _read(self, dsn_id: int, address: str) -> Parsed | None:
        if dsn_id != self._dsn_id:
            stored = await self._reader.dsn(dsn_id)
            self._dsn_id = dsn_id
            self._parsed = parse(stored.raw, address if stored.recipient_id is not None else None) if stored else None
        return self._parsed

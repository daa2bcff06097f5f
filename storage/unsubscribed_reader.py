"""Questions about who unsubscribed from what, as `Reader.unsubscribed`.

Rule: a page is found by an index and begins where the one before ended (keyset); what names a beginning or a domain
looks through those that unsubscribed, never through contacts.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from storage.address import Fault, address_key, parse_domain, type_key
from storage.logquery import Query
from storage.people import ALL_TYPES, Left, Unsubscription
from storage.statements import clean

_PAGE: Final = 1000
_LAST_CHARACTER: Final = "\U0010ffff"
_COLUMNS: Final = "u.address, u.type, u.at_ms, u.source, u.recipient_id"


@dataclass(frozen=True, slots=True)
class UnsubscribedFilter:
    """Which unsubscriptions are wanted; None means all."""

    text: str | None = None
    """How an address begins, or "@example.org": all of a domain."""
    type: str | None = None
    """From exactly this type of broadcasts (ALL_TYPES: from all)."""


class UnsubscribedReader:
    """Reads them by somebody's connection."""

    def __init__(self, ask: Callable[[Query], Awaitable[list[Any]]]) -> None:
        """Take what answers a query."""
        self._ask = ask

    async def of(self, address: str) -> list[Unsubscription]:
        """Return what an address does not want, in any letter case."""
        sql = f"SELECT {_COLUMNS} FROM unsubscribed u WHERE u.address = ? ORDER BY u.type"
        return [Unsubscription(*row) for row in await self._ask(Query(sql, (clean(address_key(address)),)))]

    async def page(self, wanted: UnsubscribedFilter, *, limit: int, before: Unsubscription | None = None) -> list[Left]:
        """Return those after `before` in the order of a page: the newest first, those of one time by address."""
        where, values = _conditions(wanted)
        if before is not None:
            # Of one time, ever higher addresses: the first two terms are what the index answers.
            where += " AND u.at_ms <= ? AND (u.at_ms < ? OR (u.address, u.type) > (?, ?))"
            values += [before.at_ms, before.at_ms, before.address, before.type]
        sql = (
            f"SELECT {_COLUMNS}, {_BROADCAST} FROM unsubscribed u WHERE {where}"
            " ORDER BY u.at_ms DESC, u.address, u.type LIMIT ?"
        )
        rows = await self._ask(Query(sql, (*values, limit)))
        return [Left(Unsubscription(*row[:-1]), row[-1]) for row in rows]

    async def stream(self, wanted: UnsubscribedFilter) -> AsyncIterator[Left]:
        """Yield all that match, the newest first, in constant memory."""
        page = await self.page(wanted, limit=_PAGE)
        while page:
            for left in page:
                yield left
            page = await self.page(wanted, limit=_PAGE, before=page[-1].was)


_BROADCAST: Final = (
    "(SELECT m.broadcast FROM recipient r CROSS JOIN message m ON m.id = r.message_id WHERE r.id = u.recipient_id)"
)


def _conditions(wanted: UnsubscribedFilter) -> tuple[str, list[Any]]:
    terms, values = ["1"], list[Any]()
    text = clean(wanted.text or "")
    if text.startswith("@"):
        domain = parse_domain(text[1:])
        known = text[1:].lower() if isinstance(domain, Fault) else domain
        terms.append("substr(u.address, -length(?)) = ? COLLATE NOCASE")
        values += [f"@{known}"] * 2
    elif text:
        terms.append("u.address >= ? AND u.address < ?")
        values += [address_key(text), address_key(text) + _LAST_CHARACTER]
    if wanted.type is not None:
        terms.append("u.type = ?")
        values.append(wanted.type if wanted.type == ALL_TYPES else type_key(wanted.type))
    return " AND ".join(terms), values

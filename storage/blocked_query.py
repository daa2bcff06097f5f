"""Questions about the Blocked Email list, as SQL: which entries a filter wants.

Rule: no database, no clock; what people typed is only ever a parameter; the verb that undoes an incident and
the page that shows what it would undo ask in the same words.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from storage.address import Fault, parse_domain
from storage.logquery import Query
from storage.people import Blocked, Source
from storage.statements import clean

COLUMNS: Final = "b.address, b.source, b.created_ms, b.reason, b.category, b.expires_ms, b.recipient_id, b.id"
_LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class BlockedFilter:
    """Which entries of the Blocked Email list are wanted; None and () mean all."""

    text: str | None = None
    """What an address begins with, or "@example.org": all of a domain."""
    sources: Collection[Source] = ()
    category: str | None = None
    """Why, as it was judged then or is judged now (`telltale bounce reclassify`)."""
    since_ms: int | None = None
    """On the list since this time or later."""
    until_ms: int | None = None
    """On the list since before this time."""


MOST_SORTED: Final = 10_000
"""Where so many begin as is asked for, a page of them is met sooner in the order of ids than all are sorted."""


def some(wanted: BlockedFilter) -> Query:
    """Return the question for a row for each entry whose address is as asked for, up to MOST_SORTED."""
    terms, values = list[str](), list[Any]()
    _add_text(clean(wanted.text or ""), terms, values)
    return Query(f"SELECT 1 FROM blocked b WHERE {terms[0]} LIMIT ?", (*values, MOST_SORTED))


def entries(wanted: BlockedFilter, *, limit: int, before_id: int | None = None, met: bool = False) -> Query:
    """Return the question for a page of entries, the newest ids first; `met`: one is met after another."""
    where, values = conditions(wanted)
    if before_id is not None:
        where, values = f"{where} AND b.id < ?", [*values, before_id]
    source = "blocked b NOT INDEXED" if met else "blocked b"
    return Query(f"SELECT {COLUMNS} FROM {source} WHERE {where} ORDER BY b.id DESC LIMIT ?", (*values, limit))


def entry(row: tuple[Any, ...]) -> Blocked:
    """Return a row of COLUMNS as a value."""
    address, source, *rest = row
    return Blocked(address, Source(source), *rest)


def conditions(wanted: BlockedFilter) -> tuple[str, list[Any]]:
    """Return conditions on `b`, and their parameters."""
    terms, values = ["1"], list[Any]()
    if wanted.text:
        _add_text(clean(wanted.text), terms, values)
    if wanted.sources:
        terms.append("b.source IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(sorted(wanted.sources)))
    if wanted.category is not None:
        # The copy that it was blocked for may have been judged anew since.
        terms.append(
            "(b.category = ? OR ? IN (SELECT category FROM recipient WHERE id = b.recipient_id"
            " UNION ALL SELECT category FROM event WHERE recipient_id = b.recipient_id))"
        )
        values += [clean(wanted.category)] * 2
    for term, bound in (("b.created_ms >= ?", wanted.since_ms), ("b.created_ms < ?", wanted.until_ms)):
        if bound is not None:
            terms.append(term)
            values.append(bound)
    return " AND ".join(terms), values


def _add_text(text: str, terms: list[str], values: list[Any]) -> None:
    if text.startswith("@"):
        domain = parse_domain(text[1:])
        terms.append("b.domain = ?")
        values.append(text[1:].lower() if isinstance(domain, Fault) else domain)
    else:
        terms.append("b.address >= ? AND b.address < ?")
        values += [text, text + _LAST_CHARACTER]

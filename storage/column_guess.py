"""What the columns of somebody else's CSV file may be: guessed by their headers, and by what is in them.

Rule: pure; a guess is shown to people before anything is done with it.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from storage.contact_rows import FIELD, MOST_ADDRESSES, meant, parsed

_NAMES: Final = (
    ("key", "id, contact id, contact key, customer id, customer key, customer no, customer number, external id, uid"),
    ("key", "member id, member no, member number, user id, kunden id, kunden nr, kundennr, kundennummer"),
    ("key", "mitgliedsnummer, personalnummer, numero client, numero de client"),
    ("name", "contact, contact name, customer, customer name, display name, full name, fullname, person"),
    ("name", "ansprechpartner, kontakt, kunde, vollstandiger name, nom, nom complet, nombre, nome"),
    ("list", "group, groups, segment, segments, gruppe, gruppen, liste, listen, verteiler"),
    ("types", "broadcast types, subscriptions, topics, abonnements, themen"),
)
_MEANINGS: Final = {name: column for column, names in _NAMES for name in names.split(", ")}
_MAIL: Final = re.compile(r"\b(e ?mails?|mails?|mailadresse|emailadresse|courriel|correo)\b")


def guessed(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return what each header probably means, as a `mapping` of storage.contact_rows.read_csv; `rows`: the first ones.

    A header that means something by itself keeps its meaning.
    """
    found: dict[str, str] = {}
    taken = {meaning for name in header if not (meaning := meant(name)).startswith(FIELD)}
    addresses = _addresses(header, rows)
    for at, name in enumerate(header):
        if not name or name in found:
            continue
        meaning = meant(name)
        if meaning.startswith(FIELD) and not name.startswith(FIELD):
            meaning = _next_email(taken) if at in addresses else _by_name(name, taken) or meaning
            taken.add(meaning)
        found[name] = meaning
    return found


def _by_name(name: str, taken: set[str]) -> str | None:
    column = _MEANINGS.get(_words(name))
    return None if column in taken else column


def _next_email(taken: set[str]) -> str:
    places = ["email", *[f"email{place}" for place in range(2, MOST_ADDRESSES + 1)]]
    return next(place for place in places if place not in taken and (place != "email" or "email1" not in taken))


def _addresses(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns that hold addresses; where nothing tells, those whose name says so."""
    told = [at for at in range(len(header)) if _holds_addresses([row[at] for row in rows if at < len(row)])]
    named = [at for at, name in enumerate(header) if _MAIL.search(_words(name)) and not any(_cells(rows, at))]
    return sorted({*told, *named})[: MOST_ADDRESSES - 1]


def _cells(rows: Sequence[Sequence[str]], at: int) -> list[str]:
    return [row[at] for row in rows if at < len(row) and row[at]]


def _holds_addresses(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and sum(isinstance(parsed(cell), str) and "@" in cell for cell in filled) * 2 > len(filled)


def _words(name: str) -> str:
    """Return the words of a header without case, accents and signs."""
    base = "".join(char for char in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(char))
    return " ".join(re.findall(r"[^\W_]+", base))

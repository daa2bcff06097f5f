"""What a reply or a bounce's words mean: a category of a closed set.

One table (`rules`) serves SMTP replies at delivery time and bounce messages alike. Rule: pure and
linear; text is cut before it is searched, and searched for literals only.
"""

import re
from functools import lru_cache
from typing import Final

from relay.bounce.category import INVALID_ADDRESS, Category, Verdict, verdict_of
from relay.bounce.rules import (
    BEFORE_CODES,
    CODES,
    DETAILS,
    LOOSE,
    MIDDLE,
    NOUNS,
    PROVIDER_CODES,
    PROVIDER_WORDS,
    STRONG,
    SUBJECTS,
    SURE_DETAILS,
    VERSION,
    WEAK,
    Phrases,
)

__all__ = ["INVALID_ADDRESS", "VERSION", "Category", "Verdict", "classify", "verdict_of"]

MAX_TEXT: Final = 1500
"""Characters of a text that are searched; a reply's reason stands at its beginning."""

# Addresses say nothing of the reason, not even the names of lists in them ("<rbl.fan@example.org>").
_ADDRESSES: Final = re.compile(r"[^\s<>()\[\]\"':;,=@]{1,64}@[^\s<>()\[\]\"':;,=@]{1,253}")
# Nor do host names and URLs, once the providers' own are known ("antispam.example.com said: …").
_NAMES: Final = re.compile(
    r"[^\s<>()\[\]\"':;,=]{0,200}@[^\s<>()\[\]\"':;,=]{1,200}|https?://\S{1,400}|\b(?:[\w-]{1,63}\.){1,20}[a-z][\w-]{0,62}"
)
_BLANKS: Final = re.compile(r"\s+")


def classify(code: int, enhanced: str | None, text: str, host: str = "") -> Category:
    """Return why a reply refused, from its SMTP code (0: none), enhanced code, text and the server's host name.

    Order: a provider's own code, a phrase that leaves no doubt, a specific enhanced code, any phrase,
    the enhanced code's subject, the SMTP code. Says nothing of finality: ask the code or the action.
    """
    whole = _BLANKS.sub(" ", text[:MAX_TEXT].lower().replace("’", "'").replace("`", "'"))
    found = _phrase(PROVIDER_CODES, _ADDRESSES.sub(" ", whole) if "@" in whole else whole) or _provider(
        host.lower().rstrip("."), whole
    )
    if found:
        return found
    plain = _BLANKS.sub(" ", _NAMES.sub(" ", whole))
    return _worded(plain, (enhanced or "").partition(".")[2], code)


# Servers say the same to many, but for the names.
@lru_cache(maxsize=1024)
def _worded(text: str, detail: str, code: int) -> Category:
    return (
        _phrase(STRONG, text)
        or _phrase(BEFORE_CODES, text)
        or SURE_DETAILS.get(detail)
        or _loosely(text)
        or _phrase(MIDDLE, text)
        or _phrase(WEAK, text)
        or DETAILS.get(detail)
        or SUBJECTS.get(detail.partition(".")[0])
        or CODES.get(code)
        or Category.OTHER
    )


def _provider(host: str, text: str) -> Category | None:
    for end, phrase, category in PROVIDER_WORDS:
        if host.endswith(end) and phrase in text:
            return category
    return None


def _loosely(text: str) -> Category | None:
    if not any(noun in text for noun in NOUNS):
        return None
    for category, pattern in LOOSE:
        if pattern.search(text):
            return category
    return None


def _phrase(table: Phrases, text: str) -> Category | None:
    for category, phrases in table:
        for phrase in phrases:
            if phrase in text:
                return category
    return None

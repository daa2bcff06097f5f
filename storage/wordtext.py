"""What people search for, as the full-text tables understand it, and the same told of one text without them.

Rule: pure; what people typed never becomes an operator; a word is found in a text exactly where the tables (unicode61,
without diacritics) have it.
"""

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final

# As the tokenizer unicode61 has them: letters and digits; a star asks for all words that begin so.
_WORD: Final = re.compile(r"[^\W_]+\*?")
_MOST_WORDS: Final = 12
# Those of all scripts are below.
_MOST_MARKS: Final = 0x20000


def words_of(text: str) -> list[str]:
    """Return the words of what somebody typed, a star at the end of beginnings."""
    found: list[str] = _WORD.findall(text)[:_MOST_WORDS]
    return found


def match_of(text: str) -> str | None:
    """Return the expression for MATCH: all of the words; None where there is none."""
    return " ".join(map(_quoted, words_of(text))) or None


def leading_of(text: str) -> str | None:
    """Return the expression for the longest of the whole words, one list of the tables; None: all are beginnings."""
    whole = [word for word in words_of(text) if not word.endswith("*")]
    return _quoted(max(whole, key=len)) if whole else None


def _quoted(word: str) -> str:
    return f'"{word[:-1]}"*' if word.endswith("*") else f'"{word}"'


def holds(words: str, text: str | None) -> bool:
    """Return whether a text holds all words of what somebody typed; no word, or no text: it does not."""
    wanted = _wanted(words)
    if not text or not wanted:
        return False
    folded = text.lower() if text.isascii() else _folded(text)
    return all(word in folded and pattern.search(folded) is not None for word, pattern in wanted)


@lru_cache(maxsize=64)
def _wanted(words: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    folded = [_folded(word) for word in words_of(words)]
    return tuple((word.rstrip("*"), _pattern(word)) for word in folded)


def _pattern(folded: str) -> re.Pattern[str]:
    end = "" if folded.endswith("*") else r"(?![^\W_])"
    return re.compile(rf"(?<![^\W_]){re.escape(folded.rstrip('*'))}{end}")


def _folded(text: str) -> str:
    """Return a text in small letters, without diacritics."""
    marks = _marks()
    return "".join([char for char in unicodedata.normalize("NFD", text) if char not in marks]).lower()


@cache
def _marks() -> frozenset[str]:
    """Return all that combines with the letter before it."""
    return frozenset(char for char in map(chr, range(_MOST_MARKS)) if unicodedata.category(char) == "Mn")

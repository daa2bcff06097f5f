"""What people search for, as the full-text tables understand it.

Rule: pure; what people typed never becomes an operator.
"""

import re
from typing import Final

# As the tokenizer unicode61 has them: letters and digits; a star asks for all words that begin so.
_WORD: Final = re.compile(r"[^\W_]+\*?")
_MOST_WORDS: Final = 12
# All rows that hold any word with the beginning are met and sorted: of a short one, that is a great part of the log.
_LEAST_BEGINNING: Final = 4


def words_of(text: str) -> list[str]:
    """Return the words of what somebody typed, a star at the end of beginnings (of some letters at least)."""
    found: list[str] = _WORD.findall(text)[:_MOST_WORDS]
    return [word if len(word) > _LEAST_BEGINNING else word.rstrip("*") for word in found]


def match_of(text: str) -> str | None:
    """Return the expression for MATCH: all of the words; None where there is none."""
    quoted = [f'"{word[:-1]}"*' if word.endswith("*") else f'"{word}"' for word in words_of(text)]
    return " ".join(quoted) or None

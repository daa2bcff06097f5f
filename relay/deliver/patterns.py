"""Values by domain pattern, as routes and TLS policies are given: "example.org", "*.example", "*".

Rule: pure; the most specific pattern holds, whatever their order. What is no pattern is a PatternError with one
sentence for the person who wrote it.
"""

import re
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_NAME: Final = 253  # RFC 1035, 2.3.4, as text

T = TypeVar("T")


class PatternError(ValueError):
    """A pattern that cannot be understood; its text is a sentence for the operator."""


class Patterns(Generic[T]):
    """Values by pattern."""

    __slots__ = ("_exact", "_rest", "_suffixes")

    def __init__(self, values: Mapping[str, T]) -> None:
        """Take `{pattern: value}`: a domain, "*.example" for all below it, "*" for all; raises PatternError."""
        self._rest = values.get("*")
        self._suffixes = {_domain(key[2:], key): value for key, value in values.items() if key.startswith("*.")}
        self._exact = {_domain(key, key): value for key, value in values.items() if key[:2] not in {"*", "*."}}

    def match(self, domain: str) -> T | None:
        """Return the value of the most specific pattern that `domain` (lower-case A-labels) fits; None: no one."""
        found = self._exact.get(domain)
        if found is not None or not self._suffixes:
            return self._rest if found is None else found
        parent = domain
        while parent:
            _, _, parent = parent.partition(".")
            if parent in self._suffixes:
                return self._suffixes[parent]
        return self._rest


def a_labels(name: str) -> str | None:
    """Return a domain or host name in lower-case A-labels, None where it cannot be one."""
    try:
        ascii_name = (name if name.isascii() else name.encode("idna").decode("ascii")).rstrip(".").lower()
    except UnicodeError:
        return None
    if len(ascii_name) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in ascii_name.split(".")):
        return None
    return ascii_name


def _domain(name: str, pattern: str) -> str:
    domain = a_labels(name)
    if domain is None:
        raise PatternError(f'the pattern "{pattern}" is no domain: write "example.org", "*.example" or "*"')
    return domain

"""What a domain asks of those who send to it by MTA-STS (RFC 8461): its TXT record and its policy, as they are read.

Rule: pure. Both are written by strangers: what does not keep to the RFC's form is no record and no policy.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from relay.deliver.patterns import a_labels

# RFC 8461, 3.3: what a policy may be large, at the sender's choice; 64 KiB is its example.
MAX_POLICY_BYTES: Final = 64 * 1024
# RFC 8461, 3.2: about a year.
MAX_AGE_SECONDS: Final = 31_557_600
# As many hosts as we take of an MX answer several times over.
_MAX_PATTERNS: Final = 200

# RFC 8461, 3.1: the version comes first; the id is 1 to 32 letters and digits.
_VERSION: Final = re.compile(r"v=STSv1[ \t]*(?:;|$)")
_ID: Final = re.compile(r"id[ \t]*=[ \t]*([A-Za-z0-9]{1,32})")
_FIELD: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):(.*)")


class Mode(StrEnum):
    """What is to be done where a server does not keep to the policy (RFC 8461, 5)."""

    ENFORCE = "enforce"
    """Do not deliver to it."""
    TESTING = "testing"
    """Deliver, and report it."""
    NONE = "none"
    """As if there was no policy."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy, as far as it says how to deliver."""

    mode: Mode
    mx: tuple[str, ...]
    """Names of hosts in lower-case A-labels, some with "*." in the place of their first label."""

    def names(self, host: str) -> bool:
        """Return whether a mail host (lower-case A-labels) is one of the policy's (RFC 8461, 4.1)."""
        _, _, parent = host.partition(".")
        return host in self.mx or (bool(parent) and f"*.{parent}" in self.mx)


@dataclass(frozen=True, slots=True)
class Published:
    """A policy as it was published."""

    policy: StsPolicy
    max_age: int
    """Seconds that it holds."""


def record_id(records: Iterable[str]) -> str | None:
    """Return the id of the one MTA-STS record among a name's TXT records; None: the domain has no policy.

    More than one is as none (RFC 8461, 3.1).
    """
    ours = [record for record in records if _VERSION.match(record)]
    if len(ours) != 1:
        return None
    _, *fields = ours[0].split(";")
    found = [match for field in fields if (match := _ID.fullmatch(field.strip(" \t")))]
    return found[0][1] if found else None


def parse_policy(content: bytes) -> Published | str:
    """Read a policy's text (RFC 8461, 3.2), or return why it is none, in a few words."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "it is not UTF-8 text"
    fields: dict[str, str] = {}
    mx: list[str] = []
    for line in text.split("\n"):
        found = _FIELD.fullmatch(line.removesuffix("\r"))
        if found is None:
            if line.strip():
                return "a line is no field"
        elif found[1] == "mx":
            mx.append(found[2].strip(" \t"))
        else:
            fields.setdefault(found[1], found[2].strip(" \t"))
    return _policy(fields, mx)


def _policy(fields: dict[str, str], mx: list[str]) -> Published | str:
    if fields.get("version") != "STSv1":
        return "its version is not STSv1"
    if fields.get("mode") not in set(Mode):
        return "its mode is none of enforce, testing and none"
    max_age = fields.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", max_age):
        return "it has no max_age"
    patterns = [_pattern(name) for name in mx]
    named = tuple(pattern for pattern in patterns if pattern is not None)
    mode = Mode(fields["mode"])
    if len(named) != len(mx) or len(mx) > _MAX_PATTERNS:
        return "an mx is no host name, or there are too many"
    if not named and mode is not Mode.NONE:
        return "it names no mx"
    return Published(StsPolicy(mode, tuple(sorted(set(named)))), min(int(max_age), MAX_AGE_SECONDS))


def _pattern(name: str) -> str | None:
    star = name.startswith("*.")
    host = a_labels(name[2:] if star else name)
    return f"*.{host}" if star and host else host

"""What the doctor found: a level, a subject, a sentence, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARN = "warn"
    """Works, but not as well as it could; or could not be looked at from here."""
    FAIL = "fail"
    """Mail or tracking will not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `telltale doctor`."""

    level: Level
    subject: str
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Level.OK, subject, text)


def warn(subject: str, text: str, advice: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(Level.WARN, subject, text, advice)


def fail(subject: str, text: str, advice: str) -> Finding:
    """Return a finding that keeps mail or tracking from working."""
    return Finding(Level.FAIL, subject, text, advice)

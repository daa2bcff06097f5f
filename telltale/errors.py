"""What `telltale` may end with: sentences for people, each with its exit code.

Rule: whoever raises one of these has written the whole sentence; whoever prints it adds nothing.
"""

from collections.abc import Sequence
from typing import ClassVar


class FailureError(Exception):
    """The command failed; the text is one clear sentence."""

    exit_code: ClassVar[int] = 1


class UsageError(FailureError):
    """The command line cannot be meant; the text says what was expected."""

    exit_code: ClassVar[int] = 2


class ConfigError(FailureError):
    """The configuration is wrong; `sentences` names every mistake that was found, one each."""

    exit_code: ClassVar[int] = 2

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = tuple(sentences)


_ROOMS = ("telltale", "relay", "pixel", "report", "storage")


def sentence_of(error: BaseException) -> str:
    """Return what to tell a person of any error; our own exceptions carry their sentence."""
    if type(error).__module__.partition(".")[0] in _ROOMS:
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return f"unexpected {type(error).__name__}: {error} (TELLTALE_DEBUG=1 shows where)"

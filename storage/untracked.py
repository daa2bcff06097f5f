"""Why a message goes out untouched: a closed set, with a sentence for people each.

Rule: the values are stored, and given to programs, so they stay as they are once released; people are shown
the sentences.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class UntrackedReason(StrEnum):
    """Why no image was put into a message; `sentence` says it to people."""

    OPTED_OUT = "opted-out"
    ALREADY_TRACKED = "already-tracked"
    SIGNED = "signed"
    ENCRYPTED = "encrypted"
    INLINE_PGP = "inline-pgp"
    FOREIGN_DKIM = "foreign-dkim"
    TEXT_ONLY = "text-only"
    PATCH = "patch"
    MAILING_LIST = "mailing-list"
    TEXT_WANTED = "text-wanted"
    TEXT_UNREADABLE = "text-unreadable"
    TEXT_TOO_LONG = "text-too-long"
    ATTACHED_ONLY = "attached-only"
    EMBEDDED_ONLY = "embedded-only"
    REPORT = "report"
    NO_TEXT = "no-text"
    UNKNOWN_MULTIPART = "unknown-multipart"
    MALFORMED_HEADER = "malformed-header"
    AMBIGUOUS_HEADER = "ambiguous-header"
    AMBIGUOUS_BOUNDARY = "ambiguous-boundary"
    TOO_COMPLEX = "too-complex"
    UNKNOWN_ENCODING = "unknown-encoding"
    BROKEN_ENCODING = "broken-encoding"
    UNKNOWN_CHARSET = "unknown-charset"
    BROKEN_CHARSET = "broken-charset"
    EMPTY_HTML = "empty-html"
    FRAMESET = "frameset"
    NO_SAFE_PLACE = "no-safe-place"
    SELF_CHECK = "self-check"
    NOT_PLANNED = "not-planned"

    @property
    def sentence(self) -> str:
        """One sentence that tells people why."""
        return _SENTENCES[self]


_R = UntrackedReason
_SENTENCES: Final = MappingProxyType(
    {
        _R.OPTED_OUT: "The sender asked for no tracking (X-Track-Opens: no).",
        _R.ALREADY_TRACKED: "The message already holds this image.",
        _R.SIGNED: "The message is signed (S/MIME or PGP/MIME), and a change would break its signature.",
        _R.ENCRYPTED: "The message is encrypted.",
        _R.INLINE_PGP: "The text is signed or encrypted with inline PGP.",
        _R.FOREIGN_DKIM: "The message carries a DKIM signature that is not ours, and a change would break it.",
        _R.TEXT_ONLY: "The message has no HTML, and its plain text is left as it is.",
        _R.PATCH: "The message is plain text that programs read: a patch or an encoded file.",
        _R.MAILING_LIST: "The message is plain text to a mailing list.",
        _R.TEXT_WANTED: "The message is plain text, and the settings keep it so for this sender or recipient.",
        _R.TEXT_UNREADABLE: "The message is plain text whose characters could not be read for certain.",
        _R.TEXT_TOO_LONG: "The message is plain text too long for an HTML version.",
        _R.ATTACHED_ONLY: "The only HTML is an attachment.",
        _R.EMBEDDED_ONLY: "The only text is inside a forwarded message.",
        _R.REPORT: "The message is a report for mail programs.",
        _R.NO_TEXT: "The message has no text that is shown.",
        _R.UNKNOWN_MULTIPART: "The message is built in a way that mail programs show differently.",
        _R.MALFORMED_HEADER: "The message's header is malformed.",
        _R.AMBIGUOUS_HEADER: "The message says twice, or wrongly, what it holds.",
        _R.AMBIGUOUS_BOUNDARY: "Where the message's parts begin and end is in doubt.",
        _R.TOO_COMPLEX: "The message has too many parts, levels or header fields.",
        _R.UNKNOWN_ENCODING: "The HTML is in a transfer encoding that is not known.",
        _R.BROKEN_ENCODING: "The HTML's transfer encoding is broken.",
        _R.UNKNOWN_CHARSET: "The HTML is in a charset that is not known.",
        _R.BROKEN_CHARSET: "The HTML is not valid in the charset that it names.",
        _R.EMPTY_HTML: "The HTML is empty.",
        _R.FRAMESET: "The HTML is a frameset, which shows no image of its own.",
        _R.NO_SAFE_PLACE: "The HTML has no place where an image would surely be shown and change nothing.",
        _R.SELF_CHECK: "A self-check failed: this is a bug of Telltale. The message went out as it came.",
        _R.NOT_PLANNED: "The message was stored without a plan for an image.",
    }
)


def in_words(value: str | None) -> str:
    """Return the sentence of a stored value as part of a line: "the message is encrypted".

    A value of another version of Telltale is shown as it is; None is one that was never stored.
    """
    if value is None:
        return "no reason known"
    if value not in _SENTENCES:
        return value
    sentence = UntrackedReason(value).sentence
    return sentence[0].lower() + sentence[1:].removesuffix(".")

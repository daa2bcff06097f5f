"""Small readings of text: addresses, reply codes, enhanced codes, clean diagnostics.

Rule: pure and linear; every pattern is bounded in what one match may take, and callers bound the text.
"""

import re
from typing import Final

from relay.bounce.finding import MAX_DIAGNOSTIC

MAX_ADDRESS: Final = 320  # RFC 5321, 4.5.3.1: 64 + 1 + 255

ADDRESS: Final = re.compile(
    r"[^\s<>()\[\]@,;:\"'\\=|`][^\s<>()\[\]@,;:\"\\=|`]{0,63}@(?:[\w-]{1,63}\.){0,20}[\w-]{1,63}"
)
"""An address in running text; local parts are wide on purpose (RFC 6531 and what people send)."""
_ALONE: Final = re.compile(r"[^\s<>@\"\\]{1,64}@(?:\[[\w.:]{1,60}\]|(?:[\w-]{1,63}\.){0,20}[\w-]{1,63})")
"""An address that has a field for itself: more may stand in its local part."""
_QUOTED_ADDRESS: Final = re.compile(r'"[^"\n]{1,64}"@[\w.-]{1,253}')
_COMMENT: Final = re.compile(r"\([^()]{0,200}\)")
_TYPE: Final = re.compile(r"\s*([A-Za-z][\w-]{0,30})\s*;")
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT: Final = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_CONTROLS: Final = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

ENHANCED: Final = re.compile(r"(?<![\w.\-/])([245]\.[0-7]\.\d{1,3})(?![\w-]|\.\d)")
"""An enhanced status code in text (RFC 3463), not a piece of a network address or version."""
_ENHANCED_IN_REPLY: Final = re.compile(
    r"(?<![\w.:/@-])([245]\d\d)[ -]+(?:[#\[(<'\"]\s?)?([245]\.[0-7]\.\d{1,3})(?![\w-]|\.\d)"
)
_CODE_AFTER_WORD: Final = re.compile(
    r"(?:said|responded with|responded|response|response was|<<<|replied|reply|error|smtp;|returned|says|answer|code"
    r"|failed with|message follows|server|error_code|responsecode)[:\s\"'(=]{0,6}([2-5]\d\d)(?=[\s:;,)\"'-])",
    re.IGNORECASE,
)
_CODE_AT_START: Final = re.compile(r"\A[\W_]{0,3}(?:[45]\d\d[ -](?=[45]\d\d[ -]))?([2-5]\d\d)(?=[ \-:;)]|$)")
_CODE: Final = re.compile(r"(?<![\w.:/@#\[+-])([45][0-7]\d)(?=(?: |-| - |: )(?:[^\W\d_]|[<#\"'(\[5]))")


def clean(text: str) -> str:
    """Return text as one line: blanks and controls become one blank; cut to MAX_DIAGNOSTIC."""
    return _CONTROLS.sub(" ", text[: 2 * MAX_DIAGNOSTIC]).strip()[:MAX_DIAGNOSTIC]


def typed(value: str) -> tuple[str, str]:
    """Split `type; value` of a DSN field (RFC 3464, 2.1.2): the type in lower case, "" where it is missing."""
    found = _TYPE.match(value)
    return (found[1].lower(), value[found.end() :].strip()) if found else ("", value.strip())


def mailbox(value: str) -> str:
    """Return the address in a DSN field's value: no type, comment, or angle brackets; "" where there is none.

    `rfc822` and `utf-8` addresses lose their type (RFC 6533, 3: unitext is decoded). X.400 and other
    foreign forms come back as they are, so that nothing is lost.
    """
    kind, plain = typed(value[: 4 * MAX_ADDRESS].replace("\n", " "))
    if kind == "utf-8":
        plain = _UNITEXT.sub(_character, plain)
    quoted = _QUOTED_ADDRESS.search(plain)
    if quoted:
        return quoted[0]
    plain = _COMMENT.sub(" ", plain) if "(" in plain else plain
    inside = plain.partition("<")[2].partition(">")[0] if "<" in plain else plain
    inside = inside.strip().strip("<>'\"").strip()
    if inside[:7].lower() in ("mailto:", "rfc822;", "smtp://"):
        inside = inside[7:]
    if inside[:5].lower() == "smtp:":
        inside = inside[5:]
    if _ALONE.fullmatch(inside):
        return inside
    found = ADDRESS.search(inside)
    if found and kind in ("", "rfc822", "utf-8"):
        return found[0].rstrip(".")
    return inside[:MAX_ADDRESS]


def is_address(text: str) -> bool:
    """Whether text is an address of the internet's mail and nothing else."""
    return bool(_ALONE.fullmatch(text) or _QUOTED_ADDRESS.fullmatch(text))


def addresses(value: str) -> list[str]:
    """Return the addresses in a header value, each once, in order."""
    return list(dict.fromkeys(found[0] for found in ADDRESS.finditer(value[:4000])))


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if 0x20 < number < 0xD800 or 0xDFFF < number < 0x110000 else "\ufffd"  # noqa: PLR2004 - Unicode


def xtext(value: str) -> str:
    """Decode xtext (RFC 3461, 4): +2B is "+"."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), value)


def enhanced(text: str) -> str:
    """Return the enhanced code that text gives, a specific one before x.0.0; "" where there is none."""
    with_code = _ENHANCED_IN_REPLY.search(text)
    if with_code and not vague(with_code[2]):
        return with_code[2]
    first = ""
    for found in ENHANCED.finditer(text):
        if not vague(found[1]):
            return found[1]
        first = first or found[1]
    return first


def vague(status: str) -> bool:
    """Whether an enhanced code says nothing but its class."""
    return not status or status.endswith(".0.0")


def reply_code(text: str, classes: str = "45") -> int | None:
    """Return the SMTP code of the reply that text quotes, with a first digit of `classes`; None where there is none."""
    for pattern in (_ENHANCED_IN_REPLY, _CODE_AT_START, _CODE_AFTER_WORD, _CODE):
        for found in pattern.finditer(text):
            if found[1][0] in classes:
                return int(found[1])
    return None

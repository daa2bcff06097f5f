"""One line of `key=value` pairs for the log, in Postfix's spirit.

Rule: a value comes from anywhere, so no value can end its pair, its line, or colour a terminal: what is not
plain is quoted, and inside quotes everything that is not printable is escaped. Pure.
"""

import re
from typing import Final

# Printable ASCII but for the blank, the quote, "=" and the backslash: those would be read as ours.
_is_plain: Final = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LAST_OF_ONE_BYTE: Final = 0xFF
_LAST_OF_TWO_BYTES: Final = 0xFFFF


def kv(**fields: object) -> str:
    """Return `key=value` pairs joined by a blank, in the order given; fields that are None are left out.

    A value is written as `str()` gives it; an empty one, and one with blanks, quotes, "=", backslashes or
    characters that are not printable (controls, line separators, direction marks, surrogates), stands in
    double quotes with backslash escapes.
    """
    return " ".join(
        [
            f"{key}={text if _is_plain(text := str(value)) else _quoted(text)}"
            for key, value in fields.items()
            if value is not None
        ]
    )


def _quoted(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join([_escaped(char) for char in text]) + '"'


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code <= _LAST_OF_ONE_BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _LAST_OF_TWO_BYTES else f"\\U{code:08x}"

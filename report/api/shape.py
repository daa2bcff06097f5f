"""The shape of a JSON text, looked at before it is read: how many values it has, and how they are nested.

Rules: pure, linear, and in constant memory beside a copy. What is read takes many times the memory of its bytes, and
each fault in it more; so what nobody needs is refused by counting. Whether it is JSON at all, whoever reads it says.
"""

import re
from typing import Final

MOST_VALUES: Final = 20_000
MOST_MEMBERS: Final = 400
"""Of one object."""
MOST_DEEP: Final = 12
# What stands before a sign that gives the text its shape (strings, numbers, names, blanks), and that sign. It matches
# wherever it begins, to the end at worst, so that each byte is looked at once. Escaped quotes are taken out before.
_TOKEN: Final = re.compile(rb'[^"{}\[\],]*+(?:"[^"]*+"?+[^"{}\[\],]*+)*+([{}\[\],]|\Z)')
_COMMA: Final = ord(",")
_OPEN: Final = frozenset(b"{[")
_OBJECT: Final = ord("{")


def wrong_shape(raw: bytes, most_values: int = MOST_VALUES) -> str | None:
    """Return why a JSON text is more than anybody needs, in a sentence; None: it may be read."""
    if len(raw) <= MOST_MEMBERS:  # a byte is no value
        return None
    around: list[tuple[bool, int]] = []
    is_object, members, values = False, 0, 1
    text = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    for found in _TOKEN.finditer(text):
        sign = found[1][0] if found[1] else 0
        if sign == _COMMA:
            values, members = values + 1, members + 1
            if is_object and members >= MOST_MEMBERS:
                return f"An object of the body has more than {MOST_MEMBERS} members."
            if values > most_values:
                return f"The body has more than {most_values} values."
        elif sign in _OPEN:
            around.append((is_object, members))
            is_object, members, values = sign == _OBJECT, 0, values + 1
            if len(around) > MOST_DEEP:
                return f"The body is nested more than {MOST_DEEP} deep."
        elif around:
            is_object, members = around.pop()
    return None

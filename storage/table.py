"""Lines of CSV (RFC 4180) that people open in programs for tables.

Rules: pure. No cell begins as a formula, which those programs would obey: an apostrophe stands before it, as people
write it there. What is written so is read back as it was.
"""

import csv
import io
import re
from collections.abc import Sequence
from typing import Final

# What makes a program calculate a cell (OWASP, CSV injection), full-width forms too. One that has apostrophes before it
# gets one more, so that each can be undone.
_FORMULA: Final = re.compile("'*+[-=+@\t\r\n＝＋－＠]")


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return f"'{text}" if _FORMULA.match(text) else text


def text_of(cell: str) -> str:
    """Return the text that a cell stands for."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def line(cells: Sequence[str], end: str = "\n") -> str:
    """Return a line of texts, with its end."""
    out = io.StringIO()
    # A CR in a cell is quoted only where it could end the line.
    csv.writer(out, lineterminator="\r\n").writerow(map(cell, cells))
    return out.getvalue().removesuffix("\r\n") + end

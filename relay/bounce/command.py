"""What `telltale bounce parse FILE…` prints: JSON Lines, one a reported recipient.

Rule: one line at least for every file, so that nothing goes missing; plain ASCII.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from relay.bounce.finding import Finding
from relay.bounce.parse import parse

# A line that begins a mail in an mbox file: sender, day, time, year.
_FROM_LINE: Final = re.compile(
    rb"(?:\A|\n)\r?\n?From [^\s]{1,320} [^\r\n]{0,40}\d\d:\d\d(?::\d\d)?[^\r\n]{0,20}\d{4}\r?\n"
)


def lines(paths: Iterable[str | Path], recipient: str | None = None) -> Iterator[str]:
    """Yield the JSON lines of the files in order; a file may be a mail or an mbox of several.

    Keys: file, recipient, action, status, reply_code, diagnostic, result, category, kind, detector,
    remote_mta; null where unknown. A mail that is no bounce gives one line whose result is "None".
    `recipient` is the return path's recipient, for mails that name none. Raises OSError for a file
    that cannot be read.
    """
    for path in paths:
        for raw in _mails(Path(path).read_bytes()):
            parsed = parse(raw, recipient)
            for found in parsed.findings or (None,):
                yield json.dumps(
                    {"file": str(path), **_fields(found), "kind": parsed.kind, "detector": parsed.detector or None}
                )


def _mails(content: bytes) -> list[bytes]:
    starts = [found.start() for found in _FROM_LINE.finditer(content)] if content.startswith(b"From ") else []
    ends = [*starts[1:], len(content)]
    return [content[start:end] for start, end in zip(starts, ends, strict=False)] or [content]


def _fields(found: Finding | None) -> dict[str, str | int | None]:
    if found is None:
        empty = dict.fromkeys(("recipient", "action", "status", "reply_code", "diagnostic"))
        return {**empty, "result": "None", "category": None, "remote_mta": None}
    return {
        "recipient": found.recipient or None,
        "action": found.action,
        "status": found.status or None,
        "reply_code": found.reply_code,
        "diagnostic": found.diagnostic or None,
        "result": found.verdict,
        "category": found.category,
        "remote_mta": found.remote_mta or None,
    }

"""One mail to a sender on many recipients: a table to read, and all of them as CSV.

Rule: pure. What servers said stands in the CSV too: no cell of it is a formula (storage/table.py).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from relay.answer.field import multipart, table_part, text_part
from relay.answer.letter import Letterhead, header
from storage import table
from storage.duty import Collected, Digest, DutyKind
from storage.reason import plain, reason, spelled

_LINES: Final = 100
_ADDRESS_CHARS: Final = 40
_RESULTS: Final = {
    DutyKind.FAILED: "not delivered",
    DutyKind.DELIVERED: "delivered",
    DutyKind.RELAYED: "relayed",
    DutyKind.EXPANDED: "expanded",
}


def digest_mail(
    digest: Digest, collected: Sequence[Collected], head: Letterhead, *, complete: bool, more: bool
) -> bytes:
    """Return the digest of what was collected.

    `complete`: no recipient of the broadcast is under way any more; `more`: others failed too, and the log has them.
    """
    failed = sum(one.kind is DutyKind.FAILED for one in collected)
    about = f'the broadcast "{plain(digest.broadcast)}"' if digest.broadcast else "your messages"
    subject = f"Undeliverable: {failed}{'+' if more else ''} of {about}"
    fields = header(head, digest.sender, subject, "auto-generated")
    parts = [
        text_part(_text(about, collected, head, complete=complete, more=more)),
        table_part("undelivered.csv", _csv(collected)),
    ]
    return multipart(fields, "multipart/mixed", parts)


def _text(about: str, collected: Sequence[Collected], head: Letterhead, *, complete: bool, more: bool) -> str:
    counts = Counter(_RESULTS[one.kind] for one in collected)
    numbers = ", ".join(f"{number} {result}" for result, number in sorted(counts.items()))
    lines = [
        f"This is the mail system at {head.hostname}.",
        "",
        f"Of {about}, since you were told last: {numbers}.",
        *(["No copy is under way any more."] if complete else []),
        "",
        *[_line(one) for one in collected[:_LINES]],
        *(["", f"The attached table has all {len(collected)}."] if len(collected) > _LINES else []),
        *(["There are more than the table holds: the Email Log has all."] if more else []),
    ]
    return "\n".join(lines) + "\n"


def _line(one: Collected) -> str:
    return f"{plain(one.address):<{_ADDRESS_CHARS}}  {_RESULTS[one.kind]:<13}  {_reason(one)}".rstrip()


def _reason(one: Collected) -> str:
    reply = one.reply
    return reason(reply.code, reply.enhanced, reply.text, one.category) if reply else ""


def _csv(collected: Sequence[Collected]) -> str:
    lines = [table.line(("address", "result", "reason", "reply", "subject"))]
    for one in collected:
        reply = one.reply
        said = spelled(reply.code, reply.enhanced, reply.text) if reply else ""
        lines.append(
            table.line([plain(text) for text in (one.address, _RESULTS[one.kind], _reason(one), said, one.subject)])
        )
    return "".join(lines)

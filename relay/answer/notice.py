"""Reports to senders: delivery status notifications (RFC 3464; RFC 6533 where an address or the message is not ASCII).

Rule: pure. The text says in plain words what became of whom, the report says it to programs, and the third part
returns the message: whole only for a failure, where the sender did not ask for the header alone, and where it is not
too large (RFC 3461, 4.3 and 6.2).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import wrap
from types import MappingProxyType
from typing import Final

from relay.answer.field import (
    Part,
    folded,
    is_for_all,
    message_id,
    multipart,
    raw_part,
    sendable,
    text_part,
    unstructured,
)
from relay.answer.field import xtext_decoded as decoded
from relay.answer.letter import Letterhead, header, titled
from relay.receive.headers import mail_date
from storage.duty import Duty, DutyKind, Group
from storage.model import Message, Reply, queue_id
from storage.reason import plain, reason, spelled

_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_ORCPT: Final = re.compile(r"([A-Za-z0-9-]+);(.+)")
_IPV4: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_IPV6: Final = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_HEADER_END: Final = re.compile(rb"\r\n(?=\r\n)")
_MOST_HEADER_BYTES: Final = 64 * 1024
_WIDTH: Final = 76


@dataclass(frozen=True, slots=True)
class _Words:
    """What is said of a kind of report."""

    subject: str
    one: str
    many: str
    """Where it speaks of several recipients."""
    after: str
    """What follows from it."""
    status: str
    """Status where no reply gives one (RFC 3463, 2): unspecified."""


_WORDS: Final = MappingProxyType(
    {
        DutyKind.FAILED: _Words(
            "Undeliverable",
            "Your message could not be delivered to the following address:",
            "Your message could not be delivered to the following addresses:",
            "It will not be tried again.",
            "5.0.0",
        ),
        DutyKind.DELAYED: _Words(
            "Delayed",
            "Your message has not reached the following address yet:",
            "Your message has not reached the following addresses yet:",
            "You need do nothing: it is still being tried. You will be told if that does not succeed.",
            "4.0.0",
        ),
        DutyKind.DELIVERED: _Words(
            "Delivered",
            "Your message was delivered to the following address:",
            "Your message was delivered to the following addresses:",
            "You asked to be told.",
            "2.0.0",
        ),
        DutyKind.RELAYED: _Words(
            "Relayed",
            "Your message was taken by the next mail server for the following address:",
            "Your message was taken by the next mail server for the following addresses:",
            "You asked to be told. That server does not say what becomes of the message further on.",
            "2.0.0",
        ),
        DutyKind.EXPANDED: _Words(
            "Expanded",
            "Your message was taken by a mailing list for the following address:",
            "Your message was taken by mailing lists for the following addresses:",
            "You asked to be told. What becomes of the copies to its members is not told.",
            "2.0.0",
        ),
    }
)


def notice(group: Group, content: bytes | None, head: Letterhead, return_up_to: int) -> bytes:
    """Return the report on a group of duties (no FORWARD); `content` is the message's, None where it is kept no more.

    It goes to the message's sender, from the null sender.
    """
    made = _made(group, head, _returned(group, content, return_up_to))
    # Nobody hears of a report that fails: rather without what keeps it from some servers.
    return made if is_for_all(made) else _made(group, head, _returned(group, content, -1))


def _made(group: Group, head: Letterhead, returned: Part) -> bytes:
    message, words = group.message, _WORDS[group.kind]
    utf8 = _is_international(group)
    parts = [
        text_part(_text(group, head)),
        raw_part("message/global-delivery-status" if utf8 else "message/delivery-status", _report(group, head)),
        returned,
    ]
    fields = header(head, message.sender, titled(words.subject, message), "auto-replied", message)
    return multipart(fields, "multipart/report; report-type=delivery-status", parts)


def _is_international(group: Group) -> bool:
    message = group.message
    addresses = (message.sender, *(duty.address for duty in group.duties))
    return message.smtputf8 or not all(map(str.isascii, addresses))


# For people.


def _text(group: Group, head: Letterhead) -> str:
    words = _WORDS[group.kind]
    told = [line for duty in group.duties for line in _of_recipient(duty)]
    lines = [
        f"This is the mail system at {head.hostname}.",
        "",
        *wrap(words.one if len(group.duties) == 1 else words.many, _WIDTH),
        "",
        *told,
        *wrap(words.after, _WIDTH),
        "",
        *_of_message(group.message),
    ]
    return "\n".join(lines) + "\n"


def _of_recipient(duty: Duty) -> list[str]:
    lines = [f"<{plain(duty.address)}>"]
    if why := _why(duty):
        lines += _indented(why)
    if duty.reply and duty.reply.code:
        lines += _indented(f"{plain(duty.mx or '') or 'The server'} said: {_spelled(duty.reply)}")
    if duty.kind is DutyKind.DELAYED:
        lines += _indented(f"It is tried until {mail_date(duty.expires_ms)}.")
    return [*lines, ""]


def _why(duty: Duty) -> str:
    reply = duty.reply
    if reply is None or duty.kind not in {DutyKind.FAILED, DutyKind.DELAYED}:
        return ""
    words = reason(reply.code, reply.enhanced, reply.text, duty.category)
    return words[:1].upper() + words[1:]


def _indented(text: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _of_message(message: Message) -> list[str]:
    known = (
        ("Subject", plain(message.subject)),
        ("From", plain(message.from_header)),
        ("Sent", mail_date(message.received_ms)),
        ("Queue id", queue_id(message.id)),
    )
    return ["Your message:", *(line for name, text in known if text for line in _indented(f"{name}: {text}"))]


# For programs.


def _report(group: Group, head: Letterhead) -> bytes:
    blocks = [_of_all(group.message, head), *(_of_one(group, duty) for duty in group.duties)]
    return "\r\n".join(blocks).encode("utf-8", "replace")


def _of_all(message: Message, head: Letterhead) -> str:
    """Return the per-message fields (RFC 3464, 2.2)."""
    envid = folded("Original-Envelope-Id", decoded(message.envid)) if message.envid else ""
    return (
        envid
        + folded("Reporting-MTA", f"dns; {head.hostname}")
        + folded("X-Telltale-Queue-Id", queue_id(message.id))
        + folded("Arrival-Date", mail_date(message.received_ms))
    )


def _of_one(group: Group, duty: Duty) -> str:
    """Return the per-recipient fields (RFC 3464, 2.3)."""
    utf8 = _is_international(group)
    fields = [_original(duty.orcpt, utf8=utf8)]
    kind = "rfc822" if duty.address.isascii() else "utf-8"
    fields.append(folded("Final-Recipient", f"{kind}; {duty.address}"))
    fields.append(folded("Action", duty.kind))
    fields.append(folded("Status", _status(duty)))
    if duty.mx:
        fields.append(folded("Remote-MTA", f"dns; {_ascii(_host(duty.mx), utf8=utf8)}"))
    if duty.reply:
        fields.append(folded("Diagnostic-Code", _ascii(_diagnostic(duty.reply), utf8=utf8)))
    if duty.last_attempt_ms is not None:
        fields.append(folded("Last-Attempt-Date", mail_date(duty.last_attempt_ms)))
    if duty.kind is DutyKind.DELAYED:
        fields.append(folded("Will-Retry-Until", mail_date(duty.expires_ms)))
    return "".join(fields)


def _host(name: str) -> str:
    """Return a host's name, or its address as a literal (RFC 3464, 2.1.2; RFC 5321, 4.1.3)."""
    if _IPV4.fullmatch(name):
        return f"[{name}]"
    return f"[IPv6:{name}]" if _IPV6.fullmatch(name) else name


def _original(orcpt: str | None, *, utf8: bool) -> str:
    """Return Original-Recipient as the sender gave it, out of its xtext (RFC 3461, 6.3)."""
    found = _ORCPT.fullmatch(orcpt or "")
    if not found:
        return ""
    # An ORCPT of UTF-8 keeps its own encoding where the report is in ASCII (RFC 6533, 3).
    text = found[2] if found[1].lower() == "utf-8" and not utf8 else decoded(found[2])
    return folded("Original-Recipient", f"{found[1]}; {_ascii(text, utf8=utf8)}")


def _status(duty: Duty) -> str:
    """Return the enhanced code, of a class that the action allows (RFC 3464, 2.3.4)."""
    reply, default = duty.reply, _WORDS[duty.kind].status
    found = (reply and reply.enhanced) or ""
    if not _ENHANCED.fullmatch(found):
        temporary = reply is not None and reply.code // 100 == 4  # noqa: PLR2004 - RFC 5321, 4.2.1
        return "4.0.0" if temporary and default[0] == "5" else default
    fits = found[0] in "45" if default[0] == "5" else found[0] == default[0]
    return found if fits else f"{default[0]}{found[1:]}"


def _diagnostic(reply: Reply) -> str:
    return f"{'smtp' if reply.code else 'X-Telltale'}; {_spelled(reply)}"


def _spelled(reply: Reply) -> str:
    return plain(spelled(reply.code, reply.enhanced, reply.text))


def _ascii(text: str, *, utf8: bool) -> str:
    return text if utf8 else text.encode("ascii", "replace").decode()


# The message.


def _returned(group: Group, content: bytes | None, return_up_to: int) -> Part:
    message = group.message
    whole = sendable(content) if content is not None and len(content) <= _most(group, return_up_to) else None
    if whole is not None:
        return raw_part("message/global" if message.smtputf8 else "message/rfc822", whole)
    media = "message/global-headers" if message.smtputf8 else "text/rfc822-headers"
    head = _HEADER_END.split(content[:_MOST_HEADER_BYTES], maxsplit=1) if content is not None else []
    kept = sendable(head[0] + b"\r\n") if len(head) > 1 else None
    return raw_part(media, kept if kept is not None else _known_header(message))


def _most(group: Group, return_up_to: int) -> int:
    """Return how large a message may be to be returned whole."""
    whole = group.kind is DutyKind.FAILED and group.message.ret != "HDRS"
    return return_up_to if whole else -1


def _known_header(message: Message) -> bytes:
    """Return what is still known of a header whose content is kept no more."""
    known: tuple[tuple[Callable[[str, str], str], str, str], ...] = (
        (unstructured, "From", message.from_header),
        (unstructured, "Subject", message.subject),
        (folded, "Message-ID", message_id(message.message_id)),
        (folded, "Date", mail_date(message.received_ms)),
    )
    return "".join(field(name, text) for field, name, text in known if plain(text)).encode()

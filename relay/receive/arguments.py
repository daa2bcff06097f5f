"""The arguments of MAIL and RCPT: a path and its parameters (RFC 5321, 4.1.1.11), each with its own case kept.

Known parameters: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), AUTH (RFC 4954), and RET, ENVID,
NOTIFY, ORCPT (RFC 3461). What is in xtext is checked down to what it decodes to, since it is passed on as it came.

Rule: pure, linear, and nothing raises: a refusal is a Reply.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from storage.address import Address, Fault, parse_mailbox, split_path
from storage.frozen import frozen
from storage.model import BodyType, Reply

# RFC 3461: 4.4 (ENVID) and 4.2 (ORCPT).
MAX_ENVID_CHARS: Final = 100
MAX_ORCPT_CHARS: Final = 500

_KEYWORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*+")
_VALUE: Final = re.compile(r"[^= ]++")
_SIZE: Final = re.compile(r"[0-9]{1,20}")  # RFC 1870, 4
# RFC 3461, 4: what "+XX" stands for must be printable ASCII, or a CR LF could travel inside.
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))++")
# RFC 6533, 3: "\x{…}" stands for what the text itself may not hold, and for Unicode where only ASCII may travel.
# Controls are left out, and surrogates: undecodable bytes of the line have become some.
_EMBEDDED: Final = (
    r"\\x\{(?:20|2B|3D|5C|[A-F][0-9A-F]|[1-9A-F][0-9A-F]{2}|[1-9A-CE-F][0-9A-F]{3}|D[0-7][0-9A-F]{2}"
    r"|[1-9A-F][0-9A-F]{4}|10[0-9A-F]{4})\}"
)
_ADDR_XTEXT: Final = re.compile(rf"(?:[!-*,-<>-\[\]-~]|{_EMBEDDED})++")
_UNITEXT: Final = re.compile(rf"(?:[!-*,-<>-\[\]-~\xa0-\ud7ff\ue000-\U0010ffff]|{_EMBEDDED})++")
_ORCPT: Final = re.compile(r"([A-Za-z0-9!#$%&'*/?^_`{|}~-]++);(.++)")  # RFC 3461, 4.2: an atom, and xtext
_ON_EVENTS: Final = frozenset({"SUCCESS", "FAILURE", "DELAY"})

# RFC 3463: who is at fault is in the digits, so a sender's address has other codes than a recipient's.
_OF_SENDER: Final = MappingProxyType({Fault.DOMAIN: "5.1.8", Fault.LITERAL: "5.1.8", Fault.NOT_ASCII: "5.6.7"})
_OF_RECIPIENT: Final = MappingProxyType({Fault.DOMAIN: "5.1.2", Fault.LITERAL: "5.1.2", Fault.NOT_ASCII: "5.6.7"})

_MAIL_SYNTAX: Final = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
_RCPT_SYNTAX: Final = Reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
_PARAMETERS: Final = Reply(501, "5.5.4", "Malformed parameters")
_UNKNOWN: Final = Reply(555, "5.5.4", "Parameter not recognized")

_Parameters = dict[str, str | None]


@frozen
class MailFrom:
    """What MAIL asked for."""

    sender: Address | None
    """None for the null sender `<>`."""
    size: int | None = None
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: str | None = None
    """"FULL" or "HDRS"."""
    envid: str | None = None
    """As the client wrote it, in xtext."""


@frozen
class RcptTo:
    """What RCPT asked for."""

    address: Address
    notify: str | None = None
    """"NEVER", or a list of SUCCESS, FAILURE, DELAY."""
    orcpt: str | None = None
    """As the client wrote it: address type, ";", xtext."""


def parse_mail(argument: str) -> MailFrom | Reply:
    """Read what follows MAIL (`FROM:<path> parameters`)."""
    parts = _path_and_parameters(argument, "FROM:")
    if parts is None:
        return _MAIL_SYNTAX
    path, parameters = parts
    if parameters is None:
        return _PARAMETERS
    asked = _mail_parameters(parameters)
    if isinstance(asked, Reply) or not path:
        return asked
    sender = parse_mailbox(path, utf8=asked.smtputf8)
    if isinstance(sender, Address) and not sender.domain:
        sender = Fault.NO_DOMAIN
    if isinstance(sender, Fault):
        return Reply(553, _OF_SENDER.get(sender, "5.1.7"), f"Sender refused: {sender}")
    return MailFrom(sender, asked.size, asked.body, asked.smtputf8, asked.ret, asked.envid)


def parse_any_mail(argument: str) -> MailFrom | Reply:
    """Read what follows MAIL where any sender is taken: one that is no address is as good as the null sender.

    Bounce messages come from `<>`, but auto-replies also from `<MAILER-DAEMON>` and worse.
    """
    parts = _path_and_parameters(argument, "FROM:")
    if parts is None:
        return _MAIL_SYNTAX
    path, parameters = parts
    if parameters is None:
        return _PARAMETERS
    asked = _mail_parameters(parameters)
    sender = parse_mailbox(path, utf8=True)
    if isinstance(asked, Reply) or isinstance(sender, Fault):
        return asked
    return MailFrom(sender, asked.size, asked.body, asked.smtputf8, asked.ret, asked.envid)


def parse_rcpt(argument: str, *, utf8: bool) -> RcptTo | Reply:
    """Read what follows RCPT (`TO:<path> parameters`); `utf8`: MAIL asked for SMTPUTF8.

    The bare `<Postmaster>` gives an address without a domain: whose postmaster it is, the listener knows.
    """
    parts = _path_and_parameters(argument, "TO:")
    if parts is None or not parts[0]:
        return _RCPT_SYNTAX
    path, parameters = parts
    if parameters is None:
        return _PARAMETERS
    address = parse_mailbox(path, utf8=utf8)
    if isinstance(address, Fault):
        return Reply(553, _OF_RECIPIENT.get(address, "5.1.3"), f"Recipient refused: {address}")
    return _rcpt_parameters(address, parameters, utf8=utf8)


def _path_and_parameters(argument: str, keyword: str) -> tuple[str, _Parameters | None] | None:
    if argument[: len(keyword)].upper() != keyword:
        return None
    split = split_path(argument[len(keyword) :])
    return (split[0], _parameters(split[1])) if split else None


def _parameters(text: str) -> _Parameters | None:
    found: _Parameters = {}
    for word in text.split():
        keyword, equals, value = word.partition("=")
        name = keyword.upper()
        if not _KEYWORD.fullmatch(keyword) or name in found or (equals and not _VALUE.fullmatch(value)):
            return None
        found[name] = value if equals else None
    return found


def _mail_parameters(parameters: _Parameters) -> MailFrom | Reply:
    if not parameters:
        return _NO_PARAMETERS
    fault = _fault(parameters, _OF_MAIL)
    if fault:
        return fault
    size, body, ret = parameters.get("SIZE"), parameters.get("BODY"), parameters.get("RET")
    return MailFrom(
        None,
        int(size) if size else None,
        BodyType(body.upper()) if body else BodyType.SEVEN_BIT,
        "SMTPUTF8" in parameters,
        ret.upper() if ret else None,
        parameters.get("ENVID"),
    )


def _rcpt_parameters(address: Address, parameters: _Parameters, *, utf8: bool) -> RcptTo | Reply:
    if not parameters:
        return RcptTo(address)
    fault = _fault(parameters, _OF_RCPT_UTF8 if utf8 else _OF_RCPT)
    if fault:
        return fault
    notify = parameters.get("NOTIFY")
    return RcptTo(address, notify.upper() if notify else None, parameters.get("ORCPT"))


def _fault(parameters: _Parameters, known: Mapping[str, Callable[[str | None], bool]]) -> Reply | None:
    for name, value in parameters.items():
        well_formed = known.get(name)
        if well_formed is None:
            return _UNKNOWN
        if not well_formed(value):
            return _PARAMETERS
    return None


def _is(pattern: re.Pattern[str], value: str | None) -> bool:
    return value is not None and pattern.fullmatch(value) is not None


def _is_size(value: str | None) -> bool:
    return _is(_SIZE, value)


def _is_body(value: str | None) -> bool:
    return (value or "").upper() in frozenset(BodyType)


def _is_absent(value: str | None) -> bool:
    return value is None


def _is_ret(value: str | None) -> bool:
    return (value or "").upper() in {"FULL", "HDRS"}


def _is_envid(value: str | None) -> bool:
    return _is(_XTEXT, value) and len(value or "") <= MAX_ENVID_CHARS


def _is_auth(value: str | None) -> bool:
    """RFC 4954, 5: who submitted it elsewhere. We take nobody's word on that, and only check the form."""
    return value == "<>" or _is(_XTEXT, value)


def _is_notify(value: str | None) -> bool:
    """RFC 3461, 4.1: NEVER stands alone; the others may be joined, each once."""
    words = (value or "").upper().split(",")
    return words == ["NEVER"] or (set(words) <= _ON_EVENTS and len(set(words)) == len(words))


def _is_orcpt(value: str | None) -> bool:
    return _is_original(value, _ADDR_XTEXT)


def _is_orcpt_utf8(value: str | None) -> bool:
    return _is_original(value, _UNITEXT)


def _is_original(value: str | None, of_utf8: re.Pattern[str]) -> bool:
    """Whether an address type and an address in its encoding; `of_utf8` is that of the type utf-8 (RFC 6533, 3)."""
    found = _ORCPT.fullmatch(value or "")
    if found is None or len(found[0]) > MAX_ORCPT_CHARS:
        return False
    return _is(of_utf8 if found[1].lower() == "utf-8" else _XTEXT, found[2])


_OF_MAIL: Final = MappingProxyType(
    {
        "SIZE": _is_size,
        "BODY": _is_body,
        "SMTPUTF8": _is_absent,
        "AUTH": _is_auth,
        "RET": _is_ret,
        "ENVID": _is_envid,
    }
)
_OF_RCPT: Final = MappingProxyType({"NOTIFY": _is_notify, "ORCPT": _is_orcpt})
_OF_RCPT_UTF8: Final = MappingProxyType({"NOTIFY": _is_notify, "ORCPT": _is_orcpt_utf8})
_NO_PARAMETERS: Final = MailFrom(None)

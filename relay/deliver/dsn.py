"""The DSN parameters that a copy's MAIL and RCPT carry where the next hop offers DSN (RFC 3461, 5.2.1). Pure.

Rule: what the sender asked for goes on as it came, NEVER too: the next hop then reports nothing, to us neither.
Nothing is asked for that the sender did not ask for, but where `delivered_on = "dsn"` waits for a success DSN,
which comes to our own return path; what the sender hears of it is for us to decide, by what he asked for.
"""

import re
from typing import Final

from relay.deliver.settings import DeliveredOn
from storage.model import Job

_MAX_ORCPT_CHARS: Final = 500  # RFC 3461, 4.2
_ALL: Final = "SUCCESS,FAILURE,DELAY"
_NOT_OF_XTEXT: Final = re.compile(r"[^!-*,-<>-~]")  # RFC 3461, 4
_NOT_OF_UNITEXT: Final = re.compile(r"[\x00-\x20+=\\\x7f]")  # RFC 6533, 3
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")

NOTHING: Final = ("", "")


def parameters(job: Job, return_path: str, delivered_on: DeliveredOn, *, smtputf8: bool) -> tuple[str, str]:
    """Return what follows the paths of MAIL and RCPT, each parameter after a blank.

    `smtputf8`: the server offers SMTPUTF8. An ORCPT is added where the sender gave none (RFC 3461, 5.2.1 d), so
    that a DSN of a server beyond a forwarder still names the recipient as we know it.
    """
    message = job.message
    mail = f" RET={message.ret}" if message.ret else ""
    if message.envid:
        mail += f" ENVID={message.envid}"
    notify = job.notify
    # DSNs on a message with the null sender would go to nobody (RFC 3461, 4.1): asking for them helps nobody.
    if delivered_on is DeliveredOn.DSN and notify != "NEVER" and return_path:
        notify = _ALL
    rcpt = f" NOTIFY={notify}" if notify else ""
    utf8 = smtputf8 and (message.smtputf8 or not job.address.isascii())
    orcpt = _for_the_wire(job.orcpt or original_recipient(job.address), utf8=utf8)
    return mail, rcpt + (f" ORCPT={orcpt}" if len(orcpt) <= _MAX_ORCPT_CHARS else "")


def original_recipient(address: str) -> str:
    """Return an address as ORCPT names it: its type, and the address in the encoding of that type."""
    if address.isascii():
        return f"rfc822;{_NOT_OF_XTEXT.sub(_hexchar, address)}"
    return f"utf-8;{_NOT_OF_UNITEXT.sub(_embedded, address)}"


def _for_the_wire(orcpt: str, *, utf8: bool) -> str:
    """Return an ORCPT with its Unicode as it is, or embedded in ASCII where the command is not SMTPUTF8's."""
    return orcpt if utf8 or orcpt.isascii() else _NOT_ASCII.sub(_embedded, orcpt)


def _hexchar(found: re.Match[str]) -> str:
    return f"+{ord(found[0]):02X}"


def _embedded(found: re.Match[str]) -> str:
    return f"\\x{{{ord(found[0]):02X}}}"

"""The words of bounce reading: what a mail is, and what it says of one recipient.

Rule: values only. Everything here is decided by `relay.bounce.parse` from the bytes of one mail.
"""

from dataclasses import dataclass
from enum import StrEnum

from relay.bounce.category import Category, Verdict


class Kind(StrEnum):
    """What a mail that came to a return path is."""

    DSN = "dsn"
    """A delivery status notification, standard (RFC 3464) or not."""
    COMPLAINT = "complaint"
    """A feedback report (ARF, RFC 5965), or a complaint in a provider's own form."""
    AUTO_REPLY = "auto-reply"
    """Out of office, receipts (RFC 8098), challenges: says nothing of the delivery."""
    NONE = "none"
    """Anything else."""


class Action(StrEnum):
    """The Action field of RFC 3464, 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a mail says of one recipient."""

    recipient: str
    """The address as the mail names it; "" where it names none."""
    action: Action | None
    """None for a complaint."""
    status: str
    """Enhanced status code (RFC 3463), the most specific that the mail gives; "" where it gives none."""
    reply_code: int | None
    """SMTP code of the remote server's reply, where the mail tells it."""
    diagnostic: str
    """One line of clean Unicode, without controls, at most MAX_DIAGNOSTIC characters."""
    remote_mta: str
    """Host that gave the reply; "" where the mail does not name it."""
    category: Category
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was read from one mail."""

    kind: Kind
    findings: tuple[Finding, ...] = ()
    """Not empty for a DSN and a complaint; empty for the others."""
    detector: str = ""
    """Name of the detector that read it, for the log."""
    troubles: tuple[str, ...] = ()
    """Detectors that broke on this mail, as "name: error", for the log."""
    envelope_id: str = ""
    """Original-Envelope-Id (RFC 3464, 2.2.1), xtext decoded."""
    message_id: str = ""
    """Message-ID of the returned message with its angle brackets, else the one that the mail answers to."""
    return_path: str = ""
    """Return path of the returned message, as its Return-Path or a feedback report's Original-Mail-From names it."""
    queue_ids: tuple[str, ...] = ()
    """What may be queue ids of ours in the returned message's Received fields, the newest first."""
    returned_to: str = ""
    """Address in the returned message's To field, where there is exactly one."""


MAX_DIAGNOSTIC = 2000

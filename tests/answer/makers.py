"""Values that tests of our own mails begin with, and how such a mail is read."""

import email
import email.message
import email.policy
from typing import Any

from relay.answer.letter import Letterhead
from storage.duty import Duty, DutyKind, Group
from storage.model import BodyType, Message, Reply
from storage.status import Status

AT = 1_700_000_000_000
HEAD = Letterhead("relay.test", "MAILER-DAEMON@relay.test")
UNKNOWN = Reply(550, "5.1.1", "No such user here")
CONTENT = b"From: Ann <ann@a.example>\r\nSubject: Hello\r\nMessage-ID: <1@a.example>\r\n\r\nThe text\r\n"


def message(**changes: Any) -> Message:
    values: dict[str, Any] = {
        "id": 1,
        "received_ms": AT,
        "sender": "ann@a.example",
        "body": BodyType.SEVEN_BIT,
        "smtputf8": False,
        "size": len(CONTENT),
        "plan": b"",
        "message_id": "<1@a.example>",
        "from_header": "Ann <ann@a.example>",
        "subject": "Hello",
    }
    return Message(**(values | changes))


def duty(kind: DutyKind = DutyKind.FAILED, address: str = "bob@b.example", **changes: Any) -> Duty:
    values: dict[str, Any] = {
        "id": 7,
        "kind": kind,
        "recipient_id": 2,
        "address": address,
        "orcpt": None,
        "status": Status.FAILED,
        "attempts": 1,
        "last_attempt_ms": AT + 1000,
        "expires_ms": AT + 86_400_000,
        "reply": UNKNOWN,
        "category": "user unknown",
        "mx": "mx.b.example",
        "dsn_id": None,
    }
    return Duty(**(values | changes))


def group(*duties: Duty, kind: DutyKind = DutyKind.FAILED, **of_message: Any) -> Group:
    return Group(message(**of_message), kind, duties or (duty(kind),))


def read(made: bytes) -> email.message.Message:
    """Return a mail as Python's email reads it; its lines are those of a mail."""
    assert b"\n" not in made.replace(b"\r\n", b"")
    assert b"\r" not in made.replace(b"\r\n", b"")
    assert max(map(len, made.split(b"\r\n"))) <= 998
    found = email.message_from_bytes(made, policy=email.policy.compat32)
    assert not found.defects
    return found


def body_of(part: email.message.Message) -> str:
    return part.get_payload(decode=True).decode()

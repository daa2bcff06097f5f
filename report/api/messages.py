"""Sending mail by the API: as fields in JSON, or as a whole message.

Rules: 202 only after the commit. A request with an Idempotency-Key is carried out once, however often it comes: its
answer is kept with the message. Who may send as whom, and all that becomes of a message, is submission's to say.
"""

import asyncio
import re
from base64 import b64decode
from binascii import Error
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

from aiohttp import web
from pydantic import AfterValidator, FailFast, Field, StringConstraints, model_validator

from report.api.compose import File, Letter, Mailbox, compose
from report.api.model import Given, Line, Taken
from report.api.operation import BYTES, Operation, as_json
from report.api.reading import parsed, read
from report.asked import Asked
from report.problem import ProblemError
from storage.access import Scope
from storage.address import Address, parse_mailbox
from storage.broadcast_settings import parse_type
from storage.model import Reply, User, queue_id
from storage.posting import KeyUsedError, Mailing, Post, Posted, PostKey
from storage.status import Status
from storage.store import StoreFailedError, StoreFullError

RFC822: Final = "message/rfc822"
_MOST_FIELDS: Final = 100
_MOST_FILES: Final = 100
_KEY: Final = re.compile(r"[!-~]{1,255}")
# Read in one way only, whatever it is given: no two neighbours match the same character.
_NAMED: Final = re.compile(r"(?:\"((?:[^\"\\]|\\.)*+)\"\s*+|([^\"<>]*+))<([^<>]+)>")
# What the message's own structure, its other fields, or whoever accepts it says.
_OURS: Final = re.compile(
    r"(?i)content-.*|from|to|cc|bcc|subject|reply-to|sender|mime-version|received|return-path|dkim-signature"
    r"|x-broadcast.*|x-track-opens"
)
_MOST_QUOTED: Final = 800
_AROUND: Final = 64 * 1024


def _mailbox(text: str) -> Mailbox:
    found = _NAMED.fullmatch(text.strip())
    name, address = (found[1] or found[2] or "", found[3]) if found else ("", text)
    parsed = parse_mailbox(address.strip(), utf8=True) if text.isprintable() else None
    if not isinstance(parsed, Address) or not parsed.domain:
        raise ValueError('expected an address such as "ann@example.org" or "Ann <ann@example.org>"')
    return Mailbox(str(parsed), re.sub(r"\\(.)", r"\1", name).strip())


def _checked_mailbox(text: str) -> str:
    _mailbox(text)
    return text


def _field_name(name: str) -> str:
    if _OURS.fullmatch(name):
        raise ValueError("this field is written by other means")
    return name


def _base64(text: str) -> str:
    try:
        b64decode(text, validate=True)
    except (Error, ValueError):
        raise ValueError("expected base64") from None
    return text


def _file_name(name: str) -> str:
    # RFC 2231 writes it in one piece, and a line has 998 octets at most.
    if len(quote(name)) > _MOST_QUOTED:
        raise ValueError("expected a shorter name")
    return name


def _type(text: str) -> str:
    return parse_type(text)


MailboxText = Annotated[str, StringConstraints(min_length=3, max_length=600), AfterValidator(_checked_mailbox)]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,75}$"), AfterValidator(_field_name)]
Mailboxes = Annotated[tuple[MailboxText, ...], FailFast(), Field(max_length=100_000)]


class Attachment(Taken):
    """A file that goes with the message."""

    name: Annotated[Line, Field(max_length=200), AfterValidator(_file_name)]
    type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}$")] = (
        "application/octet-stream"
    )
    content: Annotated[str, AfterValidator(_base64), Field(description="Base64.")]
    content_id: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{0,100}$"), Field(description='For "cid:…" in the HTML text.')
    ] = ""


class NewMessage(Taken):
    """A message to be sent."""

    from_: Annotated[MailboxText, Field(alias="from", description="Who sends; also MAIL FROM.")]
    to: Mailboxes = ()
    cc: Mailboxes = ()
    bcc: Mailboxes = ()
    reply_to: Mailboxes = ()
    subject: Annotated[Line | None, Field(description="One line.")] = None
    text: str | None = None
    html: str | None = None
    headers: Annotated[dict[FieldName, Line], Field(max_length=_MOST_FIELDS, default_factory=dict)]
    attachments: Annotated[tuple[Attachment, ...], FailFast(), Field(max_length=_MOST_FILES)] = ()
    broadcast: Annotated[Line | None, Field(description="An address gets what has one name once.")] = None
    broadcast_type: Annotated[Line | None, AfterValidator(lambda text: text and _type(text))] = None
    track: Annotated[bool, Field(description="Whether copies get a tracking image.")] = True

    @model_validator(mode="after")
    def _complete(self) -> "NewMessage":
        if not (self.to or self.cc or self.bcc):
            raise ValueError("expected somebody in to, cc or bcc")
        if self.text is None and self.html is None:
            raise ValueError("expected a text, an html, or both")
        return self


Envelope = Annotated[str, Field(max_length=320)]
"""An address of an envelope, looked at by submission."""


class RawQuery(Taken):
    """The envelope of a raw message (`message/rfc822`)."""

    mail_from: Annotated[Envelope | None, Field(description="Of a raw message: MAIL FROM.")] = None
    rcpt_to: Annotated[
        tuple[Envelope, ...], Field(max_length=150, description="Of a raw message: to whom it goes.")
    ] = ()


class SentRecipient(Given):
    """What was decided on a recipient."""

    id: str
    address: str
    status: Status
    why: str | None


class Accepted(Given):
    """A message that Telltale has taken responsibility for."""

    id: Annotated[str, Field(description="The queue id.")]
    recipients: list[SentRecipient]


async def send(asked: Asked, given: RawQuery, _body: None) -> web.Response:
    """Store a message and tell its queue id."""
    mailing = asked.desk.mailing
    if mailing is None:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "No mail is taken here.")
    user = await asked.desk.reader.user(asked.who.user)
    if user is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "The token's user is gone.")
    is_raw = asked.request.content_type == RFC822
    # Base64 takes a third more than what it stands for.
    whole = await read(asked, mailing.max_bytes if is_raw else mailing.max_bytes * 4 // 3 + _AROUND)
    post = _raw(asked, given, whole, user) if is_raw else await _composed(asked, given, whole, user)
    key = _key(asked, whole)
    try:
        known = key and await asked.desk.reader.posted(key)
        return _accepted(known or await _stored(asked, mailing, post, key))
    except KeyUsedError:
        detail = "This Idempotency-Key came with another request before; a new request takes a new key."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from None
    except StoreFullError:
        raise _busy("The store cannot grow; nothing was taken.") from None
    except StoreFailedError:
        raise _busy("The message could not be stored; try again.") from None


async def _stored(asked: Asked, mailing: Mailing, post: Post, key: PostKey | None) -> Posted:
    ready = await mailing.prepare(post, asked.desk.clock_ms())
    if isinstance(ready, Reply):
        raise _refused(ready)
    return await asked.desk.store.post(ready, key, lifetime_ms=mailing.lifetime_ms)


def _raw(asked: Asked, given: RawQuery, whole: bytes, user: User) -> Post:
    if given.mail_from is None or not given.rcpt_to:
        detail = "A raw message needs its envelope: ?mail_from=ann@example.org&rcpt_to=bob@example.net"
        raise ProblemError(HTTPStatus.BAD_REQUEST, detail)
    return Post(user, asked.client, asked.secure, given.mail_from, given.rcpt_to, whole)


async def _composed(asked: Asked, given: RawQuery, whole: bytes, user: User) -> Post:
    if given.mail_from is not None or given.rcpt_to:
        detail = "mail_from and rcpt_to are for raw messages; in JSON, say from, to, cc and bcc."
        raise ProblemError(HTTPStatus.BAD_REQUEST, detail)
    body = await asyncio.to_thread(parsed, NewMessage, whole)
    people = [_mailbox(text) for text in (*body.to, *body.cc, *body.bcc)]
    recipients = tuple(dict.fromkeys(one.address for one in people))
    content = await asyncio.to_thread(lambda: compose(_letter(body)))
    return Post(user, asked.client, asked.secure, _mailbox(body.from_).address, recipients, content)


def _letter(body: NewMessage) -> Letter:
    fields = [("Subject", body.subject)] if body.subject is not None else []
    fields += body.headers.items()
    fields += [("X-Broadcast", body.broadcast)] if body.broadcast else []
    fields += [("X-Broadcast-Type", body.broadcast_type)] if body.broadcast_type else []
    fields += [] if body.track else [("X-Track-Opens", "no")]
    named = (("From", (body.from_,)), ("To", body.to), ("Cc", body.cc), ("Reply-To", body.reply_to))
    mailboxes = [(name, [_mailbox(text) for text in texts]) for name, texts in named]
    files = [File(one.name, one.type, b64decode(one.content), one.content_id) for one in body.attachments]
    return Letter(fields, mailboxes, body.text, body.html, files)


def _key(asked: Asked, whole: bytes) -> PostKey | None:
    text = asked.request.headers.get("Idempotency-Key")
    if text is None:
        return None
    if not _KEY.fullmatch(text):
        detail = "An Idempotency-Key has 1 to 255 printable ASCII characters without blanks."
        raise ProblemError(HTTPStatus.BAD_REQUEST, detail)
    request = asked.request
    digest = sha256(b"\0".join((request.content_type.encode(), request.query_string.encode(), whole))).digest()
    return PostKey(asked.who.user, text, digest, asked.desk.clock_ms())


def _accepted(posted: Posted) -> web.Response:
    recipients = [
        SentRecipient(id=queue_id(one.id), address=one.address, status=one.status, why=one.why or None)
        for one in posted.recipients
    ]
    code = queue_id(posted.message_id)
    answer = as_json(Accepted(id=code, recipients=recipients), HTTPStatus.ACCEPTED)
    if posted.again:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


def _busy(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "10"})


def _refused(reply: Reply) -> ProblemError:
    """Return submission's refusal as a problem."""
    more: dict[str, Any] = {"code": reply.code, "enhanced_status": reply.enhanced}
    if reply.code // 100 == 4 and reply.enhanced != "4.5.3":  # noqa: PLR2004 - a transient negative reply
        return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"{reply.text}.", headers={"Retry-After": "10"}, **more)
    statuses = {"5.7.1": HTTPStatus.FORBIDDEN, "5.3.4": HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
    return ProblemError(statuses.get(reply.enhanced or "", HTTPStatus.UNPROCESSABLE_ENTITY), f"{reply.text}.", **more)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/messages",
        "sendMessage",
        "Send a message.",
        Scope.SEND,
        send,
        RawQuery,
        NewMessage,
        Accepted,
        HTTPStatus.ACCEPTED,
        media={RFC822: BYTES},
        headers=(("Idempotency-Key", "A request that comes again with it within a day is answered, not repeated."),),
        reads=True,
    ),
)

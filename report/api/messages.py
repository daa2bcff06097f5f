"""Sending mail by the API: as fields in JSON, or as a whole message; one, or some at once.

Rules: 202 only after the commit. A request with an Idempotency-Key is carried out once, however often it comes: its
answer is kept with the message. Who may send as whom, and all that becomes of a message, is submission's to say.
"""

import asyncio
import logging
import re
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import ConfigDict, FailFast, Field, model_validator

from report.api.compose import compose
from report.api.letters import Content, Mailboxes, MailboxText, letter, mailbox
from report.api.model import Given, Line, Problem, Taken
from report.api.operation import BYTES, Operation, as_json
from report.api.reading import parsed, read
from report.asked import REQUEST, Asked
from report.problem import ProblemError
from storage.access import Scope
from storage.broadcast_settings import TypeOf
from storage.kv import kv
from storage.model import Reply, User, queue_id
from storage.posting import KeyUsedError, Mailing, Post, Posted, PostKey, Ready
from storage.status import Status
from storage.store import StoreFailedError, StoreFullError

RFC822: Final = "message/rfc822"
MOST_AT_ONCE: Final = 500
"""Messages of one batch."""
MOST_VALUES: Final = 200_000
_KEY: Final = re.compile(r"[!-~]{1,255}")
_AROUND: Final = 64 * 1024
# So many messages of a batch share a commit.
_STORED_AT_ONCE: Final = 50

_log = logging.getLogger("telltale.report")


_EXAMPLE: Final[dict[str, Any]] = {
    "from": "Shop <shop@example.org>",
    "to": ["Bob <bob@example.net>"],
    "subject": "Your order 4711",
    "text": "Thank you!",
    "html": "<p>Thank <b>you</b>!</p>",
    "attachments": [{"name": "invoice.txt", "type": "text/plain", "content": "aGVsbG8="}],
}


class NewMessage(Content):
    """A message to be sent."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    from_: Annotated[MailboxText, Field(alias="from", description="Who sends; also MAIL FROM.")]
    to: Annotated[Mailboxes, Field(description="To whom it goes.")] = ()
    cc: Annotated[Mailboxes, Field(description="To whom it goes as well.")] = ()
    bcc: Annotated[Mailboxes, Field(description="They are in no copy.")] = ()
    subject: Annotated[Line | None, Field(description="One line.")] = None
    broadcast: Annotated[Line | None, Field(description="An address gets what has one name once.")] = None
    broadcast_type: Annotated[TypeOf | None, Field(description="Contacts choose which types they take.")] = None

    @model_validator(mode="after")
    def _complete(self) -> "NewMessage":
        if not (self.to or self.cc or self.bcc):
            raise ValueError("expected somebody in to, cc or bcc")
        if self.text is None and self.html is None:
            raise ValueError("expected a text, an html, or both")
        return self


class NewMessages(Taken):
    """Messages to be sent, each by itself."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"messages": [_EXAMPLE]}]})

    messages: Annotated[
        tuple[NewMessage, ...],
        FailFast(),
        Field(min_length=1, max_length=MOST_AT_ONCE, description="In the order of the results."),
    ]


Envelope = Annotated[str, Field(max_length=320)]
"""An address of an envelope, looked at by submission."""


class SendQuery(Taken):
    """The envelope of a raw message (`message/rfc822`), and whether anything is sent."""

    mail_from: Annotated[Envelope | None, Field(description="Of a raw message: MAIL FROM.")] = None
    rcpt_to: Annotated[
        tuple[Envelope, ...], Field(max_length=150, description="Of a raw message: to whom it goes.")
    ] = ()
    dry_run: Annotated[bool, Field(description="Tell what would become of each recipient (200); send nothing.")] = False


class Decided(Given):
    """What is decided on a recipient."""

    address: str
    status: Annotated[Status, Field(description="Unsent: it is on its way.")]
    why: str | None


class SentRecipient(Decided):
    """A recipient of a message that was taken."""

    id: str


class DryRun(Given):
    """What would become of a message if it were sent now."""

    recipients: list[Decided]
    tracked: Annotated[bool, Field(description="Whether its copies would get an image.")]
    untracked_reason: str | None


class Accepted(Given):
    """A message that Telltale has taken responsibility for."""

    id: Annotated[str, Field(description="The queue id.")]
    recipients: list[SentRecipient]


class Result(Given):
    """What became of one message of a batch."""

    status: Annotated[int, Field(description="What it would have been answered with by itself: 202, 403, 422 …")]
    id: Annotated[str | None, Field(description="The queue id, where it was taken.")] = None
    recipients: tuple[SentRecipient, ...] = ()
    problem: Annotated[Problem | None, Field(description="Why it was not taken.")] = None


class Results(Given):
    """What became of the messages of a batch, in their order."""

    accepted: Annotated[int, Field(description="How many were taken.")]
    results: list[Result]


async def send(asked: Asked, given: SendQuery, _body: None) -> Accepted | DryRun | web.Response:
    """Store a message and tell its queue id."""
    mailing, user = await _who_sends(asked)
    is_raw = asked.request.content_type == RFC822
    # Base64 takes a third more than what it stands for.
    whole = await read(asked, mailing.max_bytes if is_raw else mailing.max_bytes * 4 // 3 + _AROUND)
    if is_raw:
        post = _raw(asked, given, whole, user)
    else:
        _no_envelope(given)
        post = await _composed(asked, await asyncio.to_thread(parsed, NewMessage, whole, MOST_VALUES), user)
    if given.dry_run:
        return as_json(await _dry_run(asked, await _prepared(asked, mailing, post)))
    posted = await _carried_out(asked, mailing, post, _key(asked, whole))
    answer = as_json(Accepted(id=queue_id(posted.message_id), recipients=_recipients(posted)), HTTPStatus.ACCEPTED)
    if posted.again:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


async def send_some(asked: Asked, _query: None, _body: None) -> Results:
    """Store messages, each by itself, and tell what became of each."""
    mailing, user = await _who_sends(asked)
    whole = await read(asked, mailing.max_bytes * 4 // 3 + _AROUND)
    body = await asyncio.to_thread(parsed, NewMessages, whole, MOST_VALUES)
    key, results = _key(asked, whole), list[Result]()

    async def one(place: int) -> Result:
        # A blank is in no key of a program's.
        of_one = None if key is None else PostKey(key.user, f"{key.key} {place}", key.digest, key.now_ms)
        try:
            post = await _composed(asked, body.messages[place], user)
            posted = await _carried_out(asked, mailing, post, of_one)
        except ProblemError as problem:
            told = Problem.model_validate(problem.as_object(REQUEST.get()))
            return Result(status=problem.status.value, problem=told)
        return Result(status=HTTPStatus.ACCEPTED.value, id=queue_id(posted.message_id), recipients=_recipients(posted))

    for begin in range(0, len(body.messages), _STORED_AT_ONCE):
        places = range(begin, min(begin + _STORED_AT_ONCE, len(body.messages)))
        results += await asyncio.gather(*map(one, places))
    return Results(accepted=sum(one.id is not None for one in results), results=results)


async def _who_sends(asked: Asked) -> tuple[Mailing, User]:
    user = await asked.desk.reader.user(asked.who.user)
    if asked.desk.mailing is None:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "No mail is taken here.")
    if user is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "The token's user is gone.")
    return asked.desk.mailing, user


async def _carried_out(asked: Asked, mailing: Mailing, post: Post, key: PostKey | None) -> Posted:
    """Store a message, or find the answer that its key had before; raises ProblemError."""
    try:
        posted = await asked.desk.reader.posted(key) if key is not None else None
        if posted is None:
            ready = await _prepared(asked, mailing, post)
            posted = await asked.desk.store.post(ready, key, lifetime_ms=mailing.lifetime_ms)
    except KeyUsedError:
        detail = "This Idempotency-Key came with another request before; a new request takes a new key."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from None
    except StoreFullError:
        raise _busy("The store cannot grow; nothing was taken.") from None
    except StoreFailedError:
        raise _busy("The message could not be stored; try again.") from None
    if not posted.again:
        _tell(post, posted)
    return posted


def _tell(post: Post, posted: Posted) -> None:
    told = kv(
        queue_id=queue_id(posted.message_id),
        **{"from": f"<{post.sender}>"},
        size=len(post.content),
        nrcpt=len(posted.recipients),
        client=post.client,
        user=post.user.name,
        request=REQUEST.get(),
    )
    _log.info(told)


async def _prepared(asked: Asked, mailing: Mailing, post: Post) -> Ready:
    ready = await mailing.prepare(post, asked.desk.clock_ms())
    if isinstance(ready, Reply):
        raise _refused(ready)
    return ready


async def _dry_run(asked: Asked, ready: Ready) -> DryRun:
    fold = asked.desk.store.policy.contacts.fold_local_part
    decisions = await asked.desk.reader.admission.decide(ready, fold=fold)
    recipients = [
        Decided(address=new.address, status=one.status, why=one.diagnostic or None)
        for new, one in zip(ready.recipients, decisions, strict=True)
    ]
    reason = ready.message.untracked_reason
    return DryRun(recipients=recipients, tracked=reason is None, untracked_reason=reason)


def _no_envelope(given: SendQuery) -> None:
    if given.mail_from is not None or given.rcpt_to:
        detail = "mail_from and rcpt_to are for raw messages; in JSON, say from, to, cc and bcc."
        raise ProblemError(HTTPStatus.BAD_REQUEST, detail)


def _raw(asked: Asked, given: SendQuery, whole: bytes, user: User) -> Post:
    if given.mail_from is None or not given.rcpt_to:
        detail = "A raw message needs its envelope: ?mail_from=ann@example.org&rcpt_to=bob@example.net"
        raise ProblemError(HTTPStatus.BAD_REQUEST, detail)
    return Post(user, asked.client, asked.secure, given.mail_from, given.rcpt_to, whole)


async def _composed(asked: Asked, body: NewMessage, user: User) -> Post:
    people = [mailbox(text) for text in (*body.to, *body.cc, *body.bcc)]
    recipients = tuple(dict.fromkeys(one.address for one in people))
    content = await asyncio.to_thread(_content, body)
    return Post(user, asked.client, asked.secure, mailbox(body.from_).address, recipients, content)


def _content(body: NewMessage) -> bytes:
    fields = [("Subject", body.subject)] if body.subject is not None else []
    fields += [("X-Broadcast", body.broadcast)] if body.broadcast else []
    fields += [("X-Broadcast-Type", body.broadcast_type)] if body.broadcast_type else []
    return compose(letter(body, (("From", (body.from_,)), ("To", body.to), ("Cc", body.cc)), fields))


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


def _recipients(posted: Posted) -> list[SentRecipient]:
    return [
        SentRecipient(id=queue_id(one.id), address=one.address, status=one.status, why=one.why or None)
        for one in posted.recipients
    ]


def _busy(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "10"})


def _refused(reply: Reply) -> ProblemError:
    """Return submission's refusal as a problem."""
    more: dict[str, Any] = {"code": reply.code, "enhanced_status": reply.enhanced}
    if reply.code // 100 == 4 and reply.enhanced != "4.5.3":  # noqa: PLR2004 - a transient negative reply
        return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"{reply.text}.", headers={"Retry-After": "10"}, **more)
    statuses = {"5.7.1": HTTPStatus.FORBIDDEN, "5.3.4": HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
    return ProblemError(statuses.get(reply.enhanced or "", HTTPStatus.UNPROCESSABLE_ENTITY), f"{reply.text}.", **more)


_ONCE: Final = (("Idempotency-Key", "A request that comes again with it within a day is answered, not repeated."),)
OPERATIONS: Final = (
    Operation(
        "POST",
        "/messages",
        "sendMessage",
        "Send a message.",
        Scope.SEND,
        send,
        SendQuery,
        NewMessage,
        Accepted,
        HTTPStatus.ACCEPTED,
        others=((HTTPStatus.OK, DryRun),),
        media={RFC822: BYTES},
        headers=_ONCE,
        reads=True,
    ),
    Operation(
        "POST",
        "/messages/batch",
        "sendMessages",
        "Send some messages.",
        Scope.SEND,
        send_some,
        body=NewMessages,
        answer=Results,
        headers=_ONCE,
        reads=True,
        about="Each is taken or refused by itself, as if it had come alone; what cannot be read is refused as a whole.",
    ),
)

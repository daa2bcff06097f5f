"""What the token that asks may do, and how much: for programs that look first, and people who try a token out."""

from http import HTTPStatus
from typing import Annotated, Final

from pydantic import Field

from report.api.messages import MOST_AT_ONCE
from report.api.model import Given
from report.api.operation import Operation
from report.asked import Asked
from report.desk import LARGE_OF_ONE, MOST_UPLOADS
from report.hub import MOST_OF_ONE
from report.problem import ProblemError
from storage.access import Role, Scope


class Limits(Given):
    """How much there may be."""

    max_message_bytes: Annotated[int | None, Field(description="Of a message; null: none is taken here.")]
    max_recipients: Annotated[int | None, Field(description="Of a message.")]
    max_batch_messages: int
    large_bodies_at_once: Annotated[int, Field(description="Of one user, of more than 256 KB; others wait.")]
    uploads_at_once: Annotated[int, Field(description="Of one user; more get 429.")]
    waiting_at_once: Annotated[int, Field(description="Of one user, for events; more get 429.")]


class TokenRecord(Given):
    """Who asks."""

    user: str
    role: Role
    scopes: Annotated[list[Scope], Field(description="What both the token and the role allow.")]
    senders: Annotated[list[str], Field(description="May send as these only, @domain is all of one; none: as any.")]
    limits: Limits


async def show(asked: Asked, _query: None, _body: None) -> TokenRecord:
    """Return who asks, what that one may do, and how much."""
    who, mailing = asked.who, asked.desk.mailing
    user = await asked.desk.reader.user(who.user)
    if user is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "The token's user is gone.")
    limits = Limits(
        max_message_bytes=None if mailing is None else mailing.max_bytes,
        max_recipients=None if mailing is None else mailing.max_recipients,
        max_batch_messages=MOST_AT_ONCE,
        large_bodies_at_once=LARGE_OF_ONE,
        uploads_at_once=MOST_UPLOADS,
        waiting_at_once=MOST_OF_ONE,
    )
    return TokenRecord(
        user=who.user, role=who.role, scopes=sorted(who.scopes), senders=list(user.senders), limits=limits
    )


OPERATIONS: Final = (Operation("GET", "/token", "getToken", "Tell who asks.", None, show, answer=TokenRecord),)

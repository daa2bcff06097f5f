"""Mail that comes by the HTTP API, as values: what a program posts, what makes it ready, and what is answered.

Rule: values only. Rooms upstairs do not know each other: whoever takes the request is handed, as a `Mailing`, the very
code that SMTP submission uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from storage.model import Message, NewRecipient, Reply, User
from storage.status import Status

KEPT_MS: Final = 86_400_000
"""How long an Idempotency-Key is known."""


@dataclass(frozen=True, slots=True)
class Post:
    """A message as a program posted it."""

    user: User
    """For whom."""
    client: str
    """Its network address."""
    tls: bool
    """Whether it came by https."""
    sender: str
    """MAIL FROM; "" for the null sender."""
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    """RFC 5322; bare line feeds count as line ends."""


class Mail(Protocol):
    """A mail that is ready to be stored."""

    @property
    def message(self) -> Message:
        """The message, with its plan."""

    @property
    def content(self) -> bytes:
        """Its content, mended."""

    @property
    def recipients(self) -> Sequence[NewRecipient]:
        """To whom it goes."""


class Ready(Mail, Protocol):
    """One that may be a broadcast's."""

    @property
    def once(self) -> bool:
        """Whether an address that had a message of its broadcast gets none again."""


class Mailing(Protocol):
    """What makes posted mail ready for the store, as submission does."""

    lifetime_ms: int
    """How long a recipient lives in the queue."""
    max_bytes: int
    """Of a message."""
    max_recipients: int

    async def prepare(self, post: Post, now_ms: int) -> Ready | Reply:
        """Return what is to be stored, or the reply that submission would refuse it with."""


@dataclass(frozen=True, slots=True)
class PostKey:
    """What makes a request one that may come twice."""

    user: str
    key: str
    digest: bytes
    """Of all that it asks for."""
    now_ms: int


class KeyUsedError(Exception):
    """The Idempotency-Key came with another request before."""


@dataclass(frozen=True, slots=True)
class PostedRecipient:
    """What admission decided on a recipient."""

    id: int
    address: str
    status: Status
    why: str


@dataclass(frozen=True, slots=True)
class Posted:
    """The answer to a message that was stored."""

    message_id: int
    recipients: tuple[PostedRecipient, ...]
    again: bool = False
    """Whether it was stored by an earlier request with the same key."""

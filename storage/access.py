"""Who may see and do what, in the browser and by the API.

Rule: pure. What somebody may do is a set of scopes: a role's, and for an API token those of its user's role that
the token names. Whoever has the role `sender` sees the mail of his own user only.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a user is."""

    ADMIN = "admin"
    """Sees and changes everything."""
    SENDER = "sender"
    """Submits mail, and sees what became of it."""
    VIEWER = "viewer"
    """Sees everything, and changes nothing; submits no mail."""


class Scope(StrEnum):
    """What may be done; what an API token is made for."""

    LOG_READ = "log:read"
    """See the Email Log, its summaries and exports."""
    SEND = "messages:send"
    """Submit mail."""
    CONTACTS_READ = "contacts:read"
    CONTACTS_WRITE = "contacts:write"
    BLOCKED_READ = "blocked:read"
    BLOCKED_WRITE = "blocked:write"
    WEBHOOKS = "webhooks:write"
    """Say where events are sent."""
    USERS = "users:write"
    """Make users, and give roles and tokens."""


SCOPES: Final = MappingProxyType(
    {
        Role.ADMIN: frozenset(Scope),
        Role.SENDER: frozenset({Scope.LOG_READ, Scope.SEND}),
        Role.VIEWER: frozenset({Scope.LOG_READ, Scope.CONTACTS_READ, Scope.BLOCKED_READ}),
    }
)
"""What each role may do."""

TOKEN_MARK: Final = "tt_"  # noqa: S105 - no secret, but what marks one
TOKEN_PREFIX_CHARS: Final = len(TOKEN_MARK) + 8
"""The first characters of an API token, which name it."""
TOKEN: Final = re.compile(TOKEN_MARK + r"[A-Za-z0-9_-]{40}")
"""The form of an API token, so that programs that look for secrets find it."""


def hashed(secret: str) -> bytes:
    """Return what the store keeps of a secret that chance made (of 128 bits or more, so that no salt is needed)."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who logged in with a browser."""

    hash: bytes
    user: str
    made_ms: int
    seen_ms: int
    """When it was last used, to some minutes."""
    client: str
    """Network address it was made from."""
    agent: str
    """User-Agent it was made with, cut."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A program that acts for a user."""

    hash: bytes
    prefix: str
    user: str
    name: str
    """What it is for, as its maker wrote."""
    scopes: frozenset[Scope]
    made_ms: int
    expires_ms: int | None = None
    used_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as proven by a session or a token."""

    user: str
    role: Role
    scopes: frozenset[Scope]
    session: Session | None = None
    """None: a program with a token."""

    @property
    def own(self) -> str | None:
        """The user whose mail alone may be seen; None: all."""
        return self.user if self.role is Role.SENDER else None

    def may(self, scope: Scope) -> bool:
        """Return whether the visitor may do what `scope` says."""
        return scope in self.scopes

"""The token of the link to unsubscribe: whose copy it is in, and what is needed when the log has forgotten that.

A token is that of the recipient (storage/token.py), and behind a hyphen the broadcast's type and the address, sealed
by AES-SIV (RFC 5297), which is cipher and MAC in one and needs no nonce; bound to the first part. So the link says
nothing to those who see it, cannot be made for somebody else, and works as long as the installation has its secret.

Rule: no clock, no store; the key is an argument.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from storage.token import TOKEN_CHARS, Purpose, TokenBox

_HYPHEN: Final = "-"
# A line of a header has 998 characters at most (RFC 5322, 2.1.1), some of which the page's own address needs.
_MOST_BYTES: Final = 400


@dataclass(frozen=True, slots=True)
class Link:
    """What a link stands for."""

    recipient_id: int
    type: str = ""
    """Of the broadcast; "" in a link that does not say."""
    address: str = ""


class UnsubscribeBox:
    """Makes tokens and opens them again; one object a process, not thread-safe."""

    def __init__(self, key: bytes) -> None:
        """Take the installation's secret; raises ValueError as TokenBox does."""
        self._box = TokenBox(key, Purpose.UNSUBSCRIBE)
        self._texts = AESSIV(blake2b(b"unsubscribe-text", key=key, digest_size=32).digest())

    def seal(self, recipient_id: int, type_: str, address: str) -> str:
        """Return the token of a recipient's copy of a broadcast of a type; it says no type that is overlong."""
        token = self._box.seal(recipient_id)
        plain = f"{type_}\n{address}".encode()
        if len(plain) > _MOST_BYTES:
            return token
        text = self._texts.encrypt(plain, [token.encode("ascii")])
        return f"{token}{_HYPHEN}{urlsafe_b64encode(text).decode('ascii').rstrip('=')}"

    def open(self, token: str) -> Link | None:
        """Return what a token stands for; None where it is not ours."""
        first, rest = token[:TOKEN_CHARS], token[TOKEN_CHARS:]
        recipient_id = self._box.open(first)
        if recipient_id is None or (rest and not rest.startswith(_HYPHEN)):
            return None
        if not rest:
            return Link(recipient_id)
        try:
            sealed = urlsafe_b64decode(rest[1:] + "=" * (-len(rest[1:]) % 4))
            text = self._texts.decrypt(sealed, [first.encode("ascii")]).decode()
        except (ValueError, InvalidTag):
            return None
        type_, _, address = text.partition("\n")
        return Link(recipient_id, type_, address)

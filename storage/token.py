"""Opaque signed tokens: what the outside world holds of a recipient, and how we know it for ours.

A token is one AES block under a key of its purpose: eight bytes of identity, eight bytes of purpose
constant. Deciphering a foreign or altered block gives the constant with a chance of 2^-64, so the
block is cipher and MAC in one (encode-then-encipher), needs no look-up, and tells nobody how many
messages were sent or when. Hexadecimal, since some servers fold the letter case of return paths, and
since no other such encoding is as cheap: one is made for each copy.

Rule: no clock, no store; the key is an argument.
"""

from enum import Enum
from hashlib import blake2b
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY_BYTES: Final = 32
_BLOCK_BYTES: Final = 16
TOKEN_CHARS: Final = 2 * _BLOCK_BYTES
_ID_BYTES: Final = 8


class Purpose(Enum):
    """What a token may be used for; a token of one purpose is foreign to all others."""

    PIXEL = b"pixel"
    RETURN_PATH = b"return-path"
    UNSUBSCRIBE = b"unsubscribe"


class TokenBox:
    """Seals recipient ids into tokens of one purpose and opens them again.

    One object per purpose and process; not thread-safe (the cipher objects are shared).
    """

    def __init__(self, key: bytes, purpose: Purpose) -> None:
        """Take the installation's secret `key` (KEY_BYTES long); raises ValueError for another length."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"the secret key must have {KEY_BYTES} bytes, not {len(key)}")
        derived = blake2b(purpose.value, key=key, digest_size=32).digest()
        self._check = blake2b(b"check:" + purpose.value, digest_size=_BLOCK_BYTES - _ID_BYTES).digest()
        # ECB is right for a single block that never repeats: the block cipher itself is the primitive.
        cipher = Cipher(algorithms.AES(derived), modes.ECB())  # noqa: S305
        self._seal = cipher.encryptor().update
        self._open = cipher.decryptor().update

    def seal(self, recipient_id: int) -> str:
        """Return the token of `recipient_id` (0 … 2^63-1): TOKEN_CHARS characters of 0-9 and a-f."""
        return self._seal(recipient_id.to_bytes(_ID_BYTES, "big") + self._check).hex()

    def open(self, token: str) -> int | None:
        """Return the recipient id in `token` (letter case does not matter), or None if it is not ours."""
        if len(token) != TOKEN_CHARS:
            return None
        try:
            block = bytes.fromhex(token)
        except ValueError:
            return None
        if len(block) != _BLOCK_BYTES:  # fromhex() passes over white space
            return None
        plain = self._open(block)
        if plain[_ID_BYTES:] != self._check or plain[0] & 0x80:
            return None
        return int.from_bytes(plain[:_ID_BYTES], "big")

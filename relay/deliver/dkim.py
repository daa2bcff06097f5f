"""DKIM signatures (RFC 6376; rsa-sha256 and ed25519-sha256 by RFC 8301 and RFC 8463): bytes in, header fields out.

Rules: pure and linear; relaxed/relaxed, without l=. Nothing is signed that two readers may read differently: such a
signature would fail somewhere, and a message without one is told why. What all copies of a message share, the
header and the body up to the image, is canonicalised and hashed once.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from relay.inject.header import Header, read_header, unfold

if TYPE_CHECKING:
    from hashlib import _Hash

# Once more than there are, though there be none: whoever adds one breaks the signature. Gmail's seven, and the two
# that say how the body is read (docs/dkim.md has the sources).
ALWAYS: Final = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"reply-to",
    b"message-id",
    b"content-type",
    b"content-transfer-encoding",
)
# Once more than there are, where there is one: what is added to a message without one does no harm.
WHERE_PRESENT: Final = (
    b"mime-version",
    b"content-disposition",
    b"in-reply-to",
    b"references",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"autocrypt",
)
# As many as there are: lists and resenders add their own, and may.
AS_PRESENT: Final = (
    b"sender",
    b"list-id",
    b"list-help",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"feedback-id",
    b"cfbl-address",
    b"cfbl-feedback-id",
    b"resent-date",
    b"resent-from",
    b"resent-sender",
    b"resent-to",
    b"resent-cc",
    b"resent-message-id",
)
# Some programs give each Cc a field of its own, up to 97 in real mail; these are a h= of some kilobytes.
MAX_NAMES: Final = 300
_MORE: Final = {**dict.fromkeys(ALWAYS, 1), **dict.fromkeys(WHERE_PRESENT, 1), **dict.fromkeys(AS_PRESENT, 0)}

_LINE_BYTES: Final = 72
# Most of a large message is base64: a block without blanks is left as it is after one look.
_BLOCK_BYTES: Final = 64 * 1024
_FOLD: Final = b"\r\n\t"
_PADDING: Final = PKCS1v15()
_PREHASHED: Final = Prehashed(SHA256())


class Algorithm(StrEnum):
    """The value of a= (RFC 6376, 3.3; RFC 8463, 3)."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"


@dataclass(frozen=True, slots=True)
class Key:
    """A private key, and where its public half is published: `selector._domainkey.domain`."""

    domain: str
    """Lower-case A-labels (RFC 8616)."""
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    @property
    def algorithm(self) -> Algorithm:
        """What it signs with."""
        return Algorithm.RSA if isinstance(self.private, RSAPrivateKey) else Algorithm.ED25519

    def sign(self, digest: bytes) -> bytes:
        """Return the signature of a SHA-256 digest."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, _PADDING, _PREHASHED)
        return self.private.sign(digest)  # RFC 8463, 3: the digest is what is signed, by PureEdDSA


class Unsigned(StrEnum):
    """Why a message gets no signature, for the log."""

    HEADER = "its header cannot be read in one way only"
    FROM = "it has no From field, or several"
    LINE_ENDS = "it has a bare CR or LF"
    EIGHT_BIT = "it has 8-bit header fields without SMTPUTF8"
    FIELDS = "it has too many fields of one name"


def relaxed(text: bytes) -> bytes:
    """Return `text` with each run of blanks made one, and none before a line end (RFC 6376, 3.4.4 a)."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    if b" " not in text:
        return text
    if b"  " in text:
        for run in _RUNS:
            text = text.replace(run, b" ")
    return text.replace(b" \r\n", b"\r\n")


# A run of n blanks leaves n // w + n % w of a replacement of w by one. From up to 2^30, beyond any message, these
# leave at most 139263, 1214, 90, 20, 8, 4, 2, 1: a fixed number of passes, and no regular expression is as fast.
_RUNS: Final = tuple(b" " * width for width in (8192, 128, 16, 6, 3, 2, 2, 2))


class BodyHash:
    """The hash of a body in its relaxed form (RFC 6376, 3.4.4), fed in pieces that may be cut anywhere."""

    __slots__ = ("_blank", "_empty", "_hash", "_line_ends")

    def __init__(self) -> None:
        self._hash: _Hash = hashlib.sha256()
        self._empty = True
        # Line ends, and what stands after the last of them, blank so far: what follows decides whether they count.
        self._line_ends = 0
        self._blank = b""

    def copy(self) -> "BodyHash":
        """Return another one that has been fed the same."""
        twin = BodyHash()
        twin._hash, twin._empty = self._hash.copy(), self._empty
        twin._line_ends, twin._blank = self._line_ends, self._blank
        return twin

    def feed(self, piece: bytes) -> None:
        """Take what follows; line ends are CRLF."""
        for cut in range(0, len(piece), _BLOCK_BYTES):
            self._feed(piece[cut : cut + _BLOCK_BYTES])

    def _feed(self, block: bytes) -> None:
        text = relaxed(self._blank + block)
        kept = text.rstrip(b" \r\n")
        if kept:
            self._hash.update(b"\r\n" * self._line_ends + kept)
            self._empty, self._line_ends = False, 0
        rest = text[len(kept) :]
        line_ends = rest.count(b"\r\n")
        self._line_ends += line_ends
        self._blank = rest[2 * line_ends :]

    def digest(self) -> bytes:
        """Return the hash of what was fed, which ends here."""
        whole = self._hash.copy()
        if not self._empty:  # a body of empty lines is an empty body
            whole.update(b"\r\n")
        return whole.digest()


OwnFields = Sequence[tuple[bytes, bytes]]
"""Fields that each copy has of its own: name and value, the value one line without blanks at its ends."""


def written(own: OwnFields) -> bytes:
    """Return fields as they stand in a header."""
    return b"".join([b"%b: %b\r\n" % field for field in own])


class Template:
    """What the signatures of all copies of a message share."""

    __slots__ = ("_body", "_body_start", "_fields", "_names", "_shared", "author")

    def __init__(self, author: bytes, names: bytes, fields: bytes, body_start: int, shared: int) -> None:
        """Use `template`."""
        self.author = author
        """The unfolded value of the From field."""
        self._names = names
        self._fields = hashlib.sha256(fields)
        self._body_start = body_start
        self._shared = shared
        self._body: BodyHash | None = None
        """Of what is shared: hashed with the first copy, since a message whose author has no key needs none."""

    def signatures(self, copy: bytes, keys: Iterable[Key], at: int, lifetime: int = 0, own: OwnFields = ()) -> bytes:
        """Return a DKIM-Signature field for each key, in order, to be put before `copy`, lines ended with CRLF.

        `at` is the time in seconds since the epoch, `lifetime` how many seconds from then on they hold; 0: for ever.
        `own`: fields of the names that `template` was told, which are put before `copy` too.
        """
        if self._body is None:
            self._body = BodyHash()
            self._body.feed(copy[self._body_start : self._shared])
        body = self._body
        if len(copy) > self._shared:
            body = body.copy()
            body.feed(copy[self._shared :])
        body_hash = base64.b64encode(body.digest())
        fields = self._fields
        if own:
            fields = fields.copy()
            fields.update(b"".join([b"%b:%b\r\n" % (name.lower(), relaxed(value)) for name, value in own]))
        return b"".join([self._signature(fields, key, body_hash, at, lifetime) for key in keys])

    def _signature(self, fields: "_Hash", key: Key, body_hash: bytes, at: int, lifetime: int) -> bytes:
        until = f" x={at + lifetime};" if lifetime else ""
        start = f" v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};\r\n\ts={key.selector}; t={at};{until}"
        tags = b"%b\r\n\th=%b;\r\n\tbh=%b;\r\n\tb=" % (start.encode("ascii"), self._names, body_hash)
        # RFC 6376, 3.7: the signature signs itself too, relaxed, with an empty b= and without its line end.
        signed = fields.copy()
        signed.update(b"dkim-signature:" + tags.replace(_FOLD, b" ").lstrip())
        value = base64.b64encode(key.sign(signed.digest()))
        lines = [value[cut : cut + _LINE_BYTES] for cut in range(0, len(value), _LINE_BYTES)]
        return b"DKIM-Signature:%b%b\r\n" % (tags, _FOLD.join(lines))


def template(content: bytes, shared: int, *, utf8: bool, own: Sequence[bytes] = ()) -> Template | Unsigned:
    """Read a message, of which the first `shared` bytes, its header among them, are the same in all copies.

    The rest of a copy must have no bare CR or LF where this one has none. `utf8`: whether it travels with
    SMTPUTF8; otherwise 8-bit fields are re-written on the way by some (RFC 6376, 5.3). `own`: names (lower case) of
    fields that the content lacks and each copy gets, in order; they are signed last, and nobody can add another.
    """
    if not content.count(b"\n") == content.count(b"\r") == content.count(b"\r\n"):
        return Unsigned.LINE_ENDS
    header = read_header(content, 0)
    # A line that is no field ends the header for some and not for others.
    if header is None or header.body_start > shared or not (header.closed or header.end == len(content)):
        return Unsigned.HEADER
    found = _bodies(content, header)
    if len(found[b"from"]) != 1:
        return Unsigned.FROM
    names = [
        name
        for name, more in _MORE.items()
        if (name in ALWAYS and name not in own) or found[name]
        for _ in range(len(found[name]) + more)
    ]
    names += [name for name in own for _ in range(2)]
    if len(names) > MAX_NAMES:
        return Unsigned.FIELDS
    # RFC 6376, 3.4.2 and 5.4.2: those of one name from the last to the first.
    fields = b"".join([_relaxed_field(name, each) for name, bodies in found.items() for each in reversed(bodies)])
    if not utf8 and not fields.isascii():
        return Unsigned.EIGHT_BIT
    return Template(unfold(found[b"from"][0]), _folded(names), fields, header.body_start, shared)


def _bodies(content: bytes, header: Header) -> dict[bytes, list[bytes]]:
    """Return the bodies of the fields that may be signed, by name, in the order of h=."""
    found: dict[bytes, list[bytes]] = {name: [] for name in _MORE}
    for each in header.fields:
        if each.name in found:
            found[each.name].append(content[each.body : each.end])
    return found


def _relaxed_field(name: bytes, body: bytes) -> bytes:
    return b"%b:%b\r\n" % (name, relaxed(body.replace(b"\r\n", b"")).strip(b" "))


def _folded(names: list[bytes]) -> bytes:
    """Join names with colons, in lines of a good length."""
    lines = [names[0]]
    for name in names[1:]:
        if len(lines[-1]) + len(name) < _LINE_BYTES:
            lines[-1] += b":" + name
        else:
            lines.append(b":" + name)
    return _FOLD.join(lines)

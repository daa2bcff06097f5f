"""The splice plan: which bytes go where, computed once a message, kept with it, compact.

Rule: a plan is a list of edits in ascending order that do not overlap; each takes some bytes out and puts
literal bytes, or the recipient's image, in their place. Exactly one edit holds the image, none where the
message is not tracked.
"""

import zlib
from enum import IntEnum
from typing import Final

from storage.frozen import frozen
from storage.untracked import UntrackedReason

_VERSION: Final = 1
_SEVEN_BITS: Final = 0x7F


class PlanError(ValueError):
    """Stored bytes that are no plan: they were damaged, or written by a later version."""


class Form(IntEnum):
    """How bytes stand in a part (RFC 2045, 6)."""

    PLAIN = 0
    QUOTED_PRINTABLE = 1
    BASE64 = 2


@frozen
class Slot:
    """Where a recipient's image goes, and what is around it on its line."""

    form: Form
    codec: str
    """Python's name of the charset that the image is written in."""
    eol: bytes
    column: int
    """Bytes that stand on the line before the image."""
    tail: int
    """Bytes that stand on the line after it."""
    width: int
    """Bytes that a line may have."""
    before: bytes = b""
    after: bytes = b""
    """BASE64: decoded bytes of the cut group that the image divides."""


@frozen
class Edit:
    """Take `removed` bytes out at `offset`, put `literal`, or what `slot` says, there."""

    offset: int
    removed: int
    literal: bytes = b""
    slot: Slot | None = None


@frozen
class Plan:
    """What to do with a message's content. With a reason no image is put in; without an edit all stays as it is."""

    untracked_reason: UntrackedReason | None
    edits: tuple[Edit, ...] = ()
    size: int = 0
    """Bytes of the content that the plan is for."""
    checksum: int = 0
    """CRC-32 of that content."""

    @property
    def tracked(self) -> bool:
        """Whether a render holds an image."""
        return self.untracked_reason is None

    def fits(self, content: bytes) -> bool:
        """Whether this is the content that the plan was made for."""
        return len(content) == self.size and zlib.crc32(content) == self.checksum

    def to_bytes(self) -> bytes:
        """Return the plan in a compact form, a version first."""
        out = bytearray((_VERSION,))
        _put_bytes(out, (self.untracked_reason or "").encode())
        if self.untracked_reason is not None and not self.edits:
            return bytes(out)
        for number in (self.size, self.checksum, len(self.edits)):
            _put(out, number)
        for edit in self.edits:
            _put(out, edit.offset)
            _put(out, edit.removed)
            _put_bytes(out, edit.literal)
            _put_slot(out, edit.slot)
        return bytes(out)

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Plan":
        """Read what `to_bytes` wrote; b"" is a plan that leaves the message alone. Raises PlanError."""
        if not stored:
            return cls(UntrackedReason.NOT_PLANNED)
        if stored[0] != _VERSION:
            raise PlanError(f"a splice plan of version {stored[0]}; this program reads version {_VERSION}")
        take = _Take(stored, 1)
        try:
            plan = take.plan()
        except (IndexError, ValueError) as error:
            raise PlanError("a splice plan that is damaged") from error
        if take.position != len(stored):
            raise PlanError("a splice plan with bytes after its end")
        return plan


def _put(out: bytearray, number: int) -> None:
    while number > _SEVEN_BITS:
        out.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    out.append(number)


def _put_bytes(out: bytearray, text: bytes) -> None:
    _put(out, len(text))
    out += text


def _put_slot(out: bytearray, slot: Slot | None) -> None:
    out.append(slot is not None)
    if slot is not None:
        for number in (slot.form, slot.column, slot.tail, slot.width):
            _put(out, number)
        for text in (slot.codec.encode(), slot.eol, slot.before, slot.after):
            _put_bytes(out, text)


class _Take:
    """Reads a stored plan piece by piece."""

    def __init__(self, stored: bytes, position: int) -> None:
        self.stored = stored
        self.position = position

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.stored[self.position]
            self.position += 1
            value |= (byte & _SEVEN_BITS) << shift
            if byte <= _SEVEN_BITS:
                return value
            shift += 7

    def text(self) -> bytes:
        length = self.number()
        start, self.position = self.position, self.position + length
        if self.position > len(self.stored):
            raise IndexError(self.position)
        return self.stored[start : self.position]

    def plan(self) -> Plan:
        text = self.text()
        reason = UntrackedReason(text.decode("ascii")) if text else None
        if reason is not None and self.position == len(self.stored):
            return Plan(reason)
        size, checksum, count = self.number(), self.number(), self.number()
        edits = tuple(self.edit() for _ in range(count))
        if reason is not None and not edits:
            raise ValueError(reason)
        return Plan(reason, edits, size, checksum)

    def edit(self) -> Edit:
        return Edit(self.number(), self.number(), self.text(), self.slot() if self.number() else None)

    def slot(self) -> Slot:
        form, column, tail, width = Form(self.number()), self.number(), self.number(), self.number()
        codec, eol, before, after = self.text(), self.text(), self.text(), self.text()
        return Slot(form, codec.decode("ascii"), eol, column, tail, width, before, after)

"""Which part is the displayed HTML (RFC 2046, 5.1; RFC 2387; RFC 2183).

Rule: only what every reader shows. Containers other than mixed, alternative and related hold nothing
for us: signed, encrypted, reports, digests. Attachments and embedded messages are never looked into.
"""

from typing import Final

from relay.inject.parts import Part, Scan
from storage.untracked import UntrackedReason

_OPEN: Final = frozenset({b"multipart/mixed", b"multipart/alternative", b"multipart/related"})
# The beginnings of kinds that a root may have.
_TEXTUAL: Final = (b"text/", b"multi")
# What a kind of part, anywhere in the message, says about it; the first that matches.
_TELLING: Final = (
    (
        UntrackedReason.ENCRYPTED,
        {b"multipart/encrypted", b"application/pkcs7-mime", b"application/x-pkcs7-mime", b"application/pgp-encrypted"},
    ),
    (UntrackedReason.SIGNED, {b"multipart/signed"}),
    (UntrackedReason.REPORT, {b"multipart/report", b"multipart/digest"}),
)


def is_shown(part: Part, kind: bytes) -> bool:
    """Whether this leaf is text of this kind that is shown as part of the message."""
    return part.kind == kind and part.disposition[:6] != b"attach" and not _is_attached(part)


def _is_attached(part: Part) -> bool:
    # After another part of a mixed message a file name means a file, and so does a disposition that is
    # not known (RFC 2183, 2.8); elsewhere it stands where the message's text is.
    parent = part.parent
    later = parent is not None and parent.kind == b"multipart/mixed" and parent.children[0] is not part
    return later and (part.named or part.disposition not in (b"", b"inline"))


def find(scan: Scan, kind: bytes) -> Part | None:
    """Return the leaf of this kind that is shown: the last alternative, the root of related parts, the first of mixed.

    Children come after their parents in `scan.parts`, so one walk from the end decides without recursion.
    """
    chosen: dict[int, Part] = {}
    for part in reversed(scan.parts):
        found = _of(part, chosen) if part.kind in _OPEN else part if is_shown(part, kind) else None
        if found is not None:
            chosen[id(part)] = found
    return chosen.get(id(scan.parts[0]))


def _of(multipart: Part, chosen: dict[int, Part]) -> Part | None:
    children = multipart.children
    if multipart.kind == b"multipart/related":
        children = () if _starts_elsewhere(multipart) else children[:1]
    elif multipart.kind == b"multipart/alternative":
        children = children[::-1]
    for child in children:
        if id(child) in chosen:
            return chosen[id(child)]
    return None


def _starts_elsewhere(related: Part) -> bool:
    """Whether the root is said to be another part than the first (RFC 2387, 3.2): not all readers know that."""
    start = related.parameters.get(b"start", b"").strip().lower()
    return bool(start) and any(child.id == start and child.kind[:5] in _TEXTUAL for child in related.children[1:])


def why_none(scan: Scan) -> UntrackedReason:
    """Say why a message has no HTML that is shown."""
    kinds = {part.kind for part in scan.parts}
    for reason, telling in _TELLING:
        if kinds & telling:
            return reason
    if any(kind[:10] == b"multipart/" and kind not in _OPEN for kind in kinds):
        return UntrackedReason.UNKNOWN_MULTIPART
    if any(is_shown(part, b"text/plain") for part in scan.parts):
        return UntrackedReason.TEXT_ONLY
    if b"text/html" in kinds:
        return UntrackedReason.ATTACHED_ONLY
    return UntrackedReason.EMBEDDED_ONLY if b"message/rfc822" in kinds else UntrackedReason.NO_TEXT

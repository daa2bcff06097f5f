"""The splice plan of a message: whether it is tracked, and where its image goes.

Rule: pure, linear, and it never guesses. What is in doubt goes out untouched, with the reason.
"""

import re
import zlib
from typing import Final

from relay.inject import alternative, charset, choose, transfer
from relay.inject.header import Field, Header, body_of, read_value
from relay.inject.image import attribute, encode, tag
from relay.inject.markup import find_place
from relay.inject.parts import Part, Scan, scan
from relay.inject.render import pieces
from relay.inject.splice import Edit, Form, Plan, PlanError, Slot
from storage.frozen import frozen
from storage.tracking import ForeignDkim, TextOnly
from storage.untracked import UntrackedReason

__all__ = [
    "Edit",
    "Form",
    "InjectOptions",
    "Plan",
    "PlanError",
    "Slot",
    "UntrackedReason",
    "plan_message",
]

# As for text: an image beyond what Gmail shows is not fetched.
NEAR_TOP_FROM_BYTES: Final = alternative.MAX_TEXT_BEFORE_IMAGE
_PGP: Final = re.compile(rb"-----BEGIN PGP (?:SIGNED )?MESSAGE")


@frozen
class InjectOptions:
    """What the settings and the envelope say about tracking a message."""

    text_only: TextOnly = TextOnly.ADD_HTML
    url_length: int = 80
    """Characters of a recipient's URL; plans are proved with a URL of this length."""
    track: bool = True
    """False where the sender opted out and the field that says so has been taken out before."""
    own_url: str | None = None
    """A message that holds this URL already has its image."""
    foreign_dkim: ForeignDkim = ForeignDkim.KEEP
    signing_domains: frozenset[str] = frozenset()
    """Domains (lower case) that we sign for: their signatures are taken out, since we sign again."""
    sender_domain: str = ""
    recipient_domains: frozenset[str] = frozenset()
    """Domains of the envelope, in lower case."""
    leave_text_from: frozenset[str] = frozenset()
    leave_text_to: frozenset[str] = frozenset()
    """Sender and recipient domains, with all below them, whose plain text stays plain text."""

    def leaves_text(self) -> bool:
        """Whether the settings keep this message's plain text as it is."""
        to_left = alternative.any_within(self.recipient_domains, self.leave_text_to)
        return to_left or alternative.any_within({self.sender_domain}, self.leave_text_from)


def plan_message(content: bytes, options: InjectOptions) -> Plan:
    """Return the plan for a message; wherever in doubt one that puts nothing in, with the reason.

    Signatures of domains that we sign for are taken out in either case.
    """
    found = scan(content)
    signatures = _Signatures.read(content, found.header, options.signing_domains)
    edits = _edits(content, found, signatures, options)
    if not isinstance(edits, UntrackedReason):
        removed = (*signatures.ours, *signatures.foreign) if options.foreign_dkim is _REMOVE else signatures.ours
        return _plan(None, content, (*map(_removal, removed), *edits))
    return _plan(edits, content, tuple(map(_removal, signatures.ours))) if signatures.ours else Plan(edits)


def _plan(reason: UntrackedReason | None, content: bytes, edits: tuple[Edit, ...]) -> Plan:
    in_order = tuple(sorted(edits, key=lambda edit: edit.offset)) if len(edits) > 1 else edits
    return Plan(reason, in_order, len(content), zlib.crc32(content))


def _edits(
    content: bytes, found: Scan, signatures: "_Signatures", options: InjectOptions
) -> tuple[Edit, ...] | UntrackedReason:
    """Return the edits that put an image in, or why there are none."""
    if not _wants(content, found.header, options):
        return UntrackedReason.OPTED_OUT
    if found.doubt is not None or found.header is None:
        return found.doubt or UntrackedReason.TOO_COMPLEX
    if signatures.foreign and options.foreign_dkim is ForeignDkim.KEEP:
        return UntrackedReason.FOREIGN_DKIM
    part = choose.find(found, b"text/html")
    if part is not None:
        return _html_edits(content, found, part, options)
    reason = choose.why_none(found)
    return _text_edits(content, found, options) if reason is UntrackedReason.TEXT_ONLY else reason


def _text_edits(content: bytes, found: Scan, options: InjectOptions) -> tuple[Edit, ...] | UntrackedReason:
    """Return the edits that give a plain text message an HTML alternative with an image."""
    part = choose.find(found, b"text/plain")
    if options.text_only is TextOnly.LEAVE or part is None or found.header is None:
        return UntrackedReason.TEXT_ONLY
    if options.leaves_text():
        return UntrackedReason.TEXT_WANTED
    left = alternative.why_left(content, found.header, options.recipient_domains)
    if left is not None:
        return left
    edits = alternative.add_html(content, found, part, _eol(content, part))
    if isinstance(edits, UntrackedReason):
        return edits
    return _text_refuted(content, part, edits, options) or edits


def _text_refuted(
    content: bytes, part: Part, edits: tuple[Edit, ...], options: InjectOptions
) -> UntrackedReason | None:
    """Say why a render may not be read as the same text beside HTML with one image; None where it is."""
    url = "u" * options.url_length
    split = pieces(content, Plan(None, edits))
    rendered = split.render(url) if split else b""
    found = scan(rendered)
    if found.doubt is not None:
        return found.doubt
    text, html = choose.find(found, b"text/plain"), choose.find(found, b"text/html")
    if text is None or html is None or rendered[text.start : text.end] != content[part.start : part.end]:
        return UntrackedReason.SELF_CHECK
    form = transfer.form_of(html.encoding)
    source = transfer.decode(form, rendered[html.start : html.end]) if form is not None else None
    shown = source is not None and source.count(b"<img") == 1 and source.count(f'src="{url}"'.encode()) == 1
    return None if shown else UntrackedReason.SELF_CHECK


def _wants(content: bytes, header: Header | None, options: InjectOptions) -> bool:
    fields = header.named(b"x-track-opens") if header else []
    return options.track and not any(body_of(content, field).lower() in (b"no", b"false", b"0") for field in fields)


_REMOVE: Final = ForeignDkim.REMOVE


@frozen
class _Signatures:
    """The DKIM-Signature fields of a message: of domains that we sign for, and of others."""

    ours: tuple[Field, ...] = ()
    foreign: tuple[Field, ...] = ()

    @classmethod
    def read(cls, content: bytes, header: Header | None, signing_domains: frozenset[str]) -> "_Signatures":
        """Read them from a message's header."""
        fields = header.named(b"dkim-signature") if header else []
        if not fields:
            return _NO_SIGNATURES
        ours = [_domain(content, field) in signing_domains for field in fields]
        return cls(
            tuple(field for field, own in zip(fields, ours, strict=True) if own),
            tuple(field for field, own in zip(fields, ours, strict=True) if not own),
        )


_NO_SIGNATURES: Final = _Signatures()


def _domain(content: bytes, signature: Field) -> str:
    """Return the domain that signed (RFC 6376, 3.5), in lower case; "" where it says none."""
    tags = read_value(b"dkim;" + content[signature.body : signature.end]).parameters
    return tags.get(b"d", b"").decode("latin-1").lower()


def _removal(field: Field) -> Edit:
    return Edit(field.start, field.end - field.start)


@frozen
class _Html:
    """The HTML part that is shown, decoded."""

    part: Part
    form: Form
    source: bytes
    reading: charset.Reading


def _html(content: bytes, part: Part) -> _Html | UntrackedReason:
    """Decode the part, or say why it cannot be decoded for certain."""
    form = transfer.form_of(part.encoding)
    if part.doubt is not None or form is None:
        return part.doubt or UntrackedReason.UNKNOWN_ENCODING
    source = transfer.decode(form, content[part.start : part.end])
    if source is None:
        return UntrackedReason.BROKEN_ENCODING
    reading = charset.read(source, part.parameters.get(b"charset", b"").strip())
    if isinstance(reading, UntrackedReason):
        return reading
    return _Html(part, form, source, reading) if source.strip() else UntrackedReason.EMPTY_HTML


def _html_edits(content: bytes, found: Scan, part: Part, options: InjectOptions) -> tuple[Edit, ...] | UntrackedReason:
    html = _html(content, part)
    if isinstance(html, UntrackedReason):
        return html
    if options.own_url is not None and attribute(options.own_url).decode().encode(html.reading.codec) in html.source:
        return UntrackedReason.ALREADY_TRACKED
    if _holds_pgp(html.reading.markup) or _text_holds_pgp(content, found):
        return UntrackedReason.INLINE_PGP
    offset = _offset(html, options)
    if isinstance(offset, UntrackedReason):
        return offset
    edit = transfer.cut(html.form, content, part.start, part.end, offset, html.reading.codec, _eol(content, part))
    if isinstance(edit, UntrackedReason):
        return edit
    return (edit,) if _proved(content, html, offset, edit, options) else UntrackedReason.SELF_CHECK


def _offset(html: _Html, options: InjectOptions) -> int | UntrackedReason:
    """Return where in the decoded bytes the image goes."""
    reading = html.reading
    place = find_place(reading.markup[reading.mark :], near_top=len(html.source) >= NEAR_TOP_FROM_BYTES)
    if isinstance(place, UntrackedReason):
        return place
    offset = reading.offset(place + reading.mark)
    if offset is None or not reading.proves(offset, tag(b"u" * options.url_length, reading.codec)):
        return UntrackedReason.NO_SAFE_PLACE
    return offset


def _eol(content: bytes, part: Part) -> bytes:
    header = content[part.head : part.start]
    return b"\n" if b"\n" in header and b"\r\n" not in header else b"\r\n"


def _holds_pgp(text: bytes) -> bool:
    return _PGP.search(text) is not None


def _text_holds_pgp(content: bytes, found: Scan) -> bool:
    """Whether the plain text that the HTML is an alternative to is signed or encrypted inline: it renders that."""
    part = choose.find(found, b"text/plain")
    if part is None or part.parent is None or part.parent.kind != b"multipart/alternative":
        return False
    form = transfer.form_of(part.encoding)
    if form is None:
        return False
    return _holds_pgp(transfer.decode(form, content[part.start : part.end]) or b"")


def _proved(content: bytes, html: _Html, offset: int, edit: Edit, options: InjectOptions) -> bool:
    """Whether the body with an image decodes to the body as it was, with nothing but the image at the place meant."""
    assert edit.slot is not None  # noqa: S101 - `transfer.cut` makes no other
    url, part, source = "u" * options.url_length, html.part, html.source
    view, shown = memoryview(content), memoryview(source)
    body = b"".join(
        (view[part.start : edit.offset], encode(edit.slot, url), view[edit.offset + edit.removed : part.end])
    )
    after = transfer.decode(html.form, body)
    if after is None or not (after.startswith(shown[:offset]) and after.endswith(shown[offset:])):
        return False
    inserted = after[offset : len(after) - len(source) + offset].decode(edit.slot.codec)
    return inserted.strip().startswith("<img") and inserted.endswith(">") and inserted.count(url) == 1

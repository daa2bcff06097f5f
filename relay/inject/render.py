"""A recipient's content: the message with the image of that recipient.

Rule: slices and joins only. Every render is checked: the inserted bytes taken out give the stored bytes,
or the stored bytes go out, and the caller is told so.
"""

from relay.inject.image import encode
from relay.inject.splice import Plan, Slot
from storage.frozen import frozen


@frozen
class Pieces:
    """What all recipients of a message share: the bytes before and after the image."""

    head: bytes
    slot: Slot
    tail: bytes

    def render(self, url: str) -> bytes:
        """Return the content for the recipient whose image has this URL."""
        return b"".join((self.head, encode(self.slot, url), self.tail))


@frozen
class Rendering:
    """A render, and what the self-check found."""

    content: bytes
    defect: str | None = None
    """What went wrong, for our log; the content is then the stored one, untouched."""


def pieces(content: bytes, plan: Plan) -> Pieces | None:
    """Split the content around the image by a plan; None for a plan without an image.

    A DKIM signer can hash the body up to the image once a message: `head` is the same for all recipients.
    """
    view = memoryview(content)
    head: list[bytes | memoryview] = []
    slot: Slot | None = None
    out, position = head, 0
    tail: list[bytes | memoryview] = []
    for edit in plan.edits:
        out += (view[position : edit.offset], edit.literal)
        position = edit.offset + edit.removed
        if edit.slot is not None:
            slot, out = edit.slot, tail
    out.append(view[position:])
    return None if slot is None else Pieces(b"".join(head), slot, b"".join(tail))


def head_bytes(plan: Plan) -> int:
    """Return the length of the head that `pieces` gives, and all renders begin with; of all where there is no image."""
    shift = 0
    for edit in plan.edits:
        if edit.slot is not None:
            return edit.offset + shift + len(edit.literal)
        shift += len(edit.literal) - edit.removed
    return plan.size + shift


def render_checked(content: bytes, plan: Plan, url: str) -> Rendering:
    """Return the content with the image for `url`; the stored bytes, and why, where the self-check fails."""
    if not plan.tracked and not plan.edits:
        return Rendering(content)
    if not plan.fits(content):
        return Rendering(content, "the splice plan was made for another content")
    split = pieces(content, plan)
    if (split is None) is plan.tracked:
        return Rendering(content, "the splice plan has no place for an image, or one too many")
    rendered = split.render(url) if split else without_image(content, plan)
    image_length = len(rendered) - len(split.head) - len(split.tail) if split else 0
    if not gives_back(rendered, content, plan, image_length):
        return Rendering(content, "the inserted bytes taken out do not give the stored bytes")
    return Rendering(rendered)


def without_image(content: bytes, plan: Plan) -> bytes:
    """Return the content by a plan that only takes out, or puts in, what is the same for all recipients."""
    out: list[bytes] = []
    position = 0
    for edit in plan.edits:
        out += (content[position : edit.offset], edit.literal)
        position = edit.offset + edit.removed
    return b"".join((*out, content[position:]))


def gives_back(rendered: bytes, content: bytes, plan: Plan, image_length: int) -> bool:
    """Whether `rendered`, with all that the plan inserted taken out and all that it removed put back, is `content`."""
    # Views, since a copy of a large content is what all this costs.
    view = memoryview(content)
    at = position = 0
    for edit in plan.edits:
        kept = view[position : edit.offset]
        if edit.offset < position or not _stands(kept, rendered, at):
            return False
        at += len(kept) + (image_length if edit.slot is not None else len(edit.literal))
        position = edit.offset + edit.removed
    return len(rendered) - at == len(content) - position and _stands(view[position:], rendered, at)


def _stands(piece: memoryview, text: bytes, at: int) -> bool:
    return text.startswith(piece, at)


def render(content: bytes, plan: Plan, url: str) -> bytes:
    """Return the content with the image for `url`; the content itself where the plan, or a self-check, says no.

    Raises ValueError for a URL that cannot stand in HTML as it is.
    """
    return render_checked(content, plan, url).content

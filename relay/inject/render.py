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
    head, slot, tail = _around(content, plan)
    return None if slot is None else Pieces(b"".join(head), slot, b"".join(tail))


def _around(content: bytes, plan: Plan) -> tuple[list[bytes | memoryview], Slot | None, list[bytes | memoryview]]:
    """Return what stands before the image, its slot, and what stands after; all is before where there is no image."""
    # Views, here and below: a copy of the content is what all this costs.
    view = memoryview(content)
    head: list[bytes | memoryview] = []
    tail: list[bytes | memoryview] = []
    out, slot, position = head, None, 0
    for edit in plan.edits:
        out += (view[position : edit.offset], edit.literal)
        position = edit.offset + edit.removed
        if edit.slot is not None:
            slot, out = edit.slot, tail
    out.append(view[position:])
    return head, slot, tail


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
    head, slot, tail = _around(content, plan)
    if (slot is None) is plan.tracked:
        return Rendering(content, "the splice plan has no place for an image, or one too many")
    image = encode(slot, url) if slot else b""
    rendered = b"".join((*head, image, *tail))
    if not gives_back(rendered, content, plan, len(image)):
        return Rendering(content, "the inserted bytes taken out do not give the stored bytes")
    return Rendering(rendered)


def gives_back(rendered: bytes, content: bytes, plan: Plan, image_length: int) -> bool:
    """Whether `rendered`, with all that the plan inserted taken out and all that it removed put back, is `content`."""
    view = memoryview(content)
    at = position = 0
    for edit in plan.edits:
        kept = view[position : edit.offset]
        if edit.offset < position or not rendered.startswith(kept, at):
            return False
        at += len(kept) + (image_length if edit.slot is not None else len(edit.literal))
        position = edit.offset + edit.removed
    return len(rendered) - at == len(content) - position and rendered.startswith(view[position:], at)


def render(content: bytes, plan: Plan, url: str) -> bytes:
    """Return the content with the image for `url`; the content itself where the plan, or a self-check, says no.

    Raises ValueError for a URL that cannot stand in HTML as it is.
    """
    return render_checked(content, plan, url).content

"""What one recipient's server is given: the copy that `relay.compose` makes and the client sends."""

from dataclasses import field

from storage.frozen import frozen


@frozen
class Copy:
    """A message as one recipient gets it."""

    return_path: str
    """MAIL FROM; "" is the null sender."""
    content: bytes = field(repr=False)
    """Lines end with CRLF; not dot-stuffed."""

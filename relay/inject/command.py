"""`telltale inject`: the relay's own injection on one message, for trying out and for tests."""

from typing import BinaryIO

from relay.inject.plan import InjectOptions, plan_message
from relay.inject.render import render
from storage.tracking import TextOnly


def inject(content: bytes, url: str, text_only: TextOnly) -> bytes:
    """Return the message with the image at `url`, or the very bytes that came where it is left alone."""
    options = InjectOptions(text_only=text_only, url_length=len(url), own_url=url)
    return render(content, plan_message(content, options), url)


def inject_left(content: bytes, url: str) -> bytes:
    """`inject`, leaving messages without HTML alone."""
    return inject(content, url, TextOnly.LEAVE)


def inject_add_html(content: bytes, url: str) -> bytes:
    """`inject`, giving messages without HTML an HTML alternative."""
    return inject(content, url, TextOnly.ADD_HTML)


def inject_stream(source: BinaryIO, target: BinaryIO, url: str, text_only: str) -> None:
    """Read a message, write it with its image. Raises ValueError for a URL or a choice that is none."""
    target.write(inject(source.read(), url, TextOnly(text_only)))

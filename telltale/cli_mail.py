"""`telltale inject`: the relay's own code on a message, for trying out and for tests."""

import re
import sys
from enum import StrEnum
from typing import Annotated, Final

import typer

from telltale.errors import UsageError

# What a URL may hold that is written into HTML, minus the quotes and angle brackets that would end it there.
_IMAGE_URL: Final = re.compile(r"https?://[!#-;=?-~]+")


class TextOnlyChoice(StrEnum):
    """What to do with a message that has no HTML (the values of `tracking.text_only`)."""

    LEAVE = "leave"
    ADD_HTML = "add-html"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(inject)


def inject(
    pixel_url: Annotated[str, typer.Option("--pixel-url", metavar="URL", help="The image's address.")],
    text_only: Annotated[TextOnlyChoice, typer.Option("--text-only")] = TextOnlyChoice.ADD_HTML,
) -> None:
    """Put a tracking image into a message.

    Reads it from standard input and writes it to standard output, by the relay's own code.
    """
    from relay.inject.command import inject_stream

    if not _IMAGE_URL.fullmatch(pixel_url):
        raise UsageError(f'--pixel-url "{pixel_url}" is no http or https address')
    inject_stream(sys.stdin.buffer, sys.stdout.buffer, pixel_url, text_only.value)
    sys.stdout.buffer.flush()

"""Forms with files: streamed to a folder as they come, and counted as they come.

Rules: a form counts only with its token, which comes first: nothing is written before. Memory does not grow with a
file; the name that a browser gives a file is for people, never a path.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from report.asked import Asked
from report.forms import FIELD, MAX_BYTES, check_site, check_token
from report.problem import ProblemError
from report.words import size

# Each costs some 3 ms, in which nobody else is served.
_IDLE_SECONDS: Final = 60.0
_MOST_PARTS: Final = 100


@dataclass(slots=True)
class Upload:
    """A form that was read."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[Path, str]] = field(default_factory=dict)
    """Where each file is that was chosen, and what the browser calls it."""


async def uploaded(asked: Asked, files: Mapping[str, str], make_folder: Callable[[], Path]) -> Upload:
    """Read a form whose parts `files` are written to a folder by these names; raises ProblemError.

    `make_folder` is called once the form is known to be ours.
    """
    check_site(asked)
    if asked.request.content_type != "multipart/form-data":
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Expected a form of this server.")
    with asked.desk.uploading(asked.who.user):
        return await _read(asked, files, make_folder)


async def _read(asked: Asked, files: Mapping[str, str], make_folder: Callable[[], Path]) -> Upload:
    room, form, folder, parts = _Room(asked), Upload(), None, 0
    try:
        async with asyncio.timeout(_IDLE_SECONDS) as room.idle:
            async for part in await asked.request.multipart():
                parts += 1
                if not isinstance(part, BodyPartReader) or part.name is None or parts > _MOST_PARTS:
                    raise ProblemError(HTTPStatus.BAD_REQUEST, "Expected a form of this server.")
                if folder is None:
                    check_token(asked, await _text(part, room) if part.name == FIELD else "")
                    folder = make_folder()
                elif part.name in files:
                    await _keep(part, folder / files[part.name], room, form)
                else:
                    form.fields[part.name] = await _text(part, room)
    except TimeoutError:
        detail = f"Nothing more of the form came for {_IDLE_SECONDS:.0f} seconds; send it again."
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, detail) from None
    except (
        ValueError,
        AssertionError,
        web.HTTPRequestEntityTooLarge,
        HttpProcessingError,
    ):  # what aiohttp says of bodies that are none
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The form came damaged; send it again.") from None
    if folder is None:
        check_token(asked, "")
    return form


class _Room:
    """How much may still come."""

    idle: asyncio.Timeout | None = None
    """When to give up, as long as nothing comes."""

    def __init__(self, asked: Asked) -> None:
        self._most = self._left = asked.desk.settings.max_upload_bytes
        if (asked.request.content_length or 0) > self._most + MAX_BYTES:
            raise self._too_large()

    def take(self, n_bytes: int) -> None:
        """Count what came; raises ProblemError where it is too much."""
        self._left -= n_bytes
        if self._left < 0:
            raise self._too_large()
        if self.idle is not None:
            self.idle.reschedule(asyncio.get_running_loop().time() + _IDLE_SECONDS)

    def _too_large(self) -> ProblemError:
        detail = f"That is too large: an upload has at most {size(self._most)} (max_upload_bytes in [report])."
        return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


async def _text(part: BodyPartReader, room: _Room) -> str:
    data = bytearray()
    while chunk := await part.read_chunk():
        room.take(len(chunk))
        data += chunk
        if len(data) > MAX_BYTES:
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f'The field "{part.name}" is too long.')
    return data.decode("utf-8", "replace")


async def _keep(part: BodyPartReader, path: Path, room: _Room, form: Upload) -> None:
    named = "".join(char for char in (part.filename or "") if char.isprintable())[:200]
    n_bytes = 0
    with path.open("wb") as file:
        while chunk := await part.read_chunk(1 << 16):
            room.take(len(chunk))
            n_bytes += file.write(chunk)
    # A browser sends a field without a file as an empty one, and so a text area that nobody wrote in.
    if n_bytes and part.name:
        form.files[part.name] = path, named

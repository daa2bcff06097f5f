"""The files of the pages: style and scripts, by an address that changes with their content.

Rule: they are read once, and hold no secret; so browsers may keep them for ever.
"""

from hashlib import blake2b
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_TYPES: Final = MappingProxyType(
    {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "json": "application/json"}
)


class StaticFiles:
    """All files of report/static by name."""

    def __init__(self) -> None:
        """Read them."""
        folder = files("report").joinpath("static")
        self._files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self.version = blake2b(b"".join(self._files[name] for name in sorted(self._files)), digest_size=6).hexdigest()
        """Part of the address of each file."""

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Return a file and its media type; None where there is none."""
        body = self._files.get(name)
        return None if body is None else (body, _TYPES[name.rpartition(".")[2]])

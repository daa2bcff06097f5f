"""How many bounce messages are kept: who has met a return path may write to it for ever, and anybody to postmaster.

Rules: bounded in number and in bytes for each return path, and in number for all that came to none; what that costs
does not grow with what else is kept. What waits to be understood is never put out.
"""

import sqlite3
from typing import Final

MOST_OF_ONE: Final = 200
"""Bounce messages of one return path. A list that we send to may have some hundred members on holiday."""
MOST_BYTES_OF_ONE: Final = 32 * 1024 * 1024
MOST_UNSIGNED: Final = 1000
"""Mail to postmaster, the newest; cut to 256 KiB each by who takes it."""

_SIZES: Final = "SELECT length(raw) FROM dsn WHERE recipient_id=? LIMIT ?"
_COUNT: Final = "SELECT count(*) FROM (SELECT 1 FROM dsn WHERE recipient_id IS NULL LIMIT ?)"
_PUT_OUT: Final = (
    "DELETE FROM dsn WHERE id IN"
    " (SELECT id FROM dsn WHERE recipient_id IS NULL AND kind IS NOT NULL ORDER BY id LIMIT 1)"
)


def has_room(connection: sqlite3.Connection, recipient_id: int | None, n_bytes: int) -> bool:
    """Return whether one more may be kept, of so many bytes; the first of a return path may, whatever its size."""
    if recipient_id is None:
        (unsigned,) = connection.execute(_COUNT, (MOST_UNSIGNED,)).fetchone()
        return unsigned < MOST_UNSIGNED or connection.execute(_PUT_OUT).rowcount > 0
    sizes = [size for (size,) in connection.execute(_SIZES, (recipient_id, MOST_OF_ONE))]
    return not sizes or (len(sizes) < MOST_OF_ONE and sum(sizes) + n_bytes <= MOST_BYTES_OF_ONE)

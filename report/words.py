"""How facts are written: times, sizes and numbers.

Rule: pure; the time zone and the present are arguments.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Final

LAST_MS: Final = int(datetime(9000, 1, 1, tzinfo=UTC).timestamp()) * 1000
"""No time that people give is this late or later: in every zone, it has to have a year that can be written."""
_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60))
_KIB: Final = 1024
# The first that is found counts: most programs claim to be others, too.
_PROGRAMS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS: Final = (
    ("Windows", "Windows"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_PHONES: Final = ("phone", "tel", "mobile", "cell", "handy")


def rfc3339(at_ms: int | None) -> str | None:
    """Return a time as `2026-11-23T14:00:00.123Z`; None for None."""
    if at_ms is None:
        return None
    second, ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03}Z"


def short_time(at_ms: int | None, now_ms: int, zone: tzinfo | None) -> str:
    """Return a time for people in `zone` (None: the machine's): "14:05:09" today, "21 Nov 14:05", "21 Nov 2025"."""
    if at_ms is None:
        return ""
    at, now = local(at_ms, zone), local(now_ms, zone)
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    return f"{at.day} {at:%b %H:%M}" if at.year == now.year else f"{at.day} {at:%b %Y}"


def full_time(at_ms: int, zone: tzinfo | None) -> str:
    """Return a time for people to the millisecond: "2026-11-23 14:00:00.123"."""
    return f"{local(at_ms, zone):%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03}"


def local(at_ms: int, zone: tzinfo | None) -> datetime:
    """Return a time as a datetime in `zone` (None: the machine's)."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone)


def span(milliseconds: int) -> str:
    """Return a length of time in its largest unit: "3 d", "2 h", "5 min", "40 s"."""
    seconds = max(0, milliseconds) // 1000
    for name, length in _UNITS:
        if seconds >= length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def size(n_bytes: int) -> str:
    """Return a size in its unit: "512 B", "4.1 KB", "25 MB" (powers of 1024)."""
    if n_bytes < _KIB:
        return f"{n_bytes} B"
    value, unit = float(n_bytes), "B"
    for unit in ("KB", "MB", "GB"):  # noqa: B007 - the last one is used after the loop
        value /= _KIB
        if value < _KIB:
            break
    return f"{value:.1f} {unit}"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: "1 open", "1,200 opens"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Return a share of 1 as people write it: "27 %", below ten with a decimal: "3.4 %"."""
    hundred = share * 100
    return f"{hundred:.1f} %" if 0 < hundred < 9.95 or 99.5 <= hundred < 100 else f"{hundred:.0f} %"  # noqa: PLR2004 - above


def part_of(number: int, whole: int) -> str:
    """Return how much of a whole a number is, as `percent`; "" where there is no whole."""
    return percent(number / whole) if whole > 0 else ""


def short(number: int) -> str:
    """Return a number for an axis: 800, 12k, 1.5M."""
    for size_, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if number >= size_:
            return f"{number / size_:.4g}{unit}"
    return str(number)


def browser(agent: str) -> str:
    """Return a User-Agent as people know it: "Firefox on Windows"; "" where neither is known."""
    program = next((name for sign, name in _PROGRAMS if sign in agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    return f"{program} on {system}" if program and system else program or system


def phones(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return a contact's telephone numbers: the fields whose names say so."""
    return tuple(value for name, value in fields.items() if value and any(word in name.lower() for word in _PHONES))


def dialled(phone: str) -> str:
    """Return what a telephone number dials (RFC 3966): its digits, with a plus sign where it begins so."""
    digits = "".join(char for char in phone if char.isascii() and char.isdigit())
    return f"+{digits}" if phone.strip().startswith("+") else digits

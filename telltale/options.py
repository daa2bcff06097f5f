"""What several commands read from the command line: the configuration, statuses, points in time.

Rule: nothing heavy is imported before a command knows that it needs it.
"""

import os
import re
import time
from collections.abc import Sequence
from datetime import datetime
from datetime import time as time_of_day
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from telltale.errors import UsageError

if TYPE_CHECKING:
    from storage.status import Status
    from telltale.config import Config

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file [default: $TELLTALE_CONFIG, else /etc/telltale/config.toml, else built in].",
    ),
]

_TODAY: Final = re.compile(r"\d{1,2}:\d{2}")
_AGO: Final = re.compile(r"(\d{1,9})\s*([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def config_file(ctx: typer.Context, given: Path | None) -> Path | None:
    """Return the file named beside the command or before it; None where neither was."""
    return given if given is not None else ctx.find_root().obj


def load_config(ctx: typer.Context, given: Path | None) -> "Config":
    """Load the configuration that the command line means; raises ConfigError."""
    from telltale.config import load, locate

    return load(locate(config_file(ctx, given), os.environ))


def now_ms() -> int:
    """Return the present time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def since_ms(text: str | None, now: int, option: str = "--since") -> int | None:
    """Read "90s", "30m", "2h", "3d", "1w" (before `now`), "14:05" (today) or an ISO 8601 time (no zone: local time)."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text.strip().lower()):
        return now - int(ago[1]) * _SECONDS[ago[2]] * 1000
    try:
        return int(_time(text.strip(), now).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f'{option} "{text}" is no point in time: say how long ago ("90s", "30m", "2h", "3d", "1w")'
            ' or when ("14:05", "2026-11-23", "2026-11-23T14:05Z")'
        ) from None


def _time(text: str, now: int) -> datetime:
    if _TODAY.fullmatch(text):
        today = datetime.fromtimestamp(now / 1000).astimezone()
        return datetime.combine(today, time_of_day.fromisoformat(text.zfill(5)))
    return datetime.fromisoformat(text)


def statuses(texts: Sequence[str]) -> tuple["Status", ...]:
    """Read names of statuses in any letter case, with blanks, hyphens, underscores or nothing between words."""
    from storage.status import Status

    known = {_plain(status): status for status in Status}
    return tuple([_status(text, known) for text in texts])


def _status(text: str, known: dict[str, "Status"]) -> "Status":
    if found := known.get(_plain(text)):
        return found
    near = get_close_matches(_plain(text), known, n=1, cutoff=0.4)
    meant = f'did you mean "{known[near[0]]}"?' if near else "the statuses are " + ", ".join(known.values())
    raise UsageError(f'--status "{text}" is not a status; {meant}')


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.lower())

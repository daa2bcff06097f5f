"""What the commands of broadcasts print alike."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from storage.status import Status


def print_json(value: dict[str, Any]) -> None:
    """Print an object as a line of JSON Lines."""
    from storage.contact_forms import json_line

    sys.stdout.write(json_line(value))


def tell_statuses(console: "Console", statuses: "dict[Status, int]") -> None:
    """Print how many recipients are in each status."""
    from rich.table import Table

    from storage.status import Status

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column()
    table.add_column(justify="right")
    for status in Status:
        if count := statuses.get(status):
            table.add_row(str(status), f"{count:,}")
    console.print(table)


def time_of(at_ms: int) -> str:
    """Return a time as people read it here."""
    from datetime import datetime

    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")

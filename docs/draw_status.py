"""Writes the table and the diagram of docs/status.md from storage/status.py: `make docs`.

A test holds the file against the table, so that the two cannot drift.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from storage.status import TABLE, Event, Status, reachable

PAGE = Path(__file__).with_name("status.md")
START, END = "<!-- drawn from storage/status.py: make docs -->", "<!-- end of what was drawn -->"


def drawn() -> str:
    """Return the part of the page that is made from the table."""
    return "\n".join([START, "", *_diagram(), "", *_table(), "", END])


def page(text: str) -> str:
    """Return `text`, a page, with its drawn part made anew."""
    before, _, rest = text.partition(START)
    return before + drawn() + rest.partition(END)[2]


def _diagram() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {_name(Status.UNSENT)}"
    for status in Status:
        for after in Status:
            events = [event for event, then in TABLE[status].items() if then is after and after is not status]
            if events:
                yield f"    {_name(status)} --> {_name(after)}: {', '.join(events)}"
    for status in Status:
        if not reachable(status):
            yield f"    {_name(status)} --> [*]"
    yield "```"


def _table() -> Iterator[str]:
    yield "| | " + " | ".join(Event) + " |"
    yield "|---" * (len(Event) + 1) + "|"
    for status in Status:
        yield f"| **{status}** | " + " | ".join([_cell(status, event) for event in Event]) + " |"


def _cell(status: Status, event: Event) -> str:
    after = TABLE[status].get(event)
    if after is None:
        return "–"
    return "kept" if after is status else after.value


def _name(status: Status) -> str:
    return status.name.title().replace("_", "")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} drawn\n")

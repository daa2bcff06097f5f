"""What the pages ask of other rooms: the front door, which knows them all, hands it to the report server.

Rule: values and promises only. What people gave and cannot be meant is answered with a Refusal, a sentence for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from report.drafts import Draft
from report.imports import Import, Standing
from storage.broadcast_audience import Missing
from storage.contact_rows import Bad
from storage.status import Status


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not done."""

    why: str


@dataclass(frozen=True, slots=True)
class PreFlight:
    """What would become of everybody, if a draft went now."""

    subject: str
    """As it was written, placeholders and all."""
    counts: Mapping[Status, int]
    missing: tuple[Missing, ...]
    """Fields that the message needs and recipients lack; with any, nothing can be sent."""
    bad: int
    """Lines that are passed over."""
    first_bad: tuple[Bad, ...]
    without_address: int
    """Contacts of the list that have no address at all; they are no row of the log."""

    @property
    def total(self) -> int:
        """Recipients that would be a row of the log."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Preview:
    """A copy as one recipient would get it."""

    to: str
    subject: str
    html: str | None
    text: str
    more: bool
    """Whether there is a recipient after this one to look at."""


@dataclass(frozen=True, slots=True)
class When:
    """When a draft goes, and how fast."""

    start_ms: int | None
    """None: now."""
    per_hour: int | None
    """Copies; None: as fast as they go."""


class Watch(Protocol):
    """Looks on while something takes its time."""

    def tell(self, what: str, done: int = 0, of: int | None = None) -> None:
        """Hear how far it is; what this raises ends it, and nothing comes of it."""


class Broadcasting(Protocol):
    """Sends drafts, by the verbs of `telltale broadcast send`."""

    @property
    def default_type(self) -> str:
        """The type of a broadcast that says none."""

    def pre_flight(self, draft: Draft, senders: tuple[str, ...], watch: Watch) -> PreFlight | Refusal:
        """Judge a draft of somebody who may send from `senders` (() means any); stores nothing. For a thread."""

    async def try_out(self, draft: Draft, senders: tuple[str, ...]) -> PreFlight | Refusal:
        """Do what `pre_flight` does; for the event loop."""

    async def preview(self, draft: Draft, senders: tuple[str, ...], place: int) -> Preview | Refusal:
        """Return the copy of one of the first recipients, from 0 on."""

    async def send(self, draft: Draft, senders: tuple[str, ...], when: When) -> int | Refusal:
        """Store a draft's recipients and let it go; return the run's id. Nothing goes where it is refused."""

    def hand_over(self, draft: Draft, senders: tuple[str, ...], when: When, watch: Watch) -> int | Refusal:
        """Do what `send` does; for a thread. The run is noted in the draft before it may go."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import."""

    counted: Mapping[str, int]
    """Contacts that are added, updated, unchanged, and bad."""
    first_bad: tuple[Bad, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """How a CSV file of contacts begins."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The first ones."""
    guessed: Mapping[str, str]
    """What each header probably means, as `Import.mapping`."""
    clear: bool
    """Whether the headers say so themselves."""
    headless: bool = False
    """Whether there is no header line: the columns are 1, 2 …"""


class Importing(Protocol):
    """Imports files, as `telltale contact import` and `telltale block import`."""

    async def __call__(self, file: Path, lists: tuple[str, ...], encoding: str | None) -> Imported | Refusal:
        """Store the contacts of a file, which has a folder of its own."""

    def look(self, wanted: Import) -> Columns | Refusal | None:
        """Return how a file begins; None: it has no columns that could be named. For a thread."""

    def run(self, wanted: Import, standing: Standing, told: Callable[[Standing], object]) -> Standing:
        """Import a file from where `standing` is, and tell how far it is after each step. For a thread.

        What `told` raises ends it, and what was told by then stays stored.
        """


@dataclass(frozen=True, slots=True)
class Handed:
    """All that is handed over; without the front door, as in tests, there is nothing."""

    broadcasting: Broadcasting | None = None
    importing: Importing | None = None

"""Reads the recipients of a broadcast from a file of contacts, as `telltale contact import` reads it; imports nobody.

Rules: a record that cannot be meant is told with its line and passed over. Memory does not grow with the file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from storage.address import type_key
from storage.broadcast_audience import Entry
from storage.contact_rows import Bad, UnreadableError
from storage.people import ALL_TYPES, NewAddress, NewContact
from telltale.contact_import import Reading, Wanted
from telltale.errors import FailureError

_KEPT: Final = 5
_TOLD_EACH: Final = 2000


@dataclass(slots=True)
class Recipients:
    """The recipients in one file; what was wrong is known at the end."""

    path: Path
    type: str
    """Of the broadcast: of several addresses, the first that takes it."""
    report: Callable[[Bad], object] | None = None
    """Is told of every record that is passed over."""
    progress: Callable[[int, int | None], object] | None = None
    """Is told now and then how many bytes were read, and of how many."""
    bad: int = 0
    first_bad: list[Bad] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        """Yield who is named; raises FailureError where the file cannot be read as contacts."""
        try:
            with self.path.open("rb", buffering=0) as raw:
                yield from self._read(Reading(Wanted(self.path), raw))
        except OSError as error:
            raise FailureError(f"{self.path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
        except UnreadableError as error:
            told = str(error).partition(": name one")[0]
            raise FailureError(f'{self.path}: {told}; expected one named "email"') from None
        except UnicodeError as error:
            raise FailureError(f"{self.path}: cannot be read: {error}") from None

    def _read(self, reading: Reading) -> Iterator[Entry]:
        for number, record in enumerate(reading.records):
            if self.progress and number % _TOLD_EACH == 0:
                self.progress(reading.bytes_read, reading.size)
            if isinstance(record, Bad):
                self._tell(record)
                continue
            contact = record.contact
            address = next((one.address for one in contact.addresses if self._takes(one)), None)
            if not contact.addresses:
                self._tell(Bad(record.line, "email", "there is no address"))
                continue
            at = address or contact.addresses[0].address
            yield Entry(at, contact.name or "", _fields(contact), declines=address is None)

    def _takes(self, one: NewAddress) -> bool:
        return one.types is None or ALL_TYPES in one.types or type_key(self.type) in one.types

    def _tell(self, bad: Bad) -> None:
        self.bad += 1
        if self.report:
            self.report(bad)
        if len(self.first_bad) < _KEPT:
            self.first_bad.append(bad)


def _fields(contact: NewContact) -> dict[str, str]:
    return {name: text for name, text in (contact.fields or {}).items() if text}

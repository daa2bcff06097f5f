"""What the front door hands to the report server for files: they are imported as the command line does it.

Rules: for a thread, with a store of its own, so that no page waits for it; and what a command would end with is told to
people in the browser, without the paths of this machine.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from report.handed import Columns, Imported, Refusal
from report.imports import Import, Kind, Standing, State
from storage.address import Fault
from storage.column_guess import guessed
from storage.contact_rows import FIELD, IGNORED, meant, parsed
from storage.people import ALL_TYPES
from storage.store import Store, StoreFailedError, StoreFullError
from telltale import block_file, contact_import, unsubscribed_file
from telltale.config import Config
from telltale.errors import FailureError
from telltale.file_import import Outcome, Source
from telltale.state import with_store


class FilesImport:
    """Imports files of contacts, of who unsubscribed, and of addresses to block."""

    def __init__(self, config: Config) -> None:
        """Take the configuration."""
        self._config = config
        self._room = asyncio.Semaphore(1)

    async def __call__(self, file: Path, lists: tuple[str, ...], encoding: str | None) -> Imported | Refusal:
        """Import a file of contacts."""
        wanted = Import("", "", Kind.CONTACTS, "", file.name, 0, encoding or "", lists, folder=file.parent)
        async with self._room:
            ended = await asyncio.to_thread(self.run, wanted, Standing(), lambda _standing: None)
        return Refusal(ended.why) if ended.why else Imported(ended.counted, ended.first_bad)

    def look(self, wanted: Import) -> Columns | Refusal | None:
        """Return how a file begins."""
        if wanted.kind is not Kind.CONTACTS:
            return None
        try:
            head = contact_import.look(_contacts(wanted))
            headless = wanted.headless or (head is not None and _is_contact(head.header))
            if headless:
                head = contact_import.look(_contacts(replace(wanted, headless=True)))
        except FailureError as error:
            return Refusal(sentence(error, wanted.folder))
        if head is None:
            return None
        guess = guessed(head.header, head.rows)
        if headless:  # a field that is called "2" is of no use to anybody
            guess = {name: IGNORED if meaning.startswith(FIELD) else meaning for name, meaning in guess.items()}
        clear = "email" in guess.values() and all(meant(name) == meaning for name, meaning in guess.items())
        return Columns(tuple(head.header), tuple(map(tuple, head.rows)), guess, clear, headless)

    def run(self, wanted: Import, standing: Standing, told: Callable[[Standing], object]) -> Standing:
        """Import a file from where `standing` is."""
        outcome = Outcome(Counter(standing.counted), list(standing.first_bad), standing.records, standing.report_bytes)
        last = standing

        def tell(source: Source, so_far: Outcome) -> None:
            nonlocal last
            last = _standing(so_far, source)
            told(last)

        async def verb(store: Store) -> Outcome:
            now = time.time_ns() // 1_000_000
            if wanted.kind is Kind.CONTACTS:
                return await contact_import.run(_contacts(wanted), store.contacts, now, tell, outcome)
            if wanted.kind is Kind.UNSUBSCRIBED:
                return await unsubscribed_file.run(_unsubscribed(wanted), store.contacts, now, tell, outcome)
            return await block_file.run(_blocked(wanted), store.blocked, now, tell, outcome)

        try:
            asyncio.run(with_store(self._config.server.state_dir, self._config.policy, verb))
        except FailureError as error:
            return replace(last, state=State.REFUSED, why=sentence(error, wanted.folder))
        except (StoreFailedError, StoreFullError) as error:
            # It may go on when the store does: its file is still needed.
            return replace(last, state=State.UNDER_WAY, why=sentence(error, wanted.folder))
        return replace(last, state=State.DONE)


def _is_contact(header: list[str]) -> bool:
    """Whether what should be a header has an address in it."""
    return any("@" in name and not isinstance(parsed(name), Fault) for name in header)


def _contacts(wanted: Import) -> contact_import.Wanted:
    return contact_import.Wanted(
        wanted.path,
        encoding=wanted.encoding or None,
        mapping=wanted.mapping,
        headless=wanted.headless,
        lists=wanted.lists,
        report=wanted.report,
    )


def _blocked(wanted: Import) -> block_file.Wanted:
    return block_file.Wanted(wanted.path, wanted.user, wanted.reason, wanted.ends_ms, wanted.report)


def _unsubscribed(wanted: Import) -> unsubscribed_file.Wanted:
    return unsubscribed_file.Wanted(wanted.path, wanted.type or ALL_TYPES, wanted.report)


def _standing(outcome: Outcome, source: Source) -> Standing:
    return Standing(
        State.UNDER_WAY,
        dict(outcome.counted),
        tuple(outcome.first_bad),
        outcome.records,
        outcome.report_bytes,
        source.bytes_read,
        source.size or 0,
    )


def sentence(error: Exception, folder: Path) -> str:
    """Return what to tell people: of the file, and not where it lies; of columns, and not of options."""
    told = str(error).replace(f"{folder}/", "").partition(": name one, as --map")[0]
    # The name of a file stays as it is.
    first = told[:1] if "." in told.partition(" ")[0] else told[:1].upper()
    return first + told[1:] + ("" if told.endswith((".", "!", "?")) else ".")

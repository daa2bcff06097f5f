"""A broadcast to a list of a million contacts: how long the pre-flight takes, and how soon the first copy is out.

    python bench/broadcast.py [--contacts 1000000]

Contacts are put into the store, a real `telltale serve` routes all mail to a sink on loopback, and the pre-flight, the
storing of the recipients and the start are those of `telltale broadcast send`. The floor beside the pre-flight is a
bare copy of the same columns into a private SQLite database, in the same run.
"""

import argparse
import asyncio
import resource
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

# A script's own folder comes first on the path, and a file in this one bears a package's name.
sys.path[0] = str(Path(__file__).parent.parent)

from relay.broadcast.draft import of_html  # noqa: E402 - see above
from relay.broadcast.letter import Letter  # noqa: E402 - see above
from storage.people import POLICY  # noqa: E402 - the path is set above
from storage.status import Status  # noqa: E402 - see above
from storage.store import Store  # noqa: E402 - see above
from telltale.broadcast_send import Wanted, draft, pre_flight  # noqa: E402 - see above
from tests.peers import keeper  # noqa: E402 - see above
from tests.peers.smtp import free_port  # noqa: E402 - see above
from tests.peers.telltale import configured, wait_for  # noqa: E402 - see above

PAGE = "<html><body><p>Hello {{ name }} in {{ city }}</p></body></html>"


_ADDRESS = "'p' || i || '@d' || (i % 1000) || '.test'"
_DOMAIN = "'d' || (i % 1000) || '.test'"
_TYPES = "CASE WHEN i % 100 = 0 THEN '[\"weekly\"]' END"
_FILL = {
    "contact": "i, NULL, 'Person ' || i, json_object('city', 'City ' || i), 0, 0 FROM n",
    "contact_address": f"i, 0, {_ADDRESS}, {_DOMAIN}, {_TYPES} FROM n",
    "list_member": "1, i FROM n",
    "blocked (id, address, domain, source, reason, created_ms)": (
        f"i, {_ADDRESS}, {_DOMAIN}, 'manual', '', 0 FROM n WHERE i % 50 = 0 AND i < 500000"
    ),
    "unsubscribed": f"{_ADDRESS}, 'general', 0, 'x', NULL FROM n WHERE i % 70 = 0 AND i < 700000",
}


def fill(database: Path, contacts: int) -> None:
    """Put a list of contacts, some blocked and some unsubscribed, into the store, as an import would leave it."""
    connection = sqlite3.connect(database)
    connection.execute("INSERT INTO list VALUES (1, 'all', 0)")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    for table, columns in _FILL.items():
        connection.execute(f"INSERT INTO {table} {numbers} SELECT {columns}", (contacts,))
    connection.commit()
    connection.close()


def floor(database: Path) -> float:
    """Return the seconds of a bare copy of what a pre-flight looks at."""
    connection = sqlite3.connect("", uri=True)
    connection.execute("ATTACH ? AS store", (str(database),))
    began = time.monotonic()
    connection.execute(
        "CREATE TABLE copy AS SELECT a.address, a.domain, c.name, c.fields FROM store.list_member m CROSS JOIN"
        " store.contact c ON c.id = m.contact_id CROSS JOIN store.contact_address a ON a.contact_id = c.id"
    )
    return time.monotonic() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--contacts", type=int, default=1_000_000)
    contacts = arguments.parse_args().contacts
    with tempfile.TemporaryDirectory() as folder:
        root, box, port = Path(folder), keeper.Keeper(), free_port()
        sink = keeper.start(box, "127.0.0.1", port)
        telltale = configured(root, delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}')
        telltale.start()
        try:
            measure(root / "state", contacts, box)
        finally:
            telltale.end()
            sink.stop()


def measure(state_dir: Path, contacts: int, box: keeper.Keeper) -> None:
    fill(state_dir / "telltale.db", contacts)
    stored = of_html(PAGE, "Hello {{ name }}", "News <news@sender.test>")
    letter = Letter(stored)
    wanted = Wanted(
        "Bench", "general", "news@sender.test", stored, letter, letter.subject, "all", None, None, fold=False
    )
    bare = floor(state_dir / "telltale.db")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    audience, found = pre_flight(state_dir, wanted, time.time_ns() // 1_000_000)
    counted = time.monotonic() - began
    started_at, stored_in = asyncio.run(begin(state_dir, wanted, audience))
    wait_for("the first copy", lambda: box.messages() or None, 60)
    first = time.monotonic() - started_at
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{contacts:,} contacts: " + ", ".join(f"{count:,} {status}" for status, count in found.counts.items()))
    print(f"pre-flight          {counted:6.2f} s   (floor: a bare copy {bare:.2f} s, {counted / bare:.1f} times)")
    print(f"recipients stored   {stored_in:6.2f} s")
    print(f"both                {counted + stored_in:6.2f} s   (at most 10)")
    print(f"first copy out      {first:6.2f} s after the start   (at most 2)")
    print(f"memory              {grown:6.1f} MiB more than before")
    assert found.counts[Status.UNSENT]


async def begin(state_dir: Path, wanted: Wanted, audience: object) -> tuple[float, float]:
    store = await Store.open(state_dir, POLICY)
    began = time.monotonic()
    run_id = await draft(store, wanted, audience, time.time_ns() // 1_000_000, lambda _: None)  # type: ignore[arg-type]
    stored_in = time.monotonic() - began
    started_at = time.monotonic()
    await store.broadcasts.start(run_id, None, time.time_ns() // 1_000_000)
    await store.close()
    return started_at, stored_in


if __name__ == "__main__":
    main()

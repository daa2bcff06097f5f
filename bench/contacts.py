"""What an import of contacts costs, against a floor of Python's csv and sqlite3, and that its memory does not grow.

    python bench/contacts.py [--contacts 1000000] [--small 100000]

Each import runs in a process of its own, into a store of its own: `--small` contacts, then `--contacts`, then the
same file again (nothing changes), and then the floor: csv.reader and executemany into a table with the same two
indexes, synchronous=FULL, in transactions of as many rows. Printed are lines a second, the peak memory of each
process beyond that of one that imports nothing, and ratios.
"""

import argparse
import asyncio
import csv
import multiprocessing
import random
import resource
import sqlite3
import sys
import tempfile
import time
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

from storage.people import POLICY
from storage.store import Store
from telltale.contact_import import Wanted, run
from telltale.file_import import AT_ONCE

DOMAINS = ("gmail.example", "outlook.example", "web.example", *(f"d{number}.example" for number in range(5000)))


def write(path: Path, contacts: int) -> None:
    """Write contacts in no order, as a sender's own system would export them; 1 % of the lines are bad."""
    chance = random.Random(7)
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["key", "email", "name", "types", "city"])
        for number in range(contacts):
            tag = f"{chance.getrandbits(40):010x}"
            domain = DOMAINS[min(int(chance.expovariate(0.5)), 2)] if chance.random() < 0.7 else chance.choice(DOMAINS)
            email = f"{tag} at {domain}" if number % 100 == 99 else f"{tag}@{domain}"
            lines.writerow([f"k{number}", email, f"Name {tag}", "" if number % 5 else "general", "Köln"])


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def imported(answer: Connection, state_dir: Path, path: Path | None) -> None:
    async def go() -> dict[str, int]:
        store = await Store.open(state_dir, POLICY)
        try:
            if path is None:
                return {}
            outcome = await run(Wanted(path, lists=("all",)), store.contacts, 1, lambda *_: None)
            return dict(outcome.counted)
        finally:
            await store.close()

    began = time.perf_counter()
    counted = asyncio.run(go())
    answer.send((time.perf_counter() - began, peak_mb(), counted))


def floor(answer: Connection, state_dir: Path, path: Path) -> None:
    began = time.perf_counter()
    database = sqlite3.connect(state_dir / "floor.db", isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32768;"
        "CREATE TABLE contact (id INTEGER PRIMARY KEY, key TEXT UNIQUE, email TEXT UNIQUE COLLATE NOCASE,"
        " name, types, city)"
    )
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        while some := list(islice(rows, AT_ONCE)):
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO contact (key, email, name, types, city) VALUES (?, ?, ?, ?, ?)", some)
            database.execute("COMMIT")
    answer.send((time.perf_counter() - began, peak_mb(), {}))


def measured(target: object, *arguments: object) -> tuple[float, float, dict[str, int]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *arguments))  # type: ignore[arg-type]
    process.start()
    answer: tuple[float, float, dict[str, int]] = ours.recv()
    process.join()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=100_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as place:
        state_dir = Path(place)
        small, large = state_dir / "small.csv", state_dir / "large.csv"
        write(small, wanted.small)
        write(large, wanted.contacts)
        _, idle_mb, _ = measured(imported, state_dir / "idle", None)
        beyond = {}
        for name, path, store in (("small", small, "a"), ("large", large, "b"), ("again", large, "b")):
            seconds, mb, counted = measured(imported, state_dir / store, path)
            beyond[name] = mb - idle_mb, seconds
            lines = sum(counted.values())
            told = f"{lines / seconds:,.0f} lines/s, {mb - idle_mb:.0f} MB beyond an idle process, {counted}"
            print(f"{name}: {lines:,} lines in {seconds:.1f} s, {told}", flush=True)
        seconds, mb, _ = measured(floor, state_dir, large)
        print(f"floor: {wanted.contacts / seconds:,.0f} lines/s, {mb:.0f} MB in all")
        print(f"large takes {beyond['large'][1] / seconds:.2f} of the floor's time")
        print(f"memory of large over small: {beyond['large'][0] / beyond['small'][0]:.2f}")


if __name__ == "__main__":
    sys.exit(main())

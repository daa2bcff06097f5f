"""How fast bounces are read: files a second in one process, and the slowest of them.

    python -m bench.bounce [FOLDER]     mails of any folder; without one, the families' samples of the tests

The mark is 600 files a second; no file may take two seconds.
"""

import statistics
import sys
import time
from pathlib import Path

from relay.bounce.parse import parse

MARK = 600


def mails(folder: Path) -> list[tuple[Path, bytes]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".jsonl"))
    return [(path, path.read_bytes()) for path in paths]


def measure(read: list[tuple[Path, bytes]]) -> list[tuple[float, Path]]:
    """Parse each mail once, as a worker meets it; return the seconds of each."""
    took = []
    for path, raw in read:
        begin = time.perf_counter()
        parse(raw)
        took.append((time.perf_counter() - begin, path))
    return took


def main() -> int:
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests" / "bounce" / "families"
    took = measure(mails(given))
    seconds = [each for each, _ in took]
    rate = len(seconds) / sum(seconds)
    slowest, path = max(took)
    print(f"{rate:.0f} files a second (mark {MARK}), median {statistics.median(seconds) * 1e6:.0f} µs")
    print(f"slowest {slowest * 1e3:.1f} ms: {path.name}")
    return 0 if rate >= MARK else 1


if __name__ == "__main__":
    sys.exit(main())

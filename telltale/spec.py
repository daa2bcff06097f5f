"""What `telltale serve` runs: which parts, how many of each, where they listen, how they come back.

Rule: pure; `supervisor.py` acts on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from storage.settings import Endpoint
from telltale.config import Config
from telltale.partname import PartName

_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 30.0
# A part that lived this long was well: its next death is a first one.
WELL_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Spec:
    """One process to keep running."""

    part: PartName
    index: int = 0

    def __str__(self) -> str:
        """Return the name for people and logs: "relay/0", "pixel"."""
        return f"{self.part}/{self.index}" if self.part is PartName.RELAY else self.part.value


# Where each part listens: its section and key.
LISTENERS: Final = {
    PartName.RELAY: (("submission", "listen"), ("submission", "tls_listen"), ("bounce", "listen")),
    PartName.PIXEL: (("pixel", "listen"),),
    PartName.REPORT: (("report", "listen"),),
}
# What only a new start can change: the supervisor's own, and what every process was born with.
_FROM_START: Final = (
    ("server", "hostname"),
    ("server", "state_dir"),
    ("server", "workers"),
    *[pair for pairs in LISTENERS.values() for pair in pairs],
)


def specs(config: Config, only: PartName | None, cores: int) -> list[Spec]:
    """Return the processes of a `telltale serve`; 0 workers means one a core."""
    workers = [Spec(PartName.RELAY, index) for index in range(config.server.workers or cores)]
    every = [*workers, Spec(PartName.PIXEL), Spec(PartName.REPORT)]
    return [spec for spec in every if only in {None, spec.part}]


def listeners(config: Config, only: PartName | None) -> Iterator[tuple[str, Endpoint]]:
    """Yield ("[section] key", endpoint) for all that will be listened on."""
    for part, pairs in LISTENERS.items():
        if only in {None, part}:
            for section, key in pairs:
                for endpoint in getattr(getattr(config, section), key):
                    yield f"[{section}] {key}", endpoint


def reloaded(old: Config, new: Config) -> tuple[Config, list[str]]:
    """Return `new` with all that only a start can change kept from `old`, and the keys that were kept so."""
    kept = []
    for section, key in _FROM_START:
        was, wanted = getattr(old, section), getattr(new, section)
        if getattr(was, key) != getattr(wanted, key):
            kept.append(f"[{section}] {key}")
            changed = wanted.model_copy(update={key: getattr(was, key)})
            new = new.model_copy(update={section: changed})
    return new, kept


def wait_seconds(deaths: int) -> float:
    """Return how long to wait before a part is started again that died `deaths` times in a row (at least once)."""
    return min(_FIRST_WAIT_SECONDS * (1 << min(deaths - 1, 10)), _LONGEST_WAIT_SECONDS)

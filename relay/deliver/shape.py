"""How a site wants to be served: its limits, and what is done about its replies. Pure.

Limits are the host's, whatever number of workers it has: each worker has its share. Where there are fewer connections
than workers, some workers have none: their recipients of that site wait in the store for the others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from zlib import crc32

from relay.deliver.bucket import Rate
from relay.deliver.reply import spell
from storage.model import Reply

DEFAULT: Final = "default"
"""The entry of all sites that no other entry speaks of."""


class Action(StrEnum):
    """What a rule does when a reply matches it."""

    SLOW_DOWN = "slow-down"
    """Halve connections and rate for the rule's duration."""
    SUSPEND = "suspend"
    """Leave the site alone for the rule's duration."""
    SOFT = "soft"
    """Take a 5xx for a 4xx: try again by the schedule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do about replies that match."""

    name: str
    match: re.Pattern[str]
    actions: frozenset[Action]
    seconds: int


@dataclass(frozen=True, slots=True)
class Shape:
    """The limits of a site, all workers together, and its rules in the order in which they are tried."""

    name: str = DEFAULT
    connections: int = 20
    provider_connections: int = 0
    """To all sites of this entry together; 0: no such limit."""
    first_connections: int = 5
    """What the window begins with, in each worker."""
    messages_per_connection: int = 500
    rate: Rate | None = None
    rules: tuple[Rule, ...] = ()

    def rule_for(self, reply: Reply) -> Rule | None:
        """Return the first rule that a server's reply matches; our own words (code 0) match none."""
        if not reply.code:
            return None
        text = spell(reply)
        return next((rule for rule in self.rules if rule.match.search(text)), None)


@dataclass(frozen=True, slots=True)
class Share:
    """One worker of several."""

    index: int = 0
    workers: int = 1

    def of(self, shape: Shape, site: str) -> "ShapeOfWorker":
        """Return what of the limits of `site` is this worker's.

        Who is left out where there are too few depends on the site, so that it is not always the same worker.
        """
        if shape.name == DEFAULT:
            # Nobody asked for this limit: every worker may speak to everyone.
            holders, rank = self.workers, self.index
        else:
            bound = min(filter(None, (shape.connections, shape.provider_connections)))
            holders = min(self.workers, bound)
            rank = (self.index + crc32((shape.name if shape.provider_connections else site).encode())) % self.workers
        if rank >= holders:
            return ShapeOfWorker(0, 0, None)
        return ShapeOfWorker(
            max(1, _part(shape.connections, holders, rank)),
            _part(shape.provider_connections, holders, rank),
            shape.rate.per_second / holders if shape.rate else None,
        )


ALONE: Final = Share()
"""The only worker of its host."""


@dataclass(frozen=True, slots=True)
class ShapeOfWorker:
    """A worker's part of a site's limits."""

    connections: int
    """0: the site is served by other workers."""
    provider_connections: int
    """0: no such limit."""
    per_second: float | None
    """Messages; None: as fast as they come."""


def _part(number: int, holders: int, rank: int) -> int:
    return number // holders + (rank < number % holders)


def suffixes(host: str) -> Iterator[str]:
    """Yield a host name and the domains above it, the longest first."""
    while host:
        yield host
        _, _, host = host.partition(".")

"""What a site may take of a host's limits, and what it shares with others: connections and rate.

Rule: limits are the servers', not the domains': sites of the same servers that differ in what is asked of TLS there
share connections and rate, and all sites of a provider its connections. What nobody holds any more is forgotten.
"""

from dataclasses import dataclass
from weakref import WeakValueDictionary

from relay.deliver.bucket import Bucket
from relay.deliver.destination import Destination
from relay.deliver.shape import Shape, Share
from relay.deliver.slots import Slots, SlotsWithin


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one site may take."""

    connections: int
    """0: other workers serve it."""
    slots: SlotsWithin
    bucket: Bucket | None
    """None: messages may go as fast as they can."""


class Limits:
    """The limits of one worker."""

    def __init__(self, share: Share, most_connections: int, most_connections_per_site: int) -> None:
        """Take which worker of how many this is, and how many connections it may have in all, and to any site."""
        self._share = share
        self._most = most_connections_per_site
        self._slots = Slots(most_connections)
        self._buckets: WeakValueDictionary[object, Bucket] = WeakValueDictionary()

    def of(self, destination: Destination, shape: Shape) -> Allowance:
        """Return what a site may take; what a server allows, it allows each address of ours."""
        part = self._share.of(shape, destination.name)
        connections = min(part.connections, self._most)
        servers = (shape.name, destination.hosts, destination.port, destination.source)
        own = self._slots.shared(servers, max(1, connections))
        within: Slots | SlotsWithin = self._slots
        if part.provider_connections:
            provider = self._slots.shared((shape.name, destination.source), part.provider_connections)
            within = SlotsWithin(self._slots, provider)
        return Allowance(connections, SlotsWithin(within, own), self._bucket(servers, part.per_second))

    def _bucket(self, servers: object, per_second: float | None) -> Bucket | None:
        if per_second is None:
            return None
        bucket = self._buckets.get(servers)
        if bucket is None:
            bucket = self._buckets[servers] = Bucket(per_second)
        return bucket

"""What the sites of a worker share, and a recipient as they hold it."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from relay.deliver.client import Extensions
from relay.deliver.connect import Dialer
from relay.deliver.contents import Contents
from relay.deliver.copy import Copy
from relay.deliver.copy_room import CopyRoom
from relay.deliver.limits import Limits
from relay.deliver.results import Results
from relay.deliver.retry import RetryPolicy
from relay.deliver.tally import Tally
from storage.model import Attempt, Job, Reply

Compose = Callable[[Job, bytes, Extensions], Copy | Reply | Coroutine[None, None, Copy | Reply]]


class Entry:
    """A recipient in memory."""

    __slots__ = ("job", "leased_at", "over_six", "sessions")

    def __init__(self, job: Job, leased_at: float) -> None:
        self.job = job
        self.leased_at = leased_at
        """When its lease began or was renewed, by the clock."""
        self.sessions = 0
        """Connections that broke under it."""
        self.over_six: Attempt | None = None
        """What refused it over IPv6 by policy, so that it goes over IPv4 now."""


@dataclass(frozen=True, slots=True)
class Means:
    """What all sites share."""

    dialer: Dialer
    contents: Contents
    compose: Compose
    results: Results
    limits: Limits
    copy_room: CopyRoom
    policy: RetryPolicy
    tally: Tally
    clock: Callable[[], float]
    """Seconds that only rise."""
    now_ms: Callable[[], int]

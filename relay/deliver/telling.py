"""Tells others what this worker does at each site: a small file, for `telltale queue sites` and the pages.

Rule: telling costs delivery next to nothing: once a second at most, less often where there is much to tell, and
never where nothing changed.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from relay.deliver.reply import spell
from relay.deliver.site import Site
from storage import sites
from storage.kv import kv
from storage.sites import SitesFile, SiteState

# A file that took so long to make and write is not made again for so many times that.
_REST_FACTOR: Final = 50
# Of a site with thousands of domains, so many are named.
_DOMAINS_TOLD: Final = 200

_log = logging.getLogger("telltale.deliver")


class Telling:
    """Keeps the file of one delivery."""

    def __init__(self, state_dir: Path, owner: int, number: int, worker: int) -> None:
        """Take what names the file, as `SitesFile` does."""
        self._state_dir = state_dir
        self._file = SitesFile(state_dir, owner, number, worker)
        self._again_at = 0.0
        self._failed = False

    async def start(self) -> None:
        """Remove what dead workers left, and say that we live."""
        with suppress(OSError):  # what keeps it from that keeps it from writing too, which is logged
            await asyncio.to_thread(sites.sweep, self._state_dir)
        await self.tell(())

    async def tell(self, known: Iterable[Site]) -> None:
        """Write what is not idle, if something changed and it is time to."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began < self._again_at:
            return
        states = [_state(site) for site in known if not site.unused]
        try:
            await asyncio.to_thread(self._file.write, states)
        except OSError as error:
            if not self._failed:
                _log.warning(kv(event="sites-not-told", reason=error.strerror or error))
            self._failed = True
        else:
            self._failed = False
        self._again_at = loop.time() + _REST_FACTOR * (loop.time() - began)

    async def stop(self) -> None:
        """Take the file away."""
        await asyncio.to_thread(self._file.remove)


def _state(site: Site) -> SiteState:
    standing, source, now = site.standing, site.destination.source, site.now()
    return SiteState(
        name=site.destination.name,
        shape=site.shape.name,
        source=source.name if source else None,
        domains=tuple(islice(site.domains, _DOMAINS_TOLD)),
        domain_count=len(site.domains),
        ready=site.ready,
        trying=site.load - site.ready,
        connections=site.connections,
        window=standing.pace.connections(now),
        most=standing.pace.most,
        rate=str(site.shape.rate) if site.shape.rate else None,
        slowness=standing.pace.slowness(now),
        reply=spell(standing.said) if standing.said else "",
        reply_ms=standing.said_ms,
        # Whole seconds: what has not changed must read the same a second later.
        until_ms=-(-site.rest_ends_ms() // 1000) * 1000 if site.resting else 0,
    )

"""Where each domain's mail goes: routes first, then MX, remembered as long as DNS says.

Rule: finding the way of one domain holds up no other; recipients wait here while their domain is looked up.
"""

import asyncio
import logging
from itertools import chain, islice
from typing import Final

from relay.deliver.destination import Destination, of_hosts, of_route
from relay.deliver.dns import Resolver
from relay.deliver.means import Entry, Means
from relay.deliver.mx import Hosts, hosts_of, literal
from relay.deliver.reply import ours
from relay.deliver.route import Routes
from relay.deliver.settings import DeliverySettings
from relay.deliver.site import Site
from storage.kv import kv
from storage.model import Attempt, Phase, Reply

# What DNS does not say is known for so long at least; it costs nothing to find again.
_KNOWN_SECONDS: Final = 3600.0
# Sites whose load is looked at after each delivery, while they are skipped.
_WATCHED: Final = 16

_log = logging.getLogger("telltale.deliver")


class _Place:
    """What is known of a domain's way."""

    __slots__ = ("site", "until", "waiting")

    def __init__(self) -> None:
        self.site: Site | None = None
        self.until = 0.0
        self.waiting: list[Entry] = []

    def take(self) -> list[Entry]:
        """Take out who waits."""
        waiting, self.waiting = self.waiting, []
        return waiting


class Places:
    """Domains and their sites."""

    def __init__(self, settings: DeliverySettings, resolver: Resolver, means: Means, own_names: frozenset[str]) -> None:
        """`own_names` are the MX names that are ourselves."""
        self._resolver = resolver
        self._means = means
        self._own_names = own_names
        self._places: dict[str, _Place] = {}
        self._sites: dict[Destination, Site] = {}
        self._asked: dict[str, _Place] = {}
        self._full: list[tuple[Site, int]] = []
        self._full_asked: list[str] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._settings = settings
        self._routes = Routes.parse(settings.routes)

    def reload(self, settings: DeliverySettings) -> None:
        """Find all ways anew; recipients that wait at a site stay there."""
        self._settings = settings
        self._routes = Routes.parse(settings.routes)
        for place in self._places.values():
            place.until = 0.0

    def sites(self) -> list[Site]:
        """Return all sites that are known."""
        return list(self._sites.values())

    def load_of(self, domain: str) -> int:
        """Return how many recipients are in memory for the domain's site, or wait for its way."""
        place = self._places.get(domain)
        if place is None:
            return 0
        return len(place.waiting) + (place.site.load if place.site else 0)

    def last_of(self, domain: str) -> Reply:
        """Return what keeps the domain's site from taking more."""
        place = self._places.get(domain)
        return place.site.last if place and place.site else ours("4.4.3", f"the way to {domain} is not known yet")

    def domains_to_skip(self, most_load: int, limit: int) -> list[str]:
        """Return domains for which nothing should be claimed: their sites rest, or hold enough."""
        full = [site for site in self._sites.values() if site.load >= most_load]
        self._full = [(site, site.load // 2) for site in full[:_WATCHED]]
        resting = [site for site in self._sites.values() if site.resting and site.load < most_load]
        asked = [domain for domain, place in self._asked.items() if len(place.waiting) >= most_load]
        self._full_asked = asked[:_WATCHED]
        return list(islice(chain(asked, *(site.domains for site in (*full, *resting))), limit))

    def eased(self) -> bool:
        """Return whether one that was skipped for its load has delivered half of it, or has found its way."""
        return any(site.load <= half for site, half in self._full) or any(
            domain not in self._asked for domain in self._full_asked
        )

    def put(self, entry: Entry) -> None:
        """Bring a recipient to its site, as soon as that is known."""
        domain = entry.job.domain
        place = self._places.get(domain)
        if place is not None and place.site is not None and place.until > self._means.clock():
            place.site.put(entry)
            return
        if place is None:
            place = self._places[domain] = _Place()
        place.waiting.append(entry)
        if domain not in self._asked:
            self._find(domain, place)

    def stop(self) -> list[Entry]:
        """Ask no more; return who waits for an answer."""
        for task in self._asking:
            task.cancel()
        return [entry for place in self._asked.values() for entry in place.take()]

    def tidy(self) -> None:
        """Let sites go on that waited for time to pass."""
        for site in self._sites.values():
            site.pump()

    def forget(self) -> None:
        """Forget ways whose time is over, and sites that no way leads to."""
        now = self._means.clock()
        for domain, place in list(self._places.items()):
            if place.until <= now and domain not in self._asked:
                del self._places[domain]
                if place.site is not None:
                    place.site.domains.discard(domain)
        for destination, site in list(self._sites.items()):
            if site.unused and not site.domains:
                del self._sites[destination]

    # Finding the way.

    def _find(self, domain: str, place: _Place) -> None:
        route = self._routes.match(domain)
        address = literal(domain) if route is None else None
        if route is not None:
            destination = of_route(route, self._settings.tls, self._settings.delivered_on)
            self._found(domain, place, destination, self._means.clock() + _KNOWN_SECONDS)
        elif address is not None:
            self._found(domain, place, self._of_hosts(Hosts(((address,),))), self._means.clock() + _KNOWN_SECONDS)
        else:
            self._asked[domain] = place
            task = asyncio.get_running_loop().create_task(self._ask(domain, place))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _of_hosts(self, hosts: Hosts) -> Destination:
        at = self._settings
        return of_hosts(hosts, at.port, at.tls, at.delivered_on, allow_private=at.allow_private_destinations)

    async def _ask(self, domain: str, place: _Place) -> None:
        began_ms, began = self._means.now_ms(), self._means.clock()
        try:
            answer, until = await self._resolver.mx(domain)
            hosts = hosts_of(domain, answer, self._own_names)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's answer does to our code, its domain alone meets
            _log.error(kv(event="mx-lookup-failed", domain=domain), exc_info=error)
            hosts = ours("4.4.3", f"MX lookup of {domain} failed")
        finally:
            del self._asked[domain]
        if isinstance(hosts, Hosts):
            self._found(domain, place, self._of_hosts(hosts), until.at)
            return
        attempt = Attempt(began_ms, round((self._means.clock() - began) * 1000), Phase.DNS, hosts)
        for entry in place.take():
            self._means.results.attempted(entry.job, attempt, final_hop=True)

    def _found(self, domain: str, place: _Place, destination: Destination, until: float) -> None:
        site = self._sites.get(destination)
        if site is None:
            site = self._sites[destination] = Site(destination, self._means)
        if place.site is not None:
            place.site.domains.discard(domain)
        site.domains.add(domain)
        place.site, place.until = site, until
        for entry in place.take():
            site.put(entry)

"""Where each domain's mail goes: routes first, then MX, remembered as long as DNS says.

Rule: finding the way of one domain holds up no other; recipients wait here while their domain is looked up.
A domain has a way from each source of ours: what a server thinks of one says nothing of another.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain, islice
from typing import Final

from relay.deliver import tlsrpt
from relay.deliver.destination import Destination, of_hosts, of_route
from relay.deliver.dns import Resolver
from relay.deliver.levels import WHATEVER, Level, Levels
from relay.deliver.means import Entry, Means
from relay.deliver.mx import Hosts, hosts_of, literal
from relay.deliver.reply import ours
from relay.deliver.route import Routes
from relay.deliver.settings import DeliverySettings, pools_of
from relay.deliver.shaping import Shaping
from relay.deliver.site import Site
from relay.deliver.source import Source
from relay.deliver.sts import StsPolicy
from relay.deliver.sts_policies import InForce, StsPolicies
from relay.deliver.tally import is_report
from storage.kv import kv
from storage.model import Attempt, Job, Phase, Reply

# What DNS does not say is known for so long at least; it costs nothing to find again.
_KNOWN_SECONDS: Final = 3600.0
# Sites whose load is looked at after each delivery, while they are skipped.
_WATCHED: Final = 16

# Mail waits no longer than that for whether its domain wants reports on TLS.
_MOMENT_SECONDS: Final = 2.0

Key = tuple[str, str]
"""A recipient's domain, and the name of the source that mail to it goes out from ("": the system's choice)."""
# Added to the name of the source, for reports on TLS: they go whatever TLS comes to (RFC 8460, 3).
_WHATEVER: Final = "\nreport"

_log = logging.getLogger("telltale.deliver")


class _Place:
    """What is known of a domain's way from a source."""

    __slots__ = ("site", "source", "until", "waiting")

    def __init__(self, source: Source | None) -> None:
        self.source = source
        self.site: Site | None = None
        self.until = 0.0
        self.waiting: list[Entry] = []

    def take(self) -> list[Entry]:
        """Take out who waits."""
        waiting, self.waiting = self.waiting, []
        return waiting


class Places:
    """Domains and their sites."""

    def __init__(
        self,
        settings: DeliverySettings,
        resolver: Resolver,
        sts: StsPolicies,
        means: Means,
        own_names: frozenset[str],
        shaping: Shaping,
        *,
        reports: bool = False,
    ) -> None:
        """`own_names` are the MX names that are ourselves; `reports`: domains may ask for reports on TLS."""
        self._resolver = resolver
        self._sts = sts
        self._reports = reports
        self._means = means
        self._own_names = own_names
        self._places: dict[Key, _Place] = {}
        # A domain that has an entry of its own in shaping is a site of its own beside others of the same hosts.
        self._sites: dict[tuple[Destination, str], Site] = {}
        self._shaping = shaping
        self._asked: dict[Key, _Place] = {}
        self._full: list[tuple[Site, int]] = []
        self._full_asked: list[Key] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._settings = settings
        self._routes = Routes.parse(settings.routes)
        self._pools = pools_of(settings)
        self._levels = Levels(settings)

    def reload(self, settings: DeliverySettings) -> None:
        """Find all ways anew, and give back who waits at a site: he goes by the new settings, too."""
        self._settings = settings
        self._routes = Routes.parse(settings.routes)
        self._pools = pools_of(settings)
        self._levels = Levels(settings)
        for place in self._places.values():
            place.until = 0.0
        for site in self._sites.values():
            self._means.results.give_back([entry.job for entry in site.take_all()], self._means.now_ms())

    def sites(self) -> list[Site]:
        """Return all sites that are known."""
        return list(self._sites.values())

    def load_of(self, job: Job) -> int:
        """Return how many recipients are in memory for the recipient's site, or wait for its way."""
        place = self._places.get(_key(job, self._source_of(job)))
        if place is None:
            return 0
        return len(place.waiting) + (place.site.load if place.site else 0)

    def last_of(self, job: Job) -> Reply:
        """Return what keeps the recipient's site from taking more."""
        place = self._places.get(_key(job, self._source_of(job)))
        return place.site.last if place and place.site else ours("4.4.3", f"the way to {job.domain} is not known yet")

    def domains_to_skip(self, most_load: int, limit: int) -> list[str]:
        """Return domains for which nothing should be claimed: their sites rest, hold enough, or are others'."""
        full = [site for site in self._sites.values() if site.load >= most_load]
        self._full = [(site, site.load // 2) for site in full[:_WATCHED]]
        resting = [site for site in self._sites.values() if (site.resting or site.elsewhere) and site.load < most_load]
        asked = [key for key, place in self._asked.items() if len(place.waiting) >= most_load]
        self._full_asked = asked[:_WATCHED]
        skipped = chain((domain for domain, _ in asked), *(site.domains for site in full), self._at_rest(resting))
        return list(islice(skipped, limit))

    def _at_rest(self, resting: Iterable[Site]) -> Iterable[str]:
        """Return domains whose ways all rest.

        The store does not know sources: while one of them can go on, recipients of the others are claimed too,
        and given back until their rest is over.
        """
        domains = chain.from_iterable(site.domains for site in resting)
        ways = len(self._pools.names)
        return domains if not ways else (domain for domain, count in Counter(domains).items() if count >= ways)

    def eased(self) -> bool:
        """Return whether one that was skipped for its load has delivered half of it, or has found its way."""
        return any(site.load <= half for site, half in self._full) or any(
            key not in self._asked for key in self._full_asked
        )

    def put(self, entry: Entry) -> None:
        """Bring a recipient to its site, as soon as that is known."""
        source = self._source_of(entry.job)
        key = _key(entry.job, source)
        place = self._places.get(key)
        if place is not None and place.site is not None and place.until > self._means.clock():
            place.site.put(entry)
            return
        if place is None:
            place = self._places[key] = _Place(source)
        place.source = source
        place.waiting.append(entry)
        if key not in self._asked:
            self._find(key, place)

    def _source_of(self, job: Job) -> Source | None:
        if not self._pools.names:
            return None
        return self._pools.pick(job.message.sender.rpartition("@")[2], job.message.id)

    def waiting(self) -> list[Job]:
        """Return who waits in memory, at a site or for its way."""
        asked = [entry.job for place in self._asked.values() for entry in place.waiting]
        return [job for site in self._sites.values() for job in site.waiting()] + asked

    def take_out(self, recipient_ids: Collection[int]) -> list[Job]:
        """Take out and return those of the recipients that wait in memory."""
        taken = [job for site in self._sites.values() for job in site.take_out(recipient_ids)]
        for place in self._asked.values():
            taken += [entry.job for entry in place.waiting if entry.job.recipient_id in recipient_ids]
            place.waiting = [entry for entry in place.waiting if entry.job.recipient_id not in recipient_ids]
        return taken

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
        for key, place in list(self._places.items()):
            if place.until <= now and key not in self._asked:
                del self._places[key]
                self._leave(key, place)
        for at, site in list(self._sites.items()):
            if site.unused and not site.domains:
                del self._sites[at]
        self._means.tally.keep_only({domain for domain, _ in self._places})

    # Finding the way.

    def _leave(self, key: Key, place: _Place) -> None:
        """Let a place's site go; the domain is the site's as long as another source's way leads there."""
        domain, own = key
        site, place.site = place.site, None
        names = {name + way for name in ("", *self._pools.names) for way in ("", _WHATEVER)} - {own}
        others = (self._places.get((domain, name)) for name in names)
        if site is not None and not any(other is not None and other.site is site for other in others):
            site.domains.discard(domain)

    def _find(self, key: Key, place: _Place) -> None:
        domain, _ = key
        route = self._routes.match(domain)
        address = literal(domain) if route is None else None
        if route is not None:
            level = self._level(key)
            dane = level.dane_on_route and self._resolver.validates
            destination = of_route(route, level.tls, self._settings.delivered_on, dane=dane)
            self._found(key, place, destination, self._means.clock() + _KNOWN_SECONDS)
        elif address is not None:
            destination = self._of_hosts(self._level(key), Hosts(((address,),)), place.source)
            self._found(key, place, destination, self._means.clock() + _KNOWN_SECONDS)
        else:
            self._asked[key] = place
            task = asyncio.get_running_loop().create_task(self._ask(key, place))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _of_hosts(
        self,
        level: Level,
        hosts: Hosts,
        source: Source | None,
        *,
        secure: bool = False,
        sts: StsPolicy | None = None,
    ) -> Destination:
        """`secure`: DNSSEC proved that these are the domain's hosts."""
        at = self._settings
        return of_hosts(
            hosts,
            at.port,
            level.tls,
            at.delivered_on,
            allow_private=at.allow_private_destinations,
            source=source,
            dane=level.dane and secure,
            sts=sts,
        )

    def _level(self, key: Key) -> Level:
        domain, way = key
        return WHATEVER if way.endswith(_WHATEVER) else self._levels.of(domain)

    async def _sts_of(self, key: Key) -> StsPolicy | None:
        """Return the domain's MTA-STS policy; and let its sessions be counted where it asks for that."""
        domain, way = key
        asked = self._reports and not way.endswith(_WHATEVER)
        found, in_force = await asyncio.gather(
            self._asks_for_reports(domain) if asked else _no(),
            self._sts.of(domain) if self._level(key).sts else _no_policy(),
        )
        if found:
            self._means.tally.want(domain, in_force)
        return in_force.policy

    async def _asks_for_reports(self, domain: str) -> bool:
        """Return whether a domain wants reports on TLS; its mail waits for that no longer than a moment."""
        try:
            async with asyncio.timeout(_MOMENT_SECONDS):
                return bool(tlsrpt.wanted((await self._resolver.texts(f"_smtp._tls.{domain}")).records))
        except TimeoutError:
            return False

    async def _ask(self, key: Key, place: _Place) -> None:
        domain, _ = key
        began_ms, began = self._means.now_ms(), self._means.clock()
        try:
            (answer, until), sts = await asyncio.gather(self._resolver.mx(domain), self._sts_of(key))
            hosts = hosts_of(domain, answer, self._own_names)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's answer does to our code, its domain alone meets
            _log.error(kv(event="mx-lookup-failed", domain=domain), exc_info=error)
            hosts = ours("4.4.3", f"MX lookup of {domain} failed")
        finally:
            del self._asked[key]
        if isinstance(hosts, Hosts):
            destination = self._of_hosts(self._level(key), hosts, place.source, secure=answer.secure, sts=sts)
            self._found(key, place, destination, until.at)
            return
        attempt = Attempt(began_ms, round((self._means.clock() - began) * 1000), Phase.DNS, hosts)
        for entry in place.take():
            self._means.results.attempted(entry.job, attempt, final_hop=True)

    def _found(self, key: Key, place: _Place, destination: Destination, until: float) -> None:
        domain, _ = key
        shape = self._shaping.of(domain, destination.hosts)
        site = self._sites.get((destination, shape.name))
        if site is None:
            site = self._sites[destination, shape.name] = Site(destination, shape, self._means)
        self._leave(key, place)
        site.domains.add(domain)
        place.site, place.until = site, until
        for entry in place.take():
            site.put(entry)


async def _no() -> bool:
    return False


async def _no_policy() -> InForce:
    return InForce()


def _key(job: Job, source: Source | None) -> Key:
    way = source.name if source is not None else ""
    return job.domain, way + _WHATEVER if is_report(job.message) else way

"""Where the mail of a domain goes, as one comparable value: domains with equal destinations are one site. Pure."""

from dataclasses import dataclass, field

from relay.deliver.mx import Hosts
from relay.deliver.route import Route
from relay.deliver.settings import DeliveredOn, TlsPolicy
from relay.deliver.source import Source
from relay.deliver.sts import StsPolicy


@dataclass(frozen=True, slots=True)
class Destination:
    """The servers of a site and how they are to be spoken to."""

    hosts: Hosts
    port: int
    tls: TlsPolicy
    """What is asked of hosts where neither DANE nor MTA-STS asks for more."""
    final_hop: bool
    """Whether these are the recipients' own servers, not a route's."""
    any_address: bool = False
    """Whether private addresses may be connected to: the operator named this host, no stranger."""
    implicit_tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    dane: bool = False
    """Whether the hosts' TLSA records count: their names are known securely, and so would the records be."""
    sts: StsPolicy | None = None
    """The MTA-STS policy of the domains."""
    delivered_on: DeliveredOn = DeliveredOn.MX
    source: Source | None = None
    """The address of ours to go out from: what a server thinks of it, and its limits, are that address's."""

    @property
    def confirms(self) -> bool:
        """Whether a 250 from here is Delivered; elsewhere it is Sent."""
        return self.final_hop and self.delivered_on is DeliveredOn.MX

    @property
    def name(self) -> str:
        """A short name for logs: the best host."""
        return self.hosts.groups[0][0]


def of_route(
    route: Route, tls: TlsPolicy, delivered_on: DeliveredOn = DeliveredOn.MX, *, dane: bool = False
) -> Destination:
    """Return the destination that a route leads to."""
    return Destination(
        Hosts(((route.host,),)),
        route.port,
        tls,
        final_hop=False,
        any_address=True,
        implicit_tls=route.implicit_tls,
        user=route.user,
        password=route.password,
        delivered_on=delivered_on,
        dane=dane,
    )


def of_hosts(
    hosts: Hosts,
    port: int,
    tls: TlsPolicy,
    delivered_on: DeliveredOn = DeliveredOn.MX,
    *,
    allow_private: bool,
    source: Source | None = None,
    dane: bool = False,
    sts: StsPolicy | None = None,
) -> Destination:
    """Return the destination that MX hosts are."""
    return Destination(
        hosts,
        port,
        tls,
        final_hop=True,
        any_address=allow_private,
        delivered_on=delivered_on,
        source=source,
        dane=dane,
        sts=sts,
    )

"""Where the mail of a domain goes, as one comparable value: domains with equal destinations are one site. Pure."""

from dataclasses import dataclass, field

from relay.deliver.mx import Hosts
from relay.deliver.route import Route
from relay.deliver.settings import TlsPolicy


@dataclass(frozen=True, slots=True)
class Destination:
    """The servers of a site and how they are to be spoken to."""

    hosts: Hosts
    port: int
    tls: TlsPolicy
    final_hop: bool
    """Whether these are the recipients' own servers: their 250 is Delivered; a route's is Sent."""
    any_address: bool = False
    """Whether private addresses may be connected to: the operator named this host, no stranger."""
    implicit_tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """A short name for logs: the best host."""
        return self.hosts.groups[0][0]


def of_route(route: Route, tls: TlsPolicy) -> Destination:
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
    )


def of_hosts(hosts: Hosts, port: int, tls: TlsPolicy, *, allow_private: bool) -> Destination:
    """Return the destination that MX hosts are."""
    return Destination(hosts, port, tls, final_hop=True, any_address=allow_private)

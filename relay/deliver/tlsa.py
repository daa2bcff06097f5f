"""Which TLSA records prove a mail host (RFC 7672, 2.2): the questions, in their order.

Rule: no record counts that did not come securely, and where the answer is withheld the host is not used: silence
may be an attack.
"""

from relay.deliver import dane
from relay.deliver.demand import Tlsas
from relay.deliver.dns import Resolver
from relay.deliver.mx import AddressAnswer, Found
from relay.deliver.reply import ours
from storage.model import Reply


async def tlsas(resolver: Resolver, host: str, port: int) -> Tlsas | Reply | None:
    """Return a host's TLSA records; None where it has none; our words where that cannot be known now."""
    addresses = await resolver.addresses(host)
    if addresses.found is Found.TROUBLE:
        # They were had a moment ago, but whether securely is not known any more: no reason to ask for less.
        return ours("4.7.5", f"address lookup of {host} failed: {addresses.why}")
    for base in await _bases(resolver, host, addresses):
        name = f"_{port}._tcp.{base}"
        answer = await resolver.tlsa(name)
        if answer.found is Found.TROUBLE:
            return ours("4.7.5", f"TLSA lookup of {name} failed: {answer.why}")
        if answer.records and answer.secure:
            return Tlsas(base, dane.usable(answer.records))
    return None


async def _bases(resolver: Resolver, host: str, addresses: AddressAnswer) -> list[str]:
    """Return the names below which the records may be, the first that has some counts (RFC 7672, 2.2.2, 2.2.3).

    Below a name whose addresses came insecurely nothing is asked for: there can be no secure answer, and some such
    servers give none at all.
    """
    target = addresses.name or host
    if addresses.secure:
        return list(dict.fromkeys((target, host)))
    return [host] if target != host and await resolver.is_secure_alias(host) else []

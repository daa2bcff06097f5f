from collections.abc import AsyncIterator, Iterator

import pytest

from relay.deliver.demand import Tlsas
from relay.deliver.dns import Resolver
from relay.deliver.settings import DnsSettings
from relay.deliver.tlsa import tlsas
from storage.model import Reply
from tests.peers.dns import DnsServer


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("mx.test", "A", "192.0.2.1", ttl=1)
        server.add("_25._tcp.mx.test", "TLSA", f"3 1 1 {'ab' * 32}", ttl=1)
        server.secure("test")
        yield server


@pytest.fixture
async def resolver(dns: DnsServer) -> AsyncIterator[Resolver]:
    now = [0.0]
    resolver = Resolver(DnsSettings(nameservers=(dns.endpoint,), timeout=1), lambda: now.append(now[-1] + 9) or now[-1])  # type: ignore[arg-type, func-returns-value]
    yield resolver
    await resolver.close()


@pytest.mark.parametrize("trouble", ["mx.test", "_25._tcp.mx.test"])
async def test_who_keeps_answers_back_gets_no_mail_in_clear(dns: DnsServer, resolver: Resolver, trouble: str) -> None:
    """RFC 7672, 2.1.2: an address whose security cannot be known is no insecure one: the host is not used now."""
    assert isinstance(await tlsas(resolver, "mx.test", 25), Tlsas)
    dns.servfail(trouble)
    found = await tlsas(resolver, "mx.test", 25)
    assert isinstance(found, Reply)
    assert (found.enhanced, trouble in found.text) == ("4.7.5", True)


async def test_a_host_whose_addresses_are_insecure_has_none(dns: DnsServer, resolver: Resolver) -> None:
    dns.insecure("test")
    assert await tlsas(resolver, "mx.test", 25) is None

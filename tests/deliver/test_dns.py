import asyncio
from collections.abc import AsyncIterator, Iterator

import dns.resolver
import pytest

from relay.deliver.dane import Tlsa
from relay.deliver.dns import Resolver
from relay.deliver.mx import AddressAnswer, Found, MxAnswer, TlsaAnswer
from relay.deliver.settings import DnsSettings
from tests.peers.dns import DnsServer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def peer() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def resolver(peer: DnsServer, clock: Clock) -> AsyncIterator[Resolver]:
    resolver = Resolver(DnsSettings(nameservers=(peer.endpoint,), timeout=1), clock)
    yield resolver
    await resolver.close()


async def mx(resolver: Resolver, domain: str) -> MxAnswer:
    return (await resolver.mx(domain))[0]


async def test_mx_records_come_with_their_preferences(peer: DnsServer, resolver: Resolver) -> None:
    peer.mx("example.test", "20 B.example.test", "10 a.example.test")
    answer = await mx(resolver, "example.test")
    assert answer.found is Found.RECORDS
    assert sorted(answer.records) == [(10, "a.example.test"), (20, "b.example.test")]


async def test_null_mx_is_the_root(peer: DnsServer, resolver: Resolver) -> None:
    peer.add("example.test", "MX", "0 .")
    assert (await mx(resolver, "example.test")).records == ((0, ""),)


async def test_a_domain_without_mx_and_one_that_does_not_exist(peer: DnsServer, resolver: Resolver) -> None:
    peer.add("example.test", "A", "127.0.0.1")
    assert (await mx(resolver, "example.test")).found is Found.NO_RECORDS
    assert (await mx(resolver, "nowhere.test")).found is Found.NO_NAME


async def test_an_alias_of_the_domain_is_followed(peer: DnsServer, resolver: Resolver) -> None:
    peer.add("www.test", "CNAME", "example.test.")
    peer.mx("example.test", "mx.example.test")
    assert (await mx(resolver, "www.test")).records == ((10, "mx.example.test"),)


async def test_an_alias_that_comes_alone_is_followed(peer: DnsServer, resolver: Resolver) -> None:
    peer.add("www.test", "CNAME", "other.test.")
    peer.add("other.test", "CNAME", "example.test.")
    for name in ("www.test", "other.test"):
        peer.alias_alone(name)
    peer.mx("example.test", "mx.example.test")
    assert (await mx(resolver, "www.test")).records == ((10, "mx.example.test"),)


async def test_an_alias_to_a_name_without_mx_or_without_being(peer: DnsServer, resolver: Resolver) -> None:
    peer.add("www.test", "CNAME", "example.test.")
    peer.add("example.test", "A", "127.0.0.1")
    peer.add("dangling.test", "CNAME", "nowhere.test.")
    assert (await mx(resolver, "www.test")).found is Found.NO_RECORDS
    assert (await mx(resolver, "dangling.test")).found is Found.NO_NAME


@pytest.mark.parametrize("alone", [True, False])
async def test_a_circle_of_aliases_ends(peer: DnsServer, resolver: Resolver, alone: bool) -> None:
    peer.add("a.test", "CNAME", "b.test.")
    peer.add("b.test", "CNAME", "a.test.")
    if alone:
        peer.alias_alone("a.test")
        peer.alias_alone("b.test")
    assert (await mx(resolver, "a.test")).found in {Found.TROUBLE, Found.NO_RECORDS}


async def test_a_host_that_is_an_alias_is_tolerated(peer: DnsServer, resolver: Resolver) -> None:
    peer.add("mx.test", "CNAME", "real.test.")
    peer.add("real.test", "A", "127.0.0.3")
    assert await resolver.addresses("mx.test") == AddressAnswer(Found.RECORDS, ("127.0.0.3",), name="real.test")


async def test_a_host_has_addresses_of_both_families(peer: DnsServer, resolver: Resolver) -> None:
    peer.add("mx.test", "A", "127.0.0.3")
    peer.add("mx.test", "AAAA", "::1")
    assert (await resolver.addresses("mx.test")).addresses == ("::1", "127.0.0.3")


async def test_a_host_without_addresses(peer: DnsServer, resolver: Resolver) -> None:
    peer.add("mx.test", "TXT", "x")
    assert (await resolver.addresses("mx.test")).found is Found.NO_RECORDS
    assert (await resolver.addresses("nowhere.test")).found is Found.NO_NAME


async def test_trouble_is_told(peer: DnsServer, resolver: Resolver) -> None:
    peer.servfail("servfail.test")
    peer.refuse("refused.test")
    assert await mx(resolver, "servfail.test") == MxAnswer(Found.TROUBLE, (), "SERVFAIL")
    assert await mx(resolver, "refused.test") == MxAnswer(Found.TROUBLE, (), "REFUSED")
    assert (await resolver.addresses("servfail.test")).found is Found.TROUBLE


async def test_silence_is_trouble_within_the_timeout(peer: DnsServer, resolver: Resolver) -> None:
    peer.drop("silent.test")
    async with asyncio.timeout(3):
        assert await mx(resolver, "silent.test") == MxAnswer(Found.TROUBLE, (), "timed out")


async def test_garbage_is_trouble(peer: DnsServer, resolver: Resolver) -> None:
    peer.garbage("garbage.test")
    assert (await mx(resolver, "garbage.test")).found is Found.TROUBLE


async def test_a_truncated_answer_is_asked_again_over_tcp(peer: DnsServer, resolver: Resolver) -> None:
    peer.mx("big.test", *(f"{n} mx{n}.big.test" for n in range(200)))
    peer.truncate("big.test")
    assert len((await mx(resolver, "big.test")).records) == 200
    assert peer.over_tcp == [("big.test", "MX")]


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", ".".join(["a" * 60] * 5), "", "bücher.test"])
async def test_what_cannot_be_a_name_does_not_exist(resolver: Resolver, peer: DnsServer, name: str) -> None:
    assert (await mx(resolver, name)).found is Found.NO_NAME
    assert peer.asked == []


async def test_an_answer_is_kept_for_its_ttl(peer: DnsServer, resolver: Resolver, clock: Clock) -> None:
    peer.mx("example.test", "mx.example.test", ttl=60)
    _, until = await resolver.mx("example.test")
    assert until.at == clock.now + 60
    clock.now += 59
    await resolver.mx("example.test")
    assert len(peer.asked) == 1
    clock.now += 2
    await resolver.mx("example.test")
    assert len(peer.asked) == 2


@pytest.mark.parametrize(("ttl", "kept"), [(0, 1), (10**6, 3600)])
async def test_a_ttl_is_kept_within_bounds(
    peer: DnsServer, resolver: Resolver, clock: Clock, ttl: int, kept: int
) -> None:
    peer.mx("example.test", "mx.example.test", ttl=ttl)
    assert (await resolver.mx("example.test"))[1].at == clock.now + kept


async def test_that_a_name_does_not_exist_is_kept_too(peer: DnsServer, resolver: Resolver, clock: Clock) -> None:
    _, until = await resolver.mx("nowhere.test")
    assert until.at == clock.now + 300  # the minimum of the zone's SOA
    await resolver.mx("nowhere.test")
    assert len(peer.asked) == 1


async def test_trouble_is_kept_for_seconds_only(peer: DnsServer, resolver: Resolver, clock: Clock) -> None:
    peer.servfail("example.test")
    assert (await resolver.mx("example.test"))[1].at == clock.now + 5
    peer.forget("example.test")
    clock.now += 6
    peer.mx("example.test", "mx.example.test")
    assert (await mx(resolver, "example.test")).found is Found.RECORDS


async def test_the_same_question_is_asked_once_by_many(peer: DnsServer, resolver: Resolver) -> None:
    peer.mx("example.test", "mx.example.test")
    answers = await asyncio.gather(*(mx(resolver, "example.test") for _ in range(100)))
    assert len(set(answers)) == 1
    assert len(peer.asked) == 1


async def test_one_who_stops_waiting_does_not_stop_the_question(peer: DnsServer, resolver: Resolver) -> None:
    peer.mx("example.test", "mx.example.test")
    first = asyncio.create_task(mx(resolver, "example.test"))
    second = asyncio.create_task(mx(resolver, "example.test"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).found is Found.RECORDS


async def test_the_cache_is_bounded(peer: DnsServer, resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.deliver.dns._CACHED", 3)
    for n in range(5):
        await resolver.mx(f"d{n}.test")
    assert len(resolver._cache) == 3


async def test_the_next_name_server_is_asked_where_one_is_broken(peer: DnsServer) -> None:
    with DnsServer() as broken:
        broken.servfail("example.test")
        peer.mx("example.test", "mx.example.test")
        resolver = Resolver(DnsSettings(nameservers=(broken.endpoint, peer.endpoint), timeout=2))
        assert (await mx(resolver, "example.test")).found is Found.RECORDS


async def test_without_name_servers_the_systems_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Resolver(DnsSettings())._resolver.nameservers
    monkeypatch.setattr("dns.resolver.BaseResolver.read_resolv_conf", _no_file)
    assert Resolver(DnsSettings())._resolver.nameservers == ["127.0.0.1"]


def _no_file(*_: object) -> None:
    raise dns.resolver.NoResolverConfiguration


async def test_hostile_answers_are_values(resolver: Resolver, peer: DnsServer) -> None:
    """Bits flipped all over a right answer: every answer is a value, and none takes longer than the timeout."""
    right = peer._answer
    positions = range(2, 100, 3)

    def flipped(wire: bytes, *, tcp: bool) -> bytes | None:
        answer = bytearray(right(wire, tcp=tcp) or b"")
        name, _ = peer.asked[-1]
        if name.startswith("flip"):
            answer[int(name[4:].partition(".")[0]) % len(answer)] ^= 0xFF
        return bytes(answer)

    peer._answer = flipped  # type: ignore[method-assign]
    for position in positions:
        peer.mx(f"flip{position}.test", *(f"{n} mx{n}.example.test" for n in range(5)))
    questions = [mx(resolver, f"flip{position}.test") for position in positions]
    for answer in await asyncio.wait_for(asyncio.gather(*questions), 5):
        assert answer.found in set(Found)


# DNSSEC.


async def test_what_a_resolver_on_this_machine_vouches_for_is_secure(peer: DnsServer, resolver: Resolver) -> None:
    """That there is nothing included; and an alias is no more secure than its target."""
    peer.secure("example.test", "alias.test", "gone.test")
    peer.mx("example.test", "mx.example.test")
    peer.add("mx.example.test", "A", "127.0.0.1")
    peer.add("alias.test", "CNAME", "far.test.")
    peer.add("far.test", "A", "127.0.0.1")
    peer.mx("far.test", "mx.example.test")
    assert (await mx(resolver, "example.test")).secure
    assert (await mx(resolver, "gone.test")).secure
    assert not (await mx(resolver, "far.test")).secure
    assert not (await mx(resolver, "nowhere.test")).secure
    assert (await resolver.addresses("mx.example.test")).secure
    alias = await resolver.addresses("alias.test")
    assert (alias.secure, alias.name) == (False, "far.test")
    assert await resolver.is_secure_alias("alias.test")
    assert not await resolver.is_secure_alias("far.test")


async def test_the_word_of_a_far_resolver_needs_the_operators(peer: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Resolver(DnsSettings(nameservers=("192.0.2.53:53", "127.0.0.1:53"))).validates  # type: ignore[arg-type]
    assert Resolver(DnsSettings(nameservers=("192.0.2.53:53",), validates=True)).validates  # type: ignore[arg-type]
    assert Resolver(DnsSettings(nameservers=("[::1]:53",))).validates  # type: ignore[arg-type]
    peer.secure("example.test")
    peer.mx("example.test", "mx.example.test")
    monkeypatch.setattr("relay.deliver.dns._are_here", lambda _: False)
    far = Resolver(DnsSettings(nameservers=(peer.endpoint,), timeout=1))  # type: ignore[arg-type]
    assert not (await mx(far, "example.test")).secure
    await far.close()


async def test_tlsa_and_txt_records(peer: DnsServer, resolver: Resolver) -> None:
    peer.secure("_25._tcp.mx.test")
    peer.add("_25._tcp.mx.test", "TLSA", f"3 1 1 {'ab' * 32}")
    assert await resolver.tlsa("_25._tcp.mx.test") == TlsaAnswer(
        Found.RECORDS, (Tlsa(3, 1, 1, b"\xab" * 32),), "", secure=True
    )
    assert (await resolver.tlsa("_25._tcp.none.test")).found is Found.NO_NAME
    peer.servfail("_25._tcp.bogus.test")
    assert (await resolver.tlsa("_25._tcp.bogus.test")).found is Found.TROUBLE
    peer.add("_mta-sts.mx.test", "TXT", '"v=STSv1; " "id=1;"', '"\\255"')
    assert sorted((await resolver.texts("_mta-sts.mx.test")).records) == ["v=STSv1; id=1;", "\ufffd"]
    assert (await resolver.texts("none.test")).found is Found.NO_NAME

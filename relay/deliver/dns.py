"""Questions to DNS, remembered by their TTL; the only file that knows dnspython.

Rule: a question that is being asked is not asked again, a site that is warm costs no question, and
whatever the answer is, it comes back as a value.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from relay.deliver.dane import Tlsa
from relay.deliver.mx import AddressAnswer, Found, MxAnswer, TextAnswer, TlsaAnswer
from relay.deliver.settings import DnsSettings

# RFC 2308, 7.1 lets a resolver remember trouble for at most 5 minutes; retries are minutes apart anyway.
_TROUBLE_SECONDS: Final = 5.0
# RFC 2308, 5: 1 to 3 hours is the most that a negative answer should be believed; mail waits for corrections.
_MOST_NEGATIVE_SECONDS: Final = 900.0
_MOST_SECONDS: Final = 3600.0
# A TTL of 0 means "do not keep"; a second still joins a burst of mail into one question.
_LEAST_SECONDS: Final = 1.0
_CACHED: Final = 20_000
_ASKED_AT_ONCE: Final = 500
_MOST_ALIASES: Final = 8
# After that a question that got no answer is asked again, however long the answer may take in all.
_MOST_TRY_SECONDS: Final = 2.5
# RFC 9715: larger answers are fragmented on the way; those come truncated and are asked again over TCP.
_UDP_BYTES: Final = 1232

_MX: Final = dns.rdatatype.MX
_A: Final = dns.rdatatype.A
_AAAA: Final = dns.rdatatype.AAAA
_CNAME: Final = dns.rdatatype.CNAME
_TLSA: Final = dns.rdatatype.TLSA
_TXT: Final = dns.rdatatype.TXT


@dataclass(frozen=True, slots=True)
class _Answer:
    found: Found
    records: tuple[Any, ...]
    why: str
    seconds: float
    secure: bool = False
    """Whether the resolver vouches for all of it, by DNSSEC."""
    name: str = ""
    """What the name that was asked for is an alias of, in the end."""


@dataclass(frozen=True, slots=True)
class Until:
    """How long an answer may be used: a time of the resolver's clock."""

    at: float


class Resolver:
    """Asks the configured name servers."""

    def __init__(self, settings: DnsSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the `[dns]` section; `clock` counts seconds."""
        self._settings = settings
        self._clock = clock
        self._resolver = _resolver(settings)
        self._cache: OrderedDict[tuple[str, int], tuple[_Answer, float]] = OrderedDict()
        self._asking: dict[tuple[str, int], asyncio.Task[tuple[_Answer, float]]] = {}
        self._slots = asyncio.Semaphore(_ASKED_AT_ONCE)
        self.validates = settings.validates or _are_here(self._resolver.nameservers)
        """Whether "secure" (the AD bit) is believed: elsewhere anybody on the way may have set it (RFC 6840, 5.8)."""
        if self.validates:
            # RFC 6840, 5.7: AD in a question asks for AD in the answer, without the records that prove it.
            self._resolver.flags = dns.flags.RD | dns.flags.AD

    async def mx(self, domain: str) -> tuple[MxAnswer, Until]:
        """Return the MX records of a domain (lower-case A-labels) and how long they hold; an alias is followed."""
        answer, until = await self._remembered(domain, _MX)
        records = tuple((record.preference, _host(record.exchange)) for record in answer.records)
        return MxAnswer(answer.found, records, answer.why, answer.secure), Until(until)

    async def addresses(self, host: str) -> AddressAnswer:
        """Return the A and AAAA records of a host; what one question finds counts where the other fails."""
        (six, _), (four, _) = await asyncio.gather(self._remembered(host, _AAAA), self._remembered(host, _A))
        addresses = tuple(record.address for record in (*six.records, *four.records))
        secure = all(answer.secure for answer in (six, four) if answer.found is not Found.TROUBLE)
        if addresses:
            target = four.name or six.name
            return AddressAnswer(Found.RECORDS, addresses, "", secure, target if target != host else "")
        troubled = next((answer for answer in (four, six) if answer.found is Found.TROUBLE), None)
        worst = troubled or (four if four.found is six.found else _NOTHING)
        return AddressAnswer(worst.found, (), worst.why)

    async def tlsa(self, name: str) -> TlsaAnswer:
        """Return the TLSA records of a name such as "_25._tcp.mx.example.org"."""
        answer, _ = await self._remembered(name, _TLSA)
        records = tuple(Tlsa(each.usage, each.selector, each.mtype, each.cert) for each in answer.records)
        return TlsaAnswer(answer.found, records, answer.why, answer.secure)

    async def texts(self, name: str) -> TextAnswer:
        """Return the TXT records of a name, the strings of each joined."""
        answer, _ = await self._remembered(name, _TXT)
        joined = tuple(b"".join(record.strings).decode("utf-8", "replace") for record in answer.records)
        return TextAnswer(answer.found, joined, answer.why)

    async def is_secure_alias(self, name: str) -> bool:
        """Return whether a name is an alias by a record that came securely, whatever its target is."""
        answer, _ = await self._remembered(name, _CNAME)
        return answer.found is Found.RECORDS and answer.secure

    async def close(self) -> None:
        """End the questions that are under way."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _remembered(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[_Answer, float]:
        key = (name, int(kind))
        known = self._cache.get(key)
        if known is not None and known[1] > self._clock():
            return known
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask_and_remember(key, name, kind))
        # One who stops waiting must not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask_and_remember(
        self, key: tuple[str, int], name: str, kind: dns.rdatatype.RdataType
    ) -> tuple[_Answer, float]:
        try:
            async with self._slots:
                answer = await self._ask(name, kind)
        finally:
            del self._asking[key]
        known = answer, self._clock() + answer.seconds
        self._cache[key] = known
        self._cache.move_to_end(key)
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return known

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> _Answer:
        try:
            wanted = dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])
        except (dns.exception.DNSException, UnicodeError):
            return _Answer(Found.NO_NAME, (), "not a domain name", _MOST_NEGATIVE_SECONDS)
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._follow(wanted, kind)
        except TimeoutError:
            return _trouble("timed out")

    async def _follow(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> _Answer:
        """Ask, and ask again for the target where a server answers with an alias alone (RFC 1034, 3.6.2)."""
        secure = True
        for _ in range(_MOST_ALIASES):
            try:
                answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False)
            except dns.resolver.NXDOMAIN as error:
                secure = secure and all(map(self._vouched, _responses(error)))
                return _Answer(Found.NO_NAME, (), "no such domain", _negative_seconds(error), secure)
            except (dns.exception.DNSException, OSError, ValueError) as error:
                return _trouble(_reason(error))
            secure = secure and self._vouched(answer.response)
            seconds, target = answer.chaining_result.minimum_ttl, _host(answer.canonical_name)
            if answer.rrset is not None:
                most = _between(seconds, _MOST_SECONDS)
                return _Answer(Found.RECORDS, tuple(answer.rrset), "", most, secure, target)
            if not _alias_alone(answer.response, answer.chaining_result.cnames):
                most = _between(seconds, _MOST_NEGATIVE_SECONDS)
                return _Answer(Found.NO_RECORDS, (), "no such records", most, secure, target)
            name = answer.canonical_name
        return _trouble("too many aliases")

    def _vouched(self, response: dns.message.Message) -> bool:
        return self.validates and bool(response.flags & dns.flags.AD)


_NOTHING: Final = _Answer(Found.NO_RECORDS, (), "no such records", 0)


def _resolver(settings: DnsSettings) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not settings.nameservers)
    except dns.resolver.NoResolverConfiguration:
        # resolv.conf(5): without one, the name server on the local machine is asked.
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
    if settings.nameservers:
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(endpoint.host, endpoint.port) for endpoint in settings.nameservers
        ]
    resolver.use_edns(0, 0, _UDP_BYTES)
    resolver.lifetime = float(settings.timeout)
    # Time for several tries within the whole: a datagram may be lost, most of all where hundreds are sent at once.
    resolver.timeout = min(max(1.0, settings.timeout / 4), _MOST_TRY_SECONDS)
    resolver.retry_servfail = False
    resolver.cache = None
    return resolver


def _are_here(nameservers: Iterable[str | dns.nameserver.Nameserver]) -> bool:
    """Return whether all name servers are on this machine: nobody stands between them and us."""
    addresses = [each if isinstance(each, str) else each.answer_nameserver() for each in nameservers]
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)


def _alias_alone(response: dns.message.Message, aliases: Iterable[Any]) -> bool:
    # RFC 2308, 2.2: "no such data" of an alias' target comes with the SOA of the target's zone.
    return any(aliases) and not any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _host(exchange: dns.name.Name) -> str:
    return exchange.to_text(omit_final_dot=True).lower() if exchange != dns.name.root else ""


def _between(seconds: float, most: float) -> float:
    return min(max(seconds, _LEAST_SECONDS), most)


def _responses(error: dns.resolver.NXDOMAIN) -> list[dns.message.QueryMessage]:
    return list((error.kwargs.get("responses") or {}).values())


def _negative_seconds(error: dns.resolver.NXDOMAIN) -> float:
    ttls = []
    for response in _responses(error):
        try:
            ttls.append(response.resolve_chaining().minimum_ttl)
        except dns.exception.DNSException:
            continue
    return _between(min(ttls, default=0), _MOST_NEGATIVE_SECONDS)


def _trouble(why: str) -> _Answer:
    return _Answer(Found.TROUBLE, (), why, _TROUBLE_SECONDS)


def _reason(error: Exception) -> str:
    if isinstance(error, dns.resolver.LifetimeTimeout):
        return "timed out"
    if isinstance(error, dns.resolver.NoNameservers):
        codes = [str(tried[3]) for tried in error.kwargs.get("errors", ()) if len(tried) > 3]  # noqa: PLR2004 - dnspython's tuple
        return codes[-1][:100] if codes else "no name server answered"
    return str(error)[:100] or type(error).__name__

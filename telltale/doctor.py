"""`telltale doctor`: looks at this machine, at DNS and at the running service, and says what to do.

Rule: every look is bounded in time, and changes nothing; what cannot be looked at is a finding too.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from relay.deliver.binding import trouble_with
from relay.deliver.dns import Resolver
from relay.deliver.mx import Found
from relay.deliver.settings import TlsPolicy
from storage.reader import Reader, StoreMissingError
from storage.settings import Endpoint
from storage.tracking import image_url
from telltale import doctor_judge as judge
from telltale.config import Config
from telltale.findings import Finding, fail, ok, warn
from telltale.spec import listeners

SECONDS: Final = 10.0
_BANNER_BYTES: Final = 512
_TIMEX_BYTES: Final = 512  # struct timex has 208 (adjtimex(2)); more is harmless
_TIME_ERROR: Final = 5

# A zone that is signed for as long as DNSSEC is deployed; that it has no MX records is proven, too.
_SIGNED: Final = "org"

Reverse = Callable[[str], Sequence[str]]


def system_reverse(address: str) -> Sequence[str]:
    """Return the names that the system's resolver gives an address."""
    try:
        name, aliases, _ = socket.gethostbyaddr(address)
    except OSError:
        return []
    return [name, *aliases]


async def examine(config: Config, reach: Sequence[Endpoint], reverse: Reverse = system_reverse) -> list[Finding]:
    """Look at everything; `reach` are servers whose SMTP port is to be tried, which sends nothing."""
    looks: list[Awaitable[list[Finding]]] = [
        _names(config, reverse),
        _sources(config, reverse),
        _dane(config),
        *[_listener(key, endpoint) for key, endpoint in listeners(config, None)],
        _images(config),
        *[_reached(endpoint) for endpoint in reach],
        _submitters(config),
    ]
    found = await asyncio.gather(*looks)
    listener = judge.bounce_listener(config.bounce.listen)
    return [*[finding for findings in found for finding in findings], listener, *_machine(config)]


async def _names(config: Config, reverse: Reverse) -> list[Finding]:
    resolver = Resolver(config.dns)
    name, domain = config.server.hostname, config.bounce.domain
    try:
        ours, (mail, _) = await asyncio.gather(resolver.addresses(name), resolver.mx(domain))
        hosts = [host for _, host in sorted(mail.records) if host]
        theirs = [address for host in hosts for address in (await resolver.addresses(host)).addresses]
    finally:
        await resolver.close()
    if Found.TROUBLE in {ours.found, mail.found}:
        return [fail("dns", f"does not answer: {ours.why or mail.why}", "look at dns.nameservers and /etc/resolv.conf")]
    names = await asyncio.gather(*[asyncio.to_thread(reverse, address) for address in ours.addresses])
    return [
        judge.hostname(name, ours.addresses, {each.rstrip(".").lower() for found in names for each in found}),
        judge.bounce_domain(domain, hosts, theirs, {*ours.addresses, *_own_addresses()}),
    ]


async def _sources(config: Config, reverse: Reverse) -> list[Finding]:
    """Look whether the addresses that mail goes out from are ours, and whether DNS knows them by their names."""
    resolver = Resolver(config.dns)
    found = []
    try:
        for name, source in config.delivery.sources.items():
            ehlo = source.ehlo or config.server.hostname
            forward = (await resolver.addresses(ehlo)).addresses
            for address in source.addresses:
                names = await asyncio.to_thread(reverse, address)
                called = {each.rstrip(".").lower() for each in names}
                found.append(judge.source(name, ehlo, address, trouble_with(address), forward, called))
    finally:
        await resolver.close()
    return found


async def _dane(config: Config) -> list[Finding]:
    """Look whether the name servers prove what a zone that is signed says, where anybody is to be proven by that."""
    named = {"delivery.tls": config.delivery.tls} | {
        f'delivery.tls_policies."{pattern}"': policy for pattern, policy in config.delivery.tls_policies.items()
    }
    asking = [name for name, policy in named.items() if policy is TlsPolicy.DANE]
    refusing = [name for name, policy in named.items() if policy is TlsPolicy.DANE_ONLY]
    if not (asking or refusing or config.delivery.dane):
        return []
    resolver = Resolver(config.dns)
    try:
        answer, _ = await resolver.mx(_SIGNED)
    finally:
        await resolver.close()
    return [judge.dane(asking, refusing, believed=resolver.validates, secure=answer.secure)]


def _own_addresses() -> set[str]:
    """Return the addresses that this machine sends from; a datagram socket's connect() sends nothing."""
    found = set()
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.connect((anywhere, 9))
            found.add(str(trial.getsockname()[0]))
    return found


async def _listener(key: str, endpoint: Endpoint) -> list[Finding]:
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host)
    trouble = await _connected(host, endpoint.port)
    if trouble:
        return [
            fail(
                key,
                f"nothing answers on {endpoint}: {trouble}",
                "start it: telltale serve, or systemctl start telltale.target",
            )
        ]
    return [ok(key, f"answers on {endpoint}")]


async def _connected(host: str, port: int) -> str:
    """Connect and hang up; return the trouble in a few words, "" where there was none."""
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        return _few_words(error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""


async def _reached(endpoint: Endpoint) -> list[Finding]:
    subject = f"reach {endpoint}"
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            try:
                banner = await reader.read(_BANNER_BYTES)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        advice = "many networks block outgoing port 25: ask yours, or set a smarthost in delivery.routes"
        return [fail(subject, f"cannot be reached: {_few_words(error)}", advice)]
    if not banner.startswith(b"220"):
        said = banner[:80].decode("ascii", "backslashreplace").strip()
        return [warn(subject, f'answers "{said}", as no server does that takes mail', "look at that server")]
    return [ok(subject, "a mail server answers")]


async def _images(config: Config) -> list[Finding]:
    base_url = config.tracking.base_url
    status, kind, trouble = await asyncio.to_thread(_fetched, image_url(base_url, "doctor"))
    return [judge.image_address(base_url, status, kind, trouble)]


def _fetched(url: str) -> tuple[int | None, str, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return answer.status, answer.headers.get("Content-Type", ""), ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Content-Type", ""), ""
    except urllib.error.URLError as error:
        return None, "", _few_words(error.reason) if isinstance(error.reason, OSError) else str(error.reason)
    except OSError as error:
        return None, "", _few_words(error)


async def _submitters(config: Config) -> list[Finding]:
    try:
        reader = await Reader.open(config.server.state_dir)
    except StoreMissingError:
        return [warn("store", f"{config.server.state_dir} holds no store yet", "the first start makes it")]
    except OSError as error:
        return [fail("store", f"{config.server.state_dir} cannot be read: {_few_words(error)}", "try it with sudo")]
    try:
        return [judge.submitters(config, len(await reader.users()))]
    finally:
        await reader.close()


def _machine(config: Config) -> list[Finding]:
    state_dir = config.server.state_dir
    return [
        judge.clock(_synchronised()),
        _disk(state_dir),
        *_private("state directory", state_dir),
        *_private("secret key", state_dir / "secret.key"),
        *_certificate(config),
    ]


def _synchronised() -> bool | None:
    """Ask the kernel whether its clock follows a reference (adjtimex(2)); None where it does not tell."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _disk(state_dir: Path) -> Finding:
    there = next(folder for folder in (state_dir, *state_dir.parents) if folder.exists())
    room = os.statvfs(there)
    return judge.disk(room.f_bavail * room.f_frsize, room.f_favail if room.f_files else -1, str(state_dir))


def _private(subject: str, path: Path) -> list[Finding]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return []
    except OSError as error:
        return [warn(subject, f"{path} cannot be looked at: {_few_words(error)}", "try it with sudo")]
    return [judge.private(subject, str(path), found.st_mode, found.st_uid, os.geteuid())]


def _certificate(config: Config) -> list[Finding]:
    path = config.submission.tls_cert
    if path is None:
        made = "a self-signed certificate is used: clients warn, or refuse to log in"
        return [warn("certificate", made, "set submission.tls_cert and tls_key")]
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        dns = []
    except (OSError, ValueError) as error:
        return [fail("certificate", f"{path} cannot be read: {_few_words(error)}", "look at submission.tls_cert")]
    return [judge.certificate(str(path), found.not_valid_after_utc, dns, config.server.hostname, datetime.now(UTC))]


def _few_words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        # asyncio and urllib put words of their own where the system's are; the number says it in fewer.
        return os.strerror(error.errno).lower()
    return str(error)

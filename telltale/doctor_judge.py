"""The doctor's judgement: from what was seen to findings with advice.

Rule: pure; `doctor.py` looks, this file decides.
"""

import ipaddress
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from storage.settings import Endpoint
from telltale.config import Config
from telltale.findings import Finding, fail, ok, warn

_MIB: Final = 1 << 20
# SQLite's WAL and a few large messages need room; below this, mail is answered 452 any minute.
_DISK_FAIL: Final = 200 * _MIB
_DISK_WARN: Final = 2048 * _MIB
_FEW_FILES: Final = range(1000)
_MAIL_PORT: Final = 25  # RFC 5321, 4.5.4.2: where servers deliver
_CERT_WARN: Final = timedelta(days=14)
_GROUP_AND_OTHERS: Final = 0o077


def hostname(name: str, addresses: Sequence[str], reverse: Collection[str]) -> Finding:
    """Judge the name that we greet with; `reverse` are the names that its addresses have in DNS."""
    subject = "hostname"
    if "." not in name:
        return warn(subject, f"{name} is no full name", "set server.hostname to the name that DNS knows this host by")
    if not addresses:
        return fail(subject, f"{name} has no address in DNS", f"add an A (and AAAA) record for {name}")
    shown = ", ".join(addresses)
    if not reverse:
        return fail(subject, f"{shown} has no reverse name", f"ask your network's owner for a PTR record to {name}")
    if name not in reverse:
        found = ", ".join(sorted(reverse))
        return warn(subject, f"{shown} is called {found}, not {name}", "let PTR record and server.hostname agree")
    return ok(subject, f"{name} is {shown}, and DNS says so both ways")


def source(
    name: str, ehlo: str, address: str, trouble: str, forward: Collection[str], reverse: Collection[str]
) -> Finding:
    """Judge an address that mail goes out from, under the name `ehlo`; `trouble`: why it cannot be used, or "".

    `forward` are the addresses of the name, `reverse` the names of the address.
    """
    subject = f"source {name}"
    if trouble:
        advice = f"give this host the address (ip address add {address} …), or correct delivery.sources"
        return fail(subject, f"nothing can be sent from {address}: {trouble}", advice)
    if ehlo not in reverse:
        called = f"is called {', '.join(sorted(reverse))}, not {ehlo}" if reverse else "has no reverse name"
        return fail(subject, f"{address} {called}", f"ask your network's owner for a PTR record to {ehlo}")
    if ipaddress.ip_address(address) not in {ipaddress.ip_address(each) for each in forward}:
        shown = ", ".join(forward) or "no address"
        return warn(subject, f"{ehlo} is {shown} in DNS, not {address}", f"add an A or AAAA record for {ehlo}")
    return ok(subject, f"{address} is {ehlo}, and DNS says so both ways")


def dane(asking: Collection[str], refusing: Collection[str], *, believed: bool, secure: bool) -> Finding:
    """Judge whether DANE can work.

    `asking` are the settings whose policy is `dane`, `refusing` those with `dane-only`; `believed`: the name servers'
    word on DNSSEC counts; `secure`: they gave it for a zone that is signed.
    """
    subject = "dane"
    if believed and secure:
        return ok(subject, "the name servers check DNSSEC")
    why = "the name servers do not check DNSSEC" if believed else "the name servers' word on DNSSEC is not believed"
    advice = "run a resolver that checks DNSSEC on this host, such as unbound"
    if not believed:
        advice += "; or set dns.validates, if yours check it and nobody can change their answers on the way"
    if refusing:
        return fail(subject, f"{why}: nothing is sent where {', '.join(sorted(refusing))} holds", advice)
    if asking:
        return warn(subject, f"{why}: {', '.join(sorted(asking))} is as may", advice)
    return ok(subject, f"not used: {why}")


def bounce_domain(domain: str, hosts: Sequence[str], theirs: Collection[str], ours: Collection[str]) -> Finding:
    """Judge where bounces go: `hosts` are the MX of the domain, `theirs` their addresses, `ours` this machine's."""
    subject = "bounce domain"
    advice = f"add an MX record for {domain} that names this host"
    if not hosts:
        return fail(subject, f"{domain} has no MX record, so bounces do not come back", advice)
    shown = ", ".join(hosts)
    if not theirs:
        return fail(subject, f"the MX of {domain}, {shown}, has no address", "add an A record for it")
    if not set(theirs) & set(ours):
        text = f"the MX of {domain}, {shown}, is {', '.join(sorted(theirs))}, not an address of this machine"
        return warn(subject, text, f"{advice} (behind NAT: forward port 25)")
    return ok(subject, f"the MX of {domain} is this host ({shown})")


def bounce_listener(listen: Sequence[Endpoint]) -> Finding:
    """Judge whether strangers can reach the bounce listener."""
    subject = "bounce listener"
    advice = 'set bounce.listen to ["0.0.0.0:25", "[::]:25"]'
    if not listen:
        return warn(subject, "there is none: bounces do not come back", advice)
    if all(is_loopback(endpoint.host) for endpoint in listen):
        return warn(subject, "listens on loopback only: bounces from elsewhere do not come back", advice)
    if all(endpoint.port != _MAIL_PORT for endpoint in listen):
        return warn(subject, "does not listen on port 25, where servers deliver", f"{advice}, or forward that port")
    return ok(subject, "listens on port 25")


def image_address(base_url: str, status: int | None, kind: str, trouble: str) -> Finding:
    """Judge the answer that `base_url` gave to a request for an image (`status` None: none came, `trouble` why)."""
    subject = "images"
    advice = f"let {base_url} lead to pixel.listen (DNS, reverse proxy, firewall)"
    if status is None:
        return fail(subject, f"{base_url} does not answer: {trouble}", advice)
    if status != HTTPStatus.OK or not kind.startswith("image/"):
        return fail(subject, f"{base_url} answers {status} {kind or 'without a type'}, not an image", advice)
    if is_loopback(urlsplit(base_url).hostname or ""):
        return warn(subject, f"{base_url} answers, but only here", "set tracking.base_url to a public address")
    if not base_url.startswith("https:"):
        return warn(subject, f"{base_url} answers, in clear", "put a reverse proxy with a certificate before it")
    return ok(subject, f"{base_url} answers with an image")


def submitters(config: Config, users: int) -> Finding:
    """Judge whether anybody may submit mail."""
    subject = "submission"
    if not users and not config.submission.trusted_networks:
        return fail(subject, "no user and no trusted network: nobody can submit mail", "telltale user add NAME")
    trusted = ", ".join([str(network) for network in config.submission.trusted_networks]) or "nobody"
    return ok(subject, f"users with a password: {users}; trusted without one: {trusted}")


def disk(free_bytes: int, free_files: int, state_dir: str) -> Finding:
    """Judge the room on the disk; `free_files` below 0: the file system does not count them."""
    subject = "disk"
    text = f"{free_bytes // _MIB} MiB free for {state_dir}"
    if free_files in _FEW_FILES:
        text += f", and room for {free_files} files only"
    if free_bytes < _DISK_FAIL or free_files in _FEW_FILES:
        return fail(subject, text, "make room: when it is full, new mail is answered 452")
    if free_bytes < _DISK_WARN:
        return warn(subject, text, "make room soon")
    return ok(subject, text)


def private(subject: str, path: str, mode: int, owner: int, us: int) -> Finding:
    """Judge a file or directory that only the service may read."""
    if mode & _GROUP_AND_OTHERS:
        return fail(subject, f"{path} can be read by others (mode {mode & 0o777:o})", f"chmod go= {path}")
    if owner != us:
        return warn(
            subject, f"{path} belongs to user {owner}, not to user {us}", "run telltale as the user who owns it"
        )
    return ok(subject, f"{path} is private")


def clock(synchronised: bool | None) -> Finding:
    """Judge the kernel's word on its clock."""
    subject = "clock"
    if synchronised is None:
        return warn(subject, "the kernel does not tell whether its clock is right", "look at `timedatectl`")
    if not synchronised:
        return warn(subject, "is not synchronised: times in the log may be wrong", "apt install systemd-timesyncd")
    return ok(subject, "is synchronised")


def certificate(path: str, expires: datetime, names: Collection[str], name: str, now: datetime) -> Finding:
    """Judge the configured certificate of the submission listeners."""
    subject = "certificate"
    if expires <= now:
        return fail(subject, f"{path} expired on {expires:%Y-%m-%d}", "renew it, then send telltale SIGHUP")
    if not any(_covers(each, name) for each in names):
        text = f"{path} is for {', '.join(names) or 'no name'}, not for {name}"
        return warn(subject, text, "let server.hostname and the certificate agree")
    if expires - now < _CERT_WARN:
        return warn(subject, f"{path} expires on {expires:%Y-%m-%d}", "renew it, then send telltale SIGHUP")
    return ok(subject, f"{path} is good until {expires:%Y-%m-%d}")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own; "" is all addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _covers(pattern: str, name: str) -> bool:
    return pattern == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:])

"""What all configuration sections share: the base class and the value types of the file.

A section is a frozen model next to the code it steers; `telltale.config` joins them into one file.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict

_ENDPOINT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:\s]*)):(\d{1,5})")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Section(BaseModel):
    """A section of the configuration: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen or connect: a host (name or address, no brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, IPv6 addresses in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(value: Any) -> Endpoint:
    """Read `host:port` ("127.0.0.1:25", "[::1]:25", "localhost:25", ":25" for all addresses)."""
    if isinstance(value, Endpoint):
        return value
    found = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    if not found or int(found[3]) > 65535:  # noqa: PLR2004 - the last TCP port
        raise ValueError('expected "host:port", for example "127.0.0.1:25" or "[::1]:25"')
    return Endpoint(found[1] or found[2] or "", int(found[3]))


def parse_seconds(value: Any) -> int:
    """Read a duration: whole seconds, or a text such as "90s", "5m", "4h", "5d"."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"\s*(\d+)\s*([smhdw]?)\s*", value) if isinstance(value, str) else None
    if not found:
        raise ValueError('expected seconds or a duration such as 30, "90s", "5m", "4h" or "5d"')
    return int(found[1]) * _UNITS[found[2]]


def parse_bytes(value: Any) -> int:
    """Read a size: whole bytes, or a text such as "25M" (powers of 1024)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"\s*(\d+)\s*([kmg]?)i?b?\s*", value.lower()) if isinstance(value, str) else None
    if not found:
        raise ValueError('expected bytes or a size such as 26214400 or "25M"')
    return int(found[1]) * _SIZES[found[2]]


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(value: Any) -> Network:
    """Read an address or network, such as "127.0.0.1", "10.0.0.0/8" or "::1"."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError('expected an address or network such as "127.0.0.1" or "10.0.0.0/8"') from None


_DOMAIN: Final = re.compile(
    r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


def parse_domain(value: Any) -> str:
    """Read a domain, such as "example.org", "@example.org" or "bücher.example"; return it in lower-case A-labels."""
    name = value.strip().lstrip("@").rstrip(".") if isinstance(value, str) else ""
    try:
        domain = (name if name.isascii() else name.encode("idna").decode("ascii")).lower()
    except UnicodeError:
        domain = ""
    if not _DOMAIN.fullmatch(domain):
        raise ValueError('expected a domain such as "example.org"')
    return domain


ListenOn = Annotated[Endpoint, BeforeValidator(parse_endpoint)]
Seconds = Annotated[int, BeforeValidator(parse_seconds)]
Bytes = Annotated[int, BeforeValidator(parse_bytes)]
NetworkOf = Annotated[Network, BeforeValidator(parse_network)]
DomainOf = Annotated[str, BeforeValidator(parse_domain)]


class ServerSettings(Section):
    """`[server]`: what all parts share."""

    hostname: str = ""
    """Name in banners, EHLO, Received and Message-ID; "" means this machine's name."""
    state_dir: Path = Path("var")
    """Store, secret key and certificates; relative to the working directory."""
    workers: int = 0
    """Relay processes; 0 means one a core."""


class RetentionSettings(Section):
    """`[retention]`: how long the log is kept."""

    log: Seconds = 90 * 86400
    """Messages whose recipients are all done are deleted with their history after this."""
    dsn: Seconds = 30 * 86400
    """Bounce messages as they came, matched or not."""
    broadcasts: Seconds = 365 * 86400
    """To whom a broadcast was sent, after it was sent to anybody last: as long as that, an address gets it once."""

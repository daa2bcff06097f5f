"""What `telltale serve` says when it is up, to somebody who meets it for the first time.

Rule: pure; every address is one that can be pasted where it is needed.
"""

from collections.abc import Iterator, Sequence

from storage.settings import Endpoint
from telltale.config import Config
from telltale.partname import PartName


def lines(
    config: Config, only: PartName | None, source: str, version: str, setup_path: str | None = None
) -> Iterator[str]:
    """Yield the lines; `setup_path` is where the first administrator is made."""
    yield f"Telltale {version} is up ({only or 'relay, pixel and report'}); configuration: {source}."
    if only in {None, PartName.RELAY}:
        yield from _relay(config)
    if only in {None, PartName.PIXEL}:
        yield f"  images from     {_all('http', config.pixel.listen)} (in messages: {config.tracking.base_url}/o/…)"
    if only in {None, PartName.REPORT}:
        pages = config.report.base_url.rstrip("/") or _all("http", config.report.listen)
        yield f"  Email Log at    {pages} or with `telltale log`"
        if setup_path:
            first = pages.partition(" ")[0]
            yield f"  first, within an hour, make its administrator at {first}{setup_path}"
    yield f"  state in        {config.server.state_dir}"
    yield "Stop it with Ctrl-C or SIGTERM: what waits is kept and tried at the next start."


def _relay(config: Config) -> Iterator[str]:
    trusted = ", ".join([str(network) for network in config.submission.trusted_networks])
    who = f"no password from {trusted}; else `telltale user add`" if trusted else "users by `telltale user add`"
    yield f"  mail to         {_all('smtp', config.submission.listen)} ({who})"
    if config.submission.tls_listen:
        yield f"  mail by TLS to  {_all('smtps', config.submission.tls_listen)}"
    yield f"  bounces to      {_all('smtp', config.bounce.listen)} (for …@{config.bounce.domain})"


def _all(scheme: str, endpoints: Sequence[Endpoint]) -> str:
    return " ".join([f"{scheme}://{endpoint}" for endpoint in endpoints]) or "nowhere"

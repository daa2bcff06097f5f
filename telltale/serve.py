"""`telltale serve`: looks whether all that is needed can be had, then hands over to the supervisor.

Rule: what keeps the service from starting is told here in one sentence each, before a process is started.
"""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from relay.deliver.keys import DkimKeyError
from relay.deliver.keys import load as load_keys
from relay.receive.tls import server_context
from storage.access import hashed
from storage.secret import load_secret
from storage.store import Store
from telltale import announce
from telltale.config import EMBEDDED, Config, load, locate, with_names
from telltale.config_shaping import load as load_shaping
from telltale.errors import ConfigError, FailureError, sentence_of
from telltale.host import machine_name
from telltale.locks import locked
from telltale.logs import start_logging
from telltale.partname import PartName
from telltale.ports import check_ports
from telltale.spec import listeners, specs
from telltale.state import private_files, speaking, warn_root
from telltale.supervisor import Supervisor

# Who installs Telltale looks into the browser soon; a link in an old log opens nothing.
_SETUP_SECONDS: Final = 3600
_INFO_PREFIX: Final = "<6>"  # as telltale.logs writes it for journald


def run(given: Path | None, only: PartName | None) -> None:
    """Serve until SIGTERM or SIGINT; raises FailureError (ConfigError) where that cannot begin."""
    path = locate(given, os.environ)
    machine = machine_name()

    def read() -> Config:
        return with_names(load(path), machine)

    config = read()
    start_logging("serve")
    state_dir = config.server.state_dir
    private_files()
    with speaking(state_dir):
        state_dir.mkdir(parents=True, exist_ok=True)
        with locked(state_dir, [only] if only else list(PartName)):
            setup_path = _prepare(config, only)
            asyncio.run(_supervisor(config, only, read, path, setup_path).run())


def _prepare(config: Config, only: PartName | None) -> str | None:
    """Look for all that the parts need, and make what several of them would make at once.

    Returns where the first administrator is made; None where there is one, or no page.
    """
    check_ports(listeners(config, only))
    if only in {None, PartName.RELAY}:
        _check_certificate(config)
        _check_keys(config)
        load_shaping(config.delivery.shaping)
    warn_root(config.server.state_dir)
    return asyncio.run(_made(config, only))


def _supervisor(
    config: Config, only: PartName | None, read: Callable[[], Config], path: Path | None, setup_path: str | None
) -> Supervisor:
    def reread() -> Config:
        new = read()
        if only in {None, PartName.RELAY}:
            _check_certificate(new)
            _check_keys(new)
            load_shaping(new.delivery.shaping)
        return new

    source = str(path) if path else EMBEDDED
    processes = specs(config, only, cores=len(os.sched_getaffinity(0)))
    return Supervisor(processes, config, reread, announce=lambda: _announce(config, only, source, setup_path))


def _check_certificate(config: Config) -> None:
    """Raise FailureError where the relay cannot use its certificate; make its own one where none is configured."""
    given = config.submission
    try:
        server_context(given.tls_cert, given.tls_key, config.server.state_dir, config.server.hostname)
    except OSError as error:
        raise FailureError(sentence_of(error)) from error


def _check_keys(config: Config) -> None:
    """Raise ConfigError where a DKIM key that should sign cannot."""
    try:
        load_keys(config.server.state_dir, config.dkim)
    except DkimKeyError as error:
        raise ConfigError([str(error)]) from error


async def _made(config: Config, only: PartName | None) -> str | None:
    """Make the store and the secret where there are none yet, before several parts want them at once."""
    load_secret(config.server.state_dir)
    store = await Store.open(config.server.state_dir, config.policy)
    try:
        return await _setup_path(store) if only in {None, PartName.REPORT} else None
    finally:
        await store.close()


async def _setup_path(store: Store) -> str | None:
    """Make the link that makes the first administrator, once; None where there is an administrator."""
    secret = secrets.token_urlsafe(24)
    expires_ms = time.time_ns() // 1_000_000 + _SETUP_SECONDS * 1000
    return f"/setup/{secret}" if await store.make_setup_link(hashed(secret), expires_ms) else None


def _announce(config: Config, only: PartName | None, source: str, setup_path: str | None) -> None:
    start = _INFO_PREFIX if "JOURNAL_STREAM" in os.environ else ""
    for line in announce.lines(config, only, source, version("telltale-relay"), setup_path):
        print(start + line, file=sys.stderr, flush=True)

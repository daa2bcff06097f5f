"""The configuration: joins the sections that lie next to their code, and reads them from one TOML file.

Rules: what is not known is refused; all mistakes are told at once, one sentence each; after `load` nobody
needs to check a value again. Relative paths are relative to the working directory, wherever the file lies.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pixel.settings import PixelSettings
from relay.answer.settings import AnswerSettings
from relay.deliver.settings import DeliverySettings, DkimSettings, DnsSettings, RetrySettings, TlsReportSettings
from relay.receive.settings import BounceSettings, SubmissionSettings
from report.settings import ReportSettings, WebhookSettings
from storage.broadcast_settings import BroadcastSettings
from storage.people import BlockingSettings, ContactSettings, Policy
from storage.settings import RetentionSettings, Section, ServerSettings
from storage.tracking import TrackingSettings
from telltale.config_checks import problems
from telltale.config_file import read_text, read_toml
from telltale.config_sentences import Where, validated, without
from telltale.errors import ConfigError

SYSTEM_FILE: Final = Path("/etc/telltale/config.toml")
ENVIRONMENT_VARIABLE: Final = "TELLTALE_CONFIG"
EMBEDDED: Final = "the embedded default"
# systemd hands secrets to a service in a directory whose name is known only at its start (systemd.exec(5)).
_CREDENTIALS: Final = "$CREDENTIALS_DIRECTORY/"


class Config(Section):
    """The whole configuration; `Config()` is the embedded default."""

    server: ServerSettings = ServerSettings()
    submission: SubmissionSettings = SubmissionSettings()
    bounce: BounceSettings = BounceSettings()
    delivery: DeliverySettings = DeliverySettings()
    dns: DnsSettings = DnsSettings()
    retry: RetrySettings = RetrySettings()
    dkim: DkimSettings = DkimSettings()
    tls_report: TlsReportSettings = TlsReportSettings()
    tracking: TrackingSettings = TrackingSettings()
    pixel: PixelSettings = PixelSettings()
    report: ReportSettings = ReportSettings()
    contacts: ContactSettings = ContactSettings()
    blocking: BlockingSettings = BlockingSettings()
    broadcast: BroadcastSettings = BroadcastSettings()
    answers: AnswerSettings = AnswerSettings()
    webhooks: WebhookSettings = WebhookSettings()
    retention: RetentionSettings = RetentionSettings()

    @property
    def policy(self) -> Policy:
        """What the store's verbs are told of it."""
        return Policy(self.blocking, self.contacts)


def locate(given: Path | None, environ: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> Path | None:
    """Return the file to read: the given one, $TELLTALE_CONFIG, the system's if present; None: the embedded default."""
    if given is not None:
        return given
    if named := environ.get(ENVIRONMENT_VARIABLE):
        return Path(named)
    return system_file if system_file.exists() else None


def load(path: Path | None) -> Config:
    """Read and check a configuration file; None gives the embedded default. Raises ConfigError."""
    if path is None:
        return parse("", EMBEDDED)
    return parse(read_text(path), str(path))


def parse(text: str, source: str) -> Config:
    """Read and check TOML; `source` names it in the sentences of ConfigError."""
    return _checked(read_toml(text, source), source)


def with_names(config: Config, machine: str) -> Config:
    """Fill in what the file left to the machine: `server.hostname` and `bounce.domain`."""
    hostname = config.server.hostname or machine
    server = config.server.model_copy(update={"hostname": hostname})
    bounce = config.bounce.model_copy(update={"domain": config.bounce.domain or hostname})
    return config.model_copy(update={"server": server, "bounce": bounce})


def _checked(raw: dict[str, Any], source: str) -> Config:
    config, wrong = validated(Config, raw)
    told = [*wrong.values(), *_laws_broken(config, raw, wrong)]
    if told or config is None:
        raise ConfigError([f"{source}: {sentence}" for sentence in told])
    return _with_paths(config, os.environ)


def _laws_broken(config: Config | None, raw: dict[str, Any], wrong: Mapping[Where, str]) -> list[str]:
    """Ask the laws too where some values are wrong: of what is left, and not about what was left out."""
    if config is None:
        config, _ = validated(Config, without(raw, wrong))
    left_out = [str(where[1]) for where in wrong if len(where) > 1]
    return [law for law in (problems(config) if config else ()) if not any(key in law for key in left_out)]


def _with_paths(config: Config, environ: Mapping[str, str]) -> Config:
    """Make paths absolute, so that no part depends on where it was started."""
    state_dir = {"state_dir": config.server.state_dir.absolute()}
    tls = {key: _resolved(getattr(config.submission, key), environ) for key in ("tls_cert", "tls_key")}
    shaping = {"shaping": config.delivery.shaping and config.delivery.shaping.absolute()}
    return config.model_copy(
        update={
            "server": config.server.model_copy(update=state_dir),
            "submission": config.submission.model_copy(update=tls),
            "delivery": config.delivery.model_copy(update=shaping),
        }
    )


def _resolved(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is None:
        return None
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and str(path).startswith(_CREDENTIALS):
        return Path(folder, str(path).removeprefix(_CREDENTIALS))
    return path if str(path).startswith(_CREDENTIALS) else path.absolute()

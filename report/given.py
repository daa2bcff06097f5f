"""What the report server is built of and reloaded with: the configuration's sections, and what other rooms do for it.

Rule: one value, made anew by the front door for each configuration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from report.handed import Handed
from report.settings import WEBHOOKS, ReportSettings, WebhookSettings
from storage.people import Policy
from storage.posting import Mailing
from storage.settings import ServerSettings
from storage.store import Store

_NOTHING: Final = Handed()


@dataclass(frozen=True, slots=True)
class Given:
    """All that the front door gives; what has a default is not needed to serve pages."""

    settings: ReportSettings
    server: ServerSettings
    policy: Policy
    mailing: Callable[[Store], Mailing] | None = None
    """What makes posted mail ready; None: none is taken."""
    webhooks: WebhookSettings = WEBHOOKS
    handed: Handed = _NOTHING

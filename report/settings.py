"""Configuration of the report server: `[report]` and `[webhooks]`."""

from typing import Final

from pydantic import Field

from storage.settings import Bytes, ListenOn, NetworkOf, Seconds, Section


class ReportSettings(Section):
    """`[report]`: where the web pages are served, and how long a log-in lasts."""

    listen: tuple[ListenOn, ...] = ("127.0.0.1:8026",)  # type: ignore[assignment]  # read by the validator
    base_url: str = ""
    """How browsers reach the pages through a reverse proxy: "https://mail.example.org/telltale"; "": directly."""
    trusted_proxies: tuple[NetworkOf, ...] = ("127.0.0.0/8", "::1/128")  # type: ignore[assignment]
    """Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    session_idle: Seconds = 12 * 3600
    """Who does nothing for so long has to log in again."""
    session_lifetime: Seconds = 14 * 86400
    """And so does everybody after this."""
    max_upload_bytes: Bytes = 100 * 1024 * 1024
    """Of a form with files: a broadcast's message and recipients, contacts to be imported."""
    max_connections: int = Field(default=1000, ge=1)
    max_connections_per_client: int = Field(default=100, ge=1)
    """Of one network address (IPv6: of its /64), but for trusted proxies."""


class WebhookSettings(Section):
    """`[webhooks]`: where events may be sent, and until when that is tried."""

    allow_private: bool = False
    """Whether webhooks may be sent to loopback, private and link-local addresses."""
    stop_after: Seconds = 4 * 86400 - 3600
    """An endpoint that takes nothing for so long is sent nothing more, until it is enabled again; events are kept for
    four days."""
    timeout: Seconds = 15
    """How long an endpoint may take to answer."""


WEBHOOKS: Final = WebhookSettings()
"""The embedded default."""

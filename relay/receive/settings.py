"""Configuration of the listeners: `[submission]` and `[bounce]`."""

from pathlib import Path

from storage.settings import Bytes, ListenOn, NetworkOf, Seconds, Section


class SubmissionSettings(Section):
    """`[submission]`: where and from whom mail is taken."""

    listen: tuple[ListenOn, ...] = ("127.0.0.1:2525",)  # type: ignore[assignment]  # read by the validator
    """STARTTLS listeners (587 on a real host)."""
    tls_listen: tuple[ListenOn, ...] = ()
    """Implicit TLS listeners (465 on a real host)."""
    tls_cert: Path | None = None
    """PEM chain; without one, a self-signed certificate is made in the state directory."""
    tls_key: Path | None = None
    trusted_networks: tuple[NetworkOf, ...] = ("127.0.0.0/8", "::1/128")  # type: ignore[assignment]
    """Clients that may submit without AUTH."""
    max_message_bytes: Bytes = 50 * 1024 * 1024
    max_recipients: int = 1000
    """Recipients of one transaction; more get 452 4.5.3."""
    max_connections: int = 2000
    """Of one worker; more get 421 4.7.0."""
    max_connections_per_client: int = 200
    """Of one client address and worker."""
    max_bytes_in_flight: Bytes = 512 * 1024 * 1024
    """Content that all sessions of a worker may hold before it is stored; more get 452 4.3.1."""
    command_timeout: Seconds = 300
    """RFC 5321, 4.5.3.2.7: a server waits at least 5 minutes for the next command."""
    data_timeout: Seconds = 180
    """RFC 5321, 4.5.3.2.5: 3 minutes for each block of data."""


class BounceSettings(Section):
    """`[bounce]`: where bounce messages come back to."""

    listen: tuple[ListenOn, ...] = ("127.0.0.1:2526",)  # type: ignore[assignment]
    """Takes only mail to our signed return paths (port 25 on a real host)."""
    domain: str = ""
    """Domain of the return paths; "" means `server.hostname`. Its MX must point here."""
    max_message_bytes: Bytes = 25 * 1024 * 1024

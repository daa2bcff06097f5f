"""Configuration of the pixel server: `[pixel]`."""

from storage.settings import ListenOn, NetworkOf, Section


class PixelSettings(Section):
    """`[pixel]`: where images are served."""

    listen: tuple[ListenOn, ...] = ("127.0.0.1:8025",)  # type: ignore[assignment]  # read by the validator
    trusted_proxies: tuple[NetworkOf, ...] = ("127.0.0.0/8", "::1/128")  # type: ignore[assignment]
    """Reverse proxies whose X-Forwarded-For is believed."""

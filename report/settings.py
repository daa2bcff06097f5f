"""Configuration of the report server: `[report]`."""

from storage.settings import ListenOn, Section


class ReportSettings(Section):
    """`[report]`: where the web pages are served."""

    listen: tuple[ListenOn, ...] = ("127.0.0.1:8026",)  # type: ignore[assignment]  # read by the validator

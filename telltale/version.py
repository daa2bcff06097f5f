"""Which Telltale this is."""

from importlib.metadata import version


def version_line() -> str:
    """Return "telltale 1.2.3", as `telltale --version` prints it."""
    return f"telltale {version('telltale-relay')}"

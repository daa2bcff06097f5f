"""The parts of `telltale serve` by name."""

from enum import StrEnum


class PartName(StrEnum):
    """The parts that can run alone (`--only`)."""

    RELAY = "relay"
    PIXEL = "pixel"
    REPORT = "report"

"""Families of bounces, in order of authority; each in a file of its own."""

from typing import Final

from relay.bounce.families import aol, apache_james, fml, google_groups, kddi
from relay.bounce.families.family import Family

FAMILIES: Final[tuple[Family, ...]] = (
    google_groups.FAMILY,
    kddi.FAMILY,
    fml.MEMBERS,
    fml.LOOPS,
    apache_james.FAMILY,
    apache_james.VERIZON,
    aol.FAMILY,
)
"""Asked in this order, before the general reading."""

"""fml, a Japanese mailing list manager: refusals in its own words."""

import re

from relay.bounce.category import Category
from relay.bounce.families.family import Family

MEMBERS = Family(
    name="fml members",
    signs=("are not member", "you are not a member of this mailing list <"),
    recipient=re.compile(r"not a member of this mailing list <(?P<address>[^\s<>]{1,320})>"),
    category=Category.POLICY,
    action="failed",
)
LOOPS = Family(
    name="fml loops",
    signs=("loop alert", "in <"),
    recipient=re.compile(r"(?:Duplicated Message-ID|[Ll]oop[^<\n]{0,200}) in <(?P<address>[^\s<>]{1,320})>"),
    category=Category.SYSTEM,
    action="failed",
)

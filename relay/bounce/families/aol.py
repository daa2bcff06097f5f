"""AOL of old: screen names without a domain, and a reason before them."""

import re

from relay.bounce.families.family import Family

FAMILY = Family(
    name="AOL",
    signs=("mailer-daemon@aol.com", "your mail to the following recipients could not be delivered"),
    recipient=re.compile(r"^[ \t]+(?P<address>[\w.+-]{1,64}(?:@[\w.-]{1,253})?)[ \t]*$", re.MULTILINE),
    reason=re.compile(r"(?P<reason>[Yy]our mail to the following recipients[^\t]{1,800})"),
    domain="aol.com",
    action="failed",
)

"""KDDI (au one net, dion.ne.jp): a line that names the recipient, one that names the reason, no sender's marks."""

import re

from relay.bounce.families.family import Family

FAMILY = Family(
    name="KDDI",
    signs=("could not be delivered to: <", "your mail sent on:"),
    recipient=re.compile(r"[Cc]ould not be delivered to:\s{0,10}<(?P<address>[^\s<>]{1,320})>"),
    action="failed",
)

"""Apache James and mail-to-SMS gateways on it: "Error message below", then the envelope."""

import re

from relay.bounce.families.family import Family

FAMILY = Family(
    name="Apache James",
    signs=("error message below:", "rcpt to:"),
    recipient=re.compile(r"RCPT TO:\s{0,10}<?(?P<address>[^\s<>]{1,320})"),
    reason=re.compile(r"Error message below:\s{0,10}(?P<reason>[^\n]{1,1000})"),
    action="failed",
)
VERIZON = Family(
    name="Verizon",
    signs=("message could not be delivered to mobile", "rcpt to:"),
    recipient=re.compile(r"RCPT TO:\s{0,10}<?(?P<address>[^\s<>]{1,320})"),
    reason=re.compile(r"Error:\s{0,10}(?P<reason>[^\n]{1,1000})"),
    action="failed",
)

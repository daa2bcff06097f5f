"""The plans of the messages that are under way, as values: a stored plan is read once, and not where it was just made.

Rule: bounded, in number and in bytes; what is not here is read from what is stored.
"""

from collections import OrderedDict
from typing import Final

from relay.inject.splice import Plan

# So many cover the messages under way at once.
MOST: Final = 256
# One of more bytes holds the HTML of a long text: to read it again is little beside the copy that it is read for.
MOST_BYTES: Final = 32 * 1024


class Plans:
    """Plans by message id, the last ones that were met."""

    def __init__(self) -> None:
        self._plans: OrderedDict[int, Plan] = OrderedDict()

    def keep(self, message_id: int, plan: Plan, size: int) -> None:
        """Remember the plan, of `size` bytes when stored, of a message that will soon be composed."""
        if size > MOST_BYTES:
            return
        self._plans[message_id] = plan
        if len(self._plans) > MOST:
            self._plans.popitem(last=False)

    def of(self, message_id: int, stored: bytes) -> Plan:
        """Return the plan of a message that is stored in this form; raises PlanError."""
        plan = self._plans.get(message_id)
        if plan is None:
            plan = Plan.from_bytes(stored)
            self.keep(message_id, plan, len(stored))
        return plan

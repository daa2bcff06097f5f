"""The plans of the messages that are under way, as values: a stored plan is read once, and not where it was just made.

Rule: bounded; what is not here is read from what is stored.
"""

from collections import OrderedDict
from typing import Final

from relay.inject.splice import Plan

# Plans are small, but a broadcast shares one: so many cover the messages under way at once.
_MOST: Final = 256


class Plans:
    """Plans by message id, the last ones that were met."""

    def __init__(self) -> None:
        self._plans: OrderedDict[int, Plan] = OrderedDict()

    def keep(self, message_id: int, plan: Plan) -> None:
        """Remember the plan of a message that will soon be composed."""
        self._plans[message_id] = plan
        if len(self._plans) > _MOST:
            self._plans.popitem(last=False)

    def of(self, message_id: int, stored: bytes) -> Plan:
        """Return the plan of a message that is stored in this form; raises PlanError."""
        plan = self._plans.get(message_id)
        if plan is None:
            plan = Plan.from_bytes(stored)
            self.keep(message_id, plan)
        return plan

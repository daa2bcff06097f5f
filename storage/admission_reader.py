"""What would become of recipients if they were accepted now, as `Reader.admission`: for whoever wants to know first.

Rule: the same statement as in admission's verb, and the same order of reasons; nothing is written. It is an answer of
this moment: what is sent may be decided otherwise a moment later.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from storage import broadcast_ledger
from storage.address import address_key
from storage.admit_verb import HELD_BACK, Admitted, decided, held_of, held_values, met_before
from storage.logquery import Query
from storage.posting import Ready
from storage.status import Status


class AdmissionReader:
    """Judges by somebody's connection."""

    def __init__(self, ask: Callable[[Query], Awaitable[list[Any]]]) -> None:
        """Take what answers a query."""
        self._ask = ask

    async def decide(self, mail: Ready, *, fold: bool) -> list[Admitted]:
        """Return what would become of a message's recipients, in their order; `fold` as in `[contacts]`."""
        message, recipients = mail.message, mail.recipients
        typed = [(message.broadcast_type, new) for new in recipients] if message.broadcast_type else []
        values = held_values(recipients, typed, message.received_ms, fold=fold)
        ((lines,),) = await self._ask(Query(HELD_BACK, values))
        decisions = decided(recipients, held_of(json.loads(lines), recipients, typed), fold=fold)
        if not mail.once or not message.broadcast:
            return decisions
        keys = [address_key(new.address, fold=fold) for new in recipients]
        values = {"owner": message.user or "", "name": message.broadcast, "keys": json.dumps(keys)}
        met = {key for (key,) in await self._ask(Query(broadcast_ledger.MET, values))}
        return [
            met_before(message.broadcast) if one.status is Status.UNSENT and key in met else one
            for key, one in zip(keys, decisions, strict=True)
        ]

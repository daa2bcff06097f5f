"""The HTTP API: what programs ask and order, with the token of a user.

Rule: a module gives its OPERATIONS; one that is new is a line here. What an operation takes and gives are pydantic
models, and the OpenAPI document is made of the very same.
"""

from typing import Final

from report.api import (
    blocked,
    broadcast_send,
    broadcasts,
    contacts,
    document,
    events,
    log,
    messages,
    stats,
    token,
    unsubscribed,
    webhooks,
)
from report.api.operation import Operation, route
from report.asked import Route

OPERATIONS: Final[tuple[Operation, ...]] = (
    *messages.OPERATIONS,
    *log.OPERATIONS,
    *events.OPERATIONS,
    *broadcasts.OPERATIONS,
    *broadcast_send.OPERATIONS,
    *contacts.OPERATIONS,
    *unsubscribed.OPERATIONS,
    *blocked.OPERATIONS,
    *stats.OPERATIONS,
    *webhooks.OPERATIONS,
    *token.OPERATIONS,
)
ROUTES: Final[tuple[Route, ...]] = (*map(route, OPERATIONS), *document.routes(OPERATIONS))

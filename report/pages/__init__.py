"""The pages, a module each.

Rule: a module gives its routes and its entries of the navigation; a new page is a module and a line here.
"""

from typing import Final

from report.asked import Route
from report.html import NAV
from report.pages import (
    account,
    addresses,
    blocked,
    broadcasts,
    calling,
    contacts,
    export,
    imports,
    live,
    log,
    login,
    overview,
    reading,
    send,
    unsubscribed,
    users,
    webhooks,
)

_MODULES: Final = (
    overview,
    log,
    export,
    live,
    send,  # its addresses are below those of broadcasts: routes are tried in this order
    broadcasts,
    calling,
    reading,
    addresses,
    imports,
    contacts,
    unsubscribed,
    blocked,
    users,
    webhooks,
    login,
    account,
)
ROUTES: Final[tuple[Route, ...]] = tuple(route for module in _MODULES for route in module.ROUTES)
for module in (overview, log, broadcasts, reading, addresses, contacts, blocked, webhooks, users):
    NAV.extend(module.NAV)

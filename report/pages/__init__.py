"""The pages, a module each.

Rule: a module gives its routes and its entries of the navigation; a new page is a module and a line here.
"""

from typing import Final

from report.asked import Route
from report.html import NAV
from report.pages import account, blocked, contacts, export, imports, live, log, login, send, users

_MODULES: Final = (log, export, live, send, imports, contacts, blocked, users, login, account)
ROUTES: Final[tuple[Route, ...]] = tuple(route for module in _MODULES for route in module.ROUTES)
for module in (log, send, contacts, blocked, users):
    NAV.extend(module.NAV)

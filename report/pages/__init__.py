"""The pages, a module each.

Rule: a module gives its routes and its entries of the navigation; a new page is a module and a line here.
"""

from typing import Final

from report.asked import Route
from report.html import NAV
from report.pages import account, export, live, log, login

_MODULES: Final = (log, export, live, login, account)
ROUTES: Final[tuple[Route, ...]] = tuple(route for module in _MODULES for route in module.ROUTES)
NAV.extend(log.NAV)

"""How many files and sockets a part may have open: as many as the system lets it.

Rule: the soft limit is there for programs that use select(2), and is 1,024 on most systems; a relay of some
thousand sessions would meet it long before its own limits. Programs that do without select(2) raise it to
the hard limit (systemd's advice: https://0pointer.net/blog/file-descriptor-limits.html).
"""

import logging
import resource

from storage.kv import kv

_log = logging.getLogger("telltale.part")


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one; where that is refused, say so and go on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # ValueError: the system's own bound is below the hard limit
        _log.warning(kv(event="few-open-files", limit=soft, reason=error))

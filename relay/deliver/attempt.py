"""One attempt of one recipient on a connection: its copy, the transaction, what came of it.

Rule: whatever a message's own bytes do to our code, it is this recipient's trouble alone.
"""

import logging
from typing import Final

from relay.deliver.client import Extensions, Transaction
from relay.deliver.connect import Connection
from relay.deliver.copy import Copy
from relay.deliver.dsn import NOTHING, parameters
from relay.deliver.means import Means
from relay.deliver.reply import ours
from relay.deliver.settings import DeliveredOn
from storage.kv import kv
from storage.model import Attempt, Job, Phase, Reply, queue_id

_CLOSING: Final = 421

_log: Final = logging.getLogger("telltale.deliver")


async def attempted(means: Means, job: Job, connection: Connection, delivered_on: DeliveredOn) -> Attempt:
    """Return the attempt; one without an MX host is our own trouble, no server had a part in it."""
    began_ms, began = means.now_ms(), means.clock()
    offered, asked = connection.session.extensions, NOTHING
    copy = await _copy(means, job, offered)
    if isinstance(copy, Reply):
        if (copy.enhanced or "").startswith("4."):
            return Attempt(began_ms, 0, Phase.CONTENT, copy)
        server = connection.host, connection.address, connection.tls
        return Attempt(began_ms, 0, Phase.CONTENT, copy, *server, source=connection.source)
    if offered.dsn:
        asked = parameters(job, copy.return_path, delivered_on, smtputf8=offered.smtputf8)
    transaction = Transaction(copy.return_path, job.address, copy.content, job.message.smtputf8, *asked)
    connection.used += 1
    means.tally.used(connection, job)
    outcome = await connection.session.start(transaction)
    if connection.used == 1:
        connection.keep_tls_session()
    return Attempt(
        began_ms,
        round((means.clock() - began) * 1000),
        outcome.phase,
        outcome.reply,
        connection.host,
        connection.address,
        connection.tls,
        outcome.in_doubt,
        dsn_passed=offered.dsn,
        source=connection.source,
    )


async def _copy(means: Means, job: Job, offered: Extensions) -> Copy | Reply:
    """Return the recipient's copy, or our words why there is none: now (4.x.x), or for this server (5.x.x)."""
    try:
        content = means.contents.at_hand(job)
        if content is None:
            content = await means.contents.get(job)
        if content is None:
            # We hold the lease, so nobody has ended the recipient: a bug or damage of ours, which no retry mends.
            _log.error(kv(event="content-missing", queue_id=queue_id(job.message.id), to=job.address))
            return ours("5.3.0", "the content of the message is missing in the store, so that it cannot be sent")
        made = means.compose(job, content, offered)
        return made if isinstance(made, Copy | Reply) else await made
    except Exception:  # noqa: BLE001 - see below
        # The one place where a message's own bytes meet our code: whatever they do to it, the worker,
        # the connection and the other recipients go on, and this one is tried again.
        _log.exception(kv(event="no-copy", queue_id=queue_id(job.message.id), to=job.address))
        return ours("4.3.0", "the copy could not be made; the log of the relay says why")


def was_stale(connection: Connection, attempt: Attempt) -> bool:
    """Return whether a used connection had ended between two messages, with or without 421: no answer to the next."""
    return connection.used > 1 and attempt.phase is Phase.MAIL and attempt.reply.code in {0, _CLOSING}

"""The verb of messages that come by the HTTP API.

Rule: a key's answer is written in the transaction that stores the message: whatever is killed, the same request gets
the same answer, and its message is sent once.
"""

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from storage import large, queue_verbs
from storage.posting import KEPT_MS, KeyUsedError, Posted, PostedRecipient, PostKey
from storage.queue_verbs import Acceptance
from storage.statements import Keys, clean
from storage.status import Status
from storage.transaction import Transaction

KNOWN: Final = "SELECT digest, answer FROM posted WHERE user = ? AND key = ? AND at_ms > ?"
_DECIDED: Final = Keys(
    "SELECT json_group_array(json_array(id, address, status, diagnostic)) FROM recipient WHERE id IN ({})"
)
_KEEP: Final = "INSERT OR REPLACE INTO posted (user, key, digest, at_ms, answer) VALUES (?,?,?,?,?)"
# Some more than one at a time, so that a burst is forgotten too.
_FORGET: Final = (
    "DELETE FROM posted WHERE (user, key) IN (SELECT user, key FROM posted WHERE at_ms <= ? ORDER BY at_ms LIMIT 8)"
)


def known(row: tuple[bytes, str], key: PostKey) -> Posted:
    """Return the answer of a row of KNOWN; raises KeyUsedError where it is one to another request."""
    digest, answer = row
    if bytes(digest) != key.digest:
        raise KeyUsedError
    message_id, recipients = json.loads(answer)
    return Posted(message_id, tuple(_recipient(*one) for one in recipients), again=True)


def post(transaction: Transaction, wanted: Sequence[tuple[Acceptance, PostKey | None]]) -> list[Posted | KeyUsedError]:
    """Store messages, each with the answer to its key; one whose key is known is not stored."""
    return [_post(transaction, acceptance, key) for acceptance, key in wanted]


def _post(transaction: Transaction, acceptance: Acceptance, key: PostKey | None) -> Posted | KeyUsedError:
    if key is not None:
        values = clean(key.user), clean(key.key), key.now_ms - KEPT_MS
        found = transaction.connection.execute(KNOWN, values).fetchone()
        if found is not None:
            _forget_file(transaction, acceptance)
            try:
                return known(found, key)
            except KeyUsedError as error:
                return error
    queue_verbs.accept(transaction, [acceptance])
    decided = {one[0]: one for one in _DECIDED.read(transaction.connection, [new.id for new in acceptance.recipients])}
    rows = [decided[new.id] for new in acceptance.recipients]
    if key is not None:
        answer = json.dumps([acceptance.message.id, rows])
        transaction.connection.execute(_KEEP, (clean(key.user), clean(key.key), key.digest, key.now_ms, answer))
        transaction.connection.execute(_FORGET, (key.now_ms - KEPT_MS,))
    return Posted(acceptance.message.id, tuple(_recipient(*row) for row in rows))


def _recipient(id_: int, address: str, status: str, why: str) -> PostedRecipient:
    return PostedRecipient(id_, address, Status(status), why)


def _forget_file(transaction: Transaction, acceptance: Acceptance) -> None:
    if acceptance.file:
        transaction.after.append(partial(large.remove, transaction.place.state_dir, acceptance.file))

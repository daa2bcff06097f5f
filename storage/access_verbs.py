"""The verbs of who may come in: users, their sessions and API tokens, and the link that makes the first admin.

Rule: who loses a password or is removed loses sessions, and who is removed tokens, in the same transaction.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from storage.access import ApiToken, Role, Session
from storage.model import User
from storage.statements import clean
from storage.transaction import Transaction
from storage.webhook_verbs import OF_ONE

# Browsers that forget their cookies log in again and again: of one user's sessions the newest are kept.
_MOST_SESSIONS: Final = 50


def add_users(transaction: Transaction, wanted: Sequence[User]) -> list[bool]:
    """Insert users; False where the name is taken."""
    return [_add_user(transaction, user) for user in wanted]


def _add_user(transaction: Transaction, user: User) -> bool:
    sql = "INSERT INTO user (name,password_hash,senders,created_ms,role) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING"
    values = clean(user.name), user.password_hash, json.dumps(user.senders), user.created_ms, user.role.value
    return transaction.connection.execute(sql, values).rowcount == 1


Change = tuple[str, str | None, tuple[str, ...] | None, Role | None, str | None]
"""Name, password hash, senders, role and answers of a user; None: as it is."""


def set_users(transaction: Transaction, wanted: Sequence[Change]) -> list[bool]:
    """Change what is not None; False where there is no such user."""
    return [_set_user(transaction, *change) for change in wanted]


def _set_user(
    transaction: Transaction,
    name: str,
    hash_: str | None,
    senders: tuple[str, ...] | None,
    role: Role | None,
    answers: str | None,
) -> bool:
    sql = (
        "UPDATE user SET password_hash=ifnull(?,password_hash), senders=ifnull(?,senders), role=ifnull(?,role),"
        " answers=ifnull(?,answers) WHERE name=?"
    )
    listed = None if senders is None else json.dumps(senders)
    values = hash_, listed, role and role.value, answers, clean(name)
    if transaction.connection.execute(sql, values).rowcount != 1:
        return False
    if hash_ is not None:
        transaction.connection.execute("DELETE FROM session WHERE user=?", (clean(name),))
    return True


def remove_users(transaction: Transaction, wanted: Sequence[str]) -> list[bool]:
    """Delete users by name, with their sessions, tokens and webhooks; False where there is no such user."""
    return [_remove_user(transaction, clean(name)) for name in wanted]


def _remove_user(transaction: Transaction, name: str) -> bool:
    run = transaction.connection.execute
    for table in ("session", "api_token", "webhook"):
        run(f"DELETE FROM {table} WHERE user=?", (name,))  # noqa: S608 - our own words
    for table in OF_ONE:
        run(f"DELETE FROM {table} WHERE webhook NOT IN (SELECT id FROM webhook)")  # noqa: S608 - our own words
    return run("DELETE FROM user WHERE name=?", (name,)).rowcount == 1


Begun = tuple[Session, str, int, int]
"""A session, the hash of the password that was proven, and before when sessions made or last seen are forgotten."""


def begin_sessions(transaction: Transaction, wanted: Sequence[Begun]) -> list[bool]:
    """Insert sessions, and forget old ones and a user's oldest.

    False where the user has another password by now, or is gone: whoever changed it ended all sessions, and none that
    was being made then may outlive that.
    """
    return [_begin_session(transaction, *begun) for begun in wanted]


def _begin_session(
    transaction: Transaction, session: Session, password_hash: str, made_before_ms: int, seen_before_ms: int
) -> bool:
    run = transaction.connection.execute
    run("DELETE FROM session WHERE made_ms < ? OR seen_ms < ?", (made_before_ms, seen_before_ms))
    oldest = "SELECT hash FROM session WHERE user=? ORDER BY made_ms DESC LIMIT -1 OFFSET ?"
    run(f"DELETE FROM session WHERE hash IN ({oldest})", (clean(session.user), _MOST_SESSIONS - 1))  # noqa: S608
    sql = (
        "INSERT INTO session (hash,user,made_ms,seen_ms,client,agent)"
        " SELECT ?,name,?,?,?,? FROM user WHERE name=? AND password_hash=?"
    )
    values = (
        session.hash,
        session.made_ms,
        session.seen_ms,
        clean(session.client),
        clean(session.agent),
        clean(session.user),
        password_hash,
    )
    return run(sql, values).rowcount == 1


def see_sessions(transaction: Transaction, wanted: Sequence[tuple[bytes, int]]) -> list[None]:
    """Note when sessions were used."""
    transaction.connection.executemany(
        "UPDATE session SET seen_ms=max(seen_ms,?2) WHERE hash=?1", [(hash_, at_ms) for hash_, at_ms in wanted]
    )
    return [None] * len(wanted)


def end_sessions(transaction: Transaction, wanted: Sequence[bytes | str]) -> list[int]:
    """Delete a session by its hash, or all of a user's by the name; the answers are how many."""
    return [
        transaction.connection.execute(
            "DELETE FROM session WHERE user=?" if isinstance(which, str) else "DELETE FROM session WHERE hash=?",
            (clean(which) if isinstance(which, str) else which,),
        ).rowcount
        for which in wanted
    ]


def add_tokens(transaction: Transaction, wanted: Sequence[ApiToken]) -> list[bool]:
    """Insert API tokens; False where there is no such user, or one of the same prefix."""
    return [_add_token(transaction, token) for token in wanted]


def _add_token(transaction: Transaction, token: ApiToken) -> bool:
    sql = (
        "INSERT INTO api_token (hash,prefix,user,name,scopes,made_ms,expires_ms)"
        " SELECT ?,?,name,?,?,?,? FROM user WHERE name=? ON CONFLICT DO NOTHING"
    )
    values: tuple[Any, ...] = (
        token.hash,
        token.prefix,
        clean(token.name),
        json.dumps(sorted(token.scopes)),
        token.made_ms,
        token.expires_ms,
        clean(token.user),
    )
    return transaction.connection.execute(sql, values).rowcount == 1


def see_tokens(transaction: Transaction, wanted: Sequence[tuple[bytes, int]]) -> list[None]:
    """Note when API tokens were used."""
    transaction.connection.executemany(
        "UPDATE api_token SET used_ms=?2 WHERE hash=?1", [(hash_, at_ms) for hash_, at_ms in wanted]
    )
    return [None] * len(wanted)


def remove_tokens(transaction: Transaction, wanted: Sequence[str]) -> list[bool]:
    """Delete API tokens by their prefix; False where there is none."""
    sql = "DELETE FROM api_token WHERE prefix=?"
    return [transaction.connection.execute(sql, (clean(prefix),)).rowcount == 1 for prefix in wanted]


def remove_tokens_of(transaction: Transaction, wanted: Sequence[str]) -> list[int]:
    """Delete all API tokens of users; the answers are how many there were."""
    sql = "DELETE FROM api_token WHERE user=?"
    return [transaction.connection.execute(sql, (clean(name),)).rowcount for name in wanted]


_NO_ADMIN: Final = "NOT EXISTS (SELECT 1 FROM user WHERE role='admin')"


def make_setup_links(transaction: Transaction, wanted: Sequence[tuple[bytes, int]]) -> list[bool]:
    """Let links (hash, until when) make the first admin, in place of all earlier ones; False: there is an admin."""
    answers = []
    for hash_, expires_ms in wanted:
        transaction.connection.execute("DELETE FROM setup_link")
        sql = f"INSERT INTO setup_link (hash,expires_ms) SELECT ?,? WHERE {_NO_ADMIN}"
        answers.append(transaction.connection.execute(sql, (hash_, expires_ms)).rowcount == 1)
    return answers


def use_setup_links(transaction: Transaction, wanted: Sequence[tuple[bytes, int, User]]) -> list[bool | None]:
    """Make the first admin (hash of the link, now, user), once; None: no such link; False: the name is taken."""
    answers: list[bool | None] = []
    for hash_, now_ms, user in wanted:
        sql = f"SELECT 1 FROM setup_link WHERE hash=? AND expires_ms > ? AND {_NO_ADMIN}"  # noqa: S608 - our own words
        if transaction.connection.execute(sql, (hash_, now_ms)).fetchone() is None:
            answers.append(None)
            continue
        answers.append(_add_user(transaction, user))
        if answers[-1]:
            transaction.connection.execute("DELETE FROM setup_link")
    return answers

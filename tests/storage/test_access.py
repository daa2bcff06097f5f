"""storage/access.py, access_verbs.py: roles, sessions, tokens, and the link of the first admin."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.access import SCOPES, TOKEN, ApiToken, Role, Scope, Session, Visitor, hashed
from storage.model import User
from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store

HOUR = 3_600_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path, POLICY)
    await store.add_user(User("ann", "hash", (), 0, Role.VIEWER))
    yield store
    await store.close()


@pytest.fixture
async def reader(store: Store, tmp_path: Path) -> AsyncIterator[Reader]:
    reader = await Reader.open(tmp_path)
    yield reader
    await reader.close()


def session(name: str, user: str = "ann", at_ms: int = 0) -> Session:
    return Session(hashed(name), user, at_ms, at_ms, "192.0.2.1", "Browser\0\ud800")


async def began(store: Store, *sessions: Session) -> None:
    for one in sessions:
        assert await store.begin_session(one, "hash", made_before_ms=0, seen_before_ms=0)


def token(name: str, user: str = "ann") -> ApiToken:
    return ApiToken(hashed(name), name, user, "reports", frozenset({Scope.LOG_READ}), 7)


def test_every_role_has_scopes_and_only_an_admin_has_all() -> None:
    assert set(SCOPES) == set(Role)
    assert [role for role in Role if SCOPES[role] == frozenset(Scope)] == [Role.ADMIN]


def test_a_sender_sees_own_mail_only() -> None:
    assert [Visitor("ann", role, SCOPES[role]).own for role in Role] == [None, "ann", None]
    viewer = Visitor("ann", Role.VIEWER, SCOPES[Role.VIEWER])
    assert viewer.may(Scope.LOG_READ)
    assert not viewer.may(Scope.USERS)


def test_a_token_has_a_form_that_is_told_from_others() -> None:
    assert TOKEN.fullmatch("tt_" + "a" * 40)
    assert not TOKEN.fullmatch("tt_" + "a" * 39)


async def test_a_user_has_a_role_that_may_change(store: Store, reader: Reader) -> None:
    assert (await reader.user("ann")).role is Role.VIEWER  # type: ignore[union-attr]
    assert not await reader.has_admin()
    assert await store.set_user("ann", role=Role.ADMIN)
    assert await reader.has_admin()
    assert not await store.set_user("bob", role=Role.ADMIN)
    assert (await reader.user("ann")).password_hash == "hash"  # type: ignore[union-attr]


async def test_a_session_is_found_by_its_hash_noted_and_ended(store: Store, reader: Reader) -> None:
    await began(store, session("one", at_ms=5), session("two", at_ms=9))
    await store.see_session(hashed("one"), 50)
    await store.see_session(hashed("one"), 40)
    found = await reader.session(hashed("one"))
    assert found is not None
    assert (found.user, found.made_ms, found.seen_ms, found.agent) == ("ann", 5, 50, "Browser\ufffd\ufffd")
    assert [one.made_ms for one in await reader.sessions_of("ann")] == [9, 5]
    await store.end_session(hashed("one"))
    assert await reader.session(hashed("one")) is None
    assert await store.end_sessions_of("ann") == 1
    assert await reader.sessions_of("ann") == []


async def test_old_sessions_are_forgotten_and_a_user_has_a_bounded_number(store: Store, reader: Reader) -> None:
    await store.add_user(User("bob", "hash", (), 0))
    await began(store, session("old"), session("bob's", "bob", HOUR))
    await store.begin_session(session("new", at_ms=2 * HOUR), "hash", made_before_ms=1, seen_before_ms=0)
    assert [one.made_ms for one in await reader.sessions_of("ann")] == [2 * HOUR]
    await began(store, *[session(str(number), at_ms=number + 3 * HOUR) for number in range(60)])
    kept = await reader.sessions_of("ann")
    assert len(kept) == 50
    assert kept[0].made_ms == 59 + 3 * HOUR
    assert len(await reader.sessions_of("bob")) == 1


async def test_another_password_ends_sessions_and_another_role_does_not(store: Store, reader: Reader) -> None:
    await began(store, session("one"))
    await store.set_user("ann", role=Role.SENDER)
    assert await reader.session(hashed("one"))
    await store.set_user("ann", password_hash="other")
    assert await reader.session(hashed("one")) is None


async def test_a_session_that_was_being_made_when_the_password_changed_is_none(store: Store, reader: Reader) -> None:
    """Who changes a stolen password ends all sessions: one of the old password cannot come to life after that."""
    await store.set_user("ann", password_hash="other")
    for user in ("ann", "nobody"):
        assert not await store.begin_session(session("late", user), "hash", made_before_ms=0, seen_before_ms=0)
    assert await reader.session(hashed("late")) is None


async def test_tokens_belong_to_a_user_and_go_with_it(store: Store, reader: Reader) -> None:
    assert await store.add_token(token("tt_one"))
    assert not await store.add_token(token("tt_one"))
    assert not await store.add_token(token("tt_two", "nobody"))
    await store.see_token(hashed("tt_one"), 99)
    found = await reader.token(hashed("tt_one"))
    assert found is not None
    assert (found.prefix, found.scopes, found.used_ms) == ("tt_one", {Scope.LOG_READ}, 99)
    assert await reader.token(hashed("tt_two")) is None
    assert [one.prefix for one in await reader.tokens()] == ["tt_one"]
    assert await reader.tokens("bob") == []
    assert await store.remove_token("tt_one")
    assert not await store.remove_token("tt_one")
    await store.add_token(token("tt_two"))
    await began(store, session("one"))
    assert await store.remove_user("ann")
    assert (await reader.tokens(), await reader.sessions_of("ann")) == ([], [])


async def test_a_link_makes_one_admin_where_there_is_none(store: Store, reader: Reader) -> None:
    root = User("root", "hash", (), 0, Role.ADMIN)
    assert await store.make_setup_link(hashed("first"), 100)
    assert await store.make_setup_link(hashed("second"), 100)
    assert await store.use_setup_link(hashed("first"), 50, root) is None
    assert await store.use_setup_link(hashed("second"), 100, root) is None
    assert not await reader.has_setup_link(hashed("second"), 100)
    assert await reader.has_setup_link(hashed("second"), 99)
    assert await store.use_setup_link(hashed("second"), 50, User("ann", "x", (), 0, Role.ADMIN)) is False
    assert await store.use_setup_link(hashed("second"), 50, root) is True
    assert await store.use_setup_link(hashed("second"), 50, User("eve", "x", (), 0, Role.ADMIN)) is None
    assert not await store.make_setup_link(hashed("third"), 1000)
    assert not await reader.has_setup_link(hashed("third"), 1)

"""relay/receive/auth.py: who is who, at a cost that tells nothing."""

import asyncio
import time
from dataclasses import replace

import pytest

from relay.receive import replies
from relay.receive.auth import Authenticator
from storage import passwords
from storage.access import Role
from storage.model import User
from storage.passwords import hash_password
from tests.receive.conftest import CHEAP


class Table:
    """Users in memory: the store's side of the seam."""

    def __init__(self, *users: User) -> None:
        self.users = {user.name: user for user in users}
        self.asked = 0

    async def user(self, name: str) -> User | None:
        self.asked += 1
        return self.users.get(name)


ANN = User("ann", CHEAP.hash("secret"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were verified against a hash, as they are."""
    verified: list[str] = []
    matches = passwords._matches

    def counting(stored: str, password: str) -> bool:
        verified.append(password)
        return matches(stored, password)

    monkeypatch.setattr(passwords, "_matches", counting)
    return verified


async def test_the_right_password_gives_the_user() -> None:
    assert await Authenticator(Table(ANN)).verify("ann", "secret") == ANN


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("nobody", "secret"),
        ("", ""),
        ("ann", "x" * 2000),
        ("x" * 2000, "secret"),
        ("ann\0", "secret"),
    ],
)
async def test_anything_else_is_refused_alike(name: str, password: str) -> None:
    assert await Authenticator(Table(ANN)).verify(name, password) is replies.WRONG_CREDENTIALS


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$broken", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"])
async def test_a_broken_hash_matches_nothing(stored: str) -> None:
    assert await Authenticator(Table(replace(ANN, password_hash=stored))).verify("ann", "") is replies.WRONG_CREDENTIALS


async def test_a_hash_of_our_own_making() -> None:
    hashed = hash_password("pass wörd")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    user = User("ann", hashed)
    assert await Authenticator(Table(user)).verify("ann", "pass wörd") == user


async def test_an_unknown_name_costs_what_a_known_one_costs() -> None:
    """Or the time would tell who is a user."""
    authenticator = Authenticator(Table(User("ann", hash_password("secret"))))
    costs = {}
    for name in ("ann", "nobody"):
        begun = time.perf_counter()
        await authenticator.verify(name, "wrong")
        costs[name] = time.perf_counter() - begun
    assert 0.2 < costs["nobody"] / costs["ann"] < 5


async def test_a_proven_password_is_not_computed_again(counted: list[str]) -> None:
    now = 0.0
    authenticator = Authenticator(Table(ANN), lambda: now)
    for _ in range(3):
        assert await authenticator.verify("ann", "secret") == ANN
    assert counted == ["secret"]
    now = 301.0
    assert await authenticator.verify("ann", "secret") == ANN
    assert counted == ["secret", "secret"]


async def test_a_wrong_password_is_computed_each_time(counted: list[str]) -> None:
    authenticator = Authenticator(Table(ANN))
    for _ in range(2):
        assert await authenticator.verify("ann", "wrong") is replies.WRONG_CREDENTIALS
    assert counted == ["wrong", "wrong"]


async def test_a_changed_or_removed_password_counts_at_once() -> None:
    table = Table(ANN)
    authenticator = Authenticator(table)
    assert await authenticator.verify("ann", "secret") == ANN
    table.users["ann"] = replace(ANN, password_hash=CHEAP.hash("other"))
    assert await authenticator.verify("ann", "secret") is replies.WRONG_CREDENTIALS
    assert await authenticator.verify("ann", "other") == table.users["ann"]
    del table.users["ann"]
    assert await authenticator.verify("ann", "other") is replies.WRONG_CREDENTIALS


async def test_changed_senders_count_at_once() -> None:
    table = Table(ANN)
    authenticator = Authenticator(table)
    await authenticator.verify("ann", "secret")
    table.users["ann"] = replace(ANN, senders=("@a.example",))
    assert await authenticator.verify("ann", "secret") == table.users["ann"]


async def test_no_password_is_kept() -> None:
    authenticator = Authenticator(Table(ANN))
    await authenticator.verify("ann", "secret")
    assert "secret" not in repr(vars(authenticator))
    assert all(b"secret" not in proof for proof in authenticator._passwords._proven)


async def test_many_sessions_with_one_password_compute_it_once(counted: list[str]) -> None:
    authenticator = Authenticator(Table(ANN))
    users = await asyncio.gather(*[authenticator.verify("ann", "secret") for _ in range(50)])
    assert users == [ANN] * 50
    assert counted == ["secret"]


async def test_one_that_goes_away_does_not_stop_the_others() -> None:
    authenticator = Authenticator(Table(User("ann", hash_password("secret"))))
    first, second = (asyncio.create_task(authenticator.verify("ann", "secret")) for _ in range(2))
    while not authenticator._passwords._running:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, User)


async def test_past_a_bound_others_are_asked_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_MAX_WAITING", 3)
    authenticator = Authenticator(Table(ANN))
    answers = await asyncio.gather(*[authenticator.verify("ann", f"wrong {number}") for number in range(5)])
    assert answers == [replies.WRONG_CREDENTIALS] * 3 + [replies.AUTH_BUSY] * 2


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_REMEMBERED", 3)
    users = [User(f"user{number}", CHEAP.hash("secret")) for number in range(5)]
    authenticator = Authenticator(Table(*users))
    for user in users:
        assert await authenticator.verify(user.name, "secret") == user
    assert len(authenticator._passwords._proven) == 3


async def test_a_viewer_may_read_and_not_send() -> None:
    viewer = replace(ANN, role=Role.VIEWER)
    assert await Authenticator(Table(viewer)).verify("ann", "secret") is replies.READS_ONLY
    assert await Authenticator(Table(viewer)).verify("ann", "wrong") is replies.WRONG_CREDENTIALS

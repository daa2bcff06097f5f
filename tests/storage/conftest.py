"""Fixtures of the store's tests: a store in a directory of its own, and a reader of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path, POLICY)
    yield opened
    await opened.close()


@pytest.fixture
async def reader(store: Store, tmp_path: Path) -> AsyncIterator[Reader]:
    opened = await Reader.open(tmp_path)
    yield opened
    await opened.close()

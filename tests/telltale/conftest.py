"""What the tests of the front door share."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Commands narrow the umask of their process; here that is the tests' own."""
    before = os.umask(0o022)
    yield
    os.umask(before)

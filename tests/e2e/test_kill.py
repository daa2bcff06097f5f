"""Law 1: no message is lost at any kill -9, and none comes twice but where a reply after the dot was lost."""

import random
from collections.abc import Callable

import pytest

from tests.peers import keeper, killing
from tests.peers.smtp import free_port
from tests.peers.telltale import Telltale

pytestmark = pytest.mark.e2e

MESSAGES = 40


@pytest.mark.parametrize("seed", range(2))
def test_what_was_acknowledged_arrives_whatever_is_killed(make_telltale: Callable[..., Telltale], seed: int) -> None:
    """Workers and the whole tree are killed at random points of a load, and all 250s are kept promises."""
    port = free_port()
    mailbox = keeper.Keeper()
    sink = keeper.start(mailbox, "127.0.0.1", port)
    try:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}')
        outcome = killing.run_load(telltale, mailbox, random.Random(seed), messages=MESSAGES)
        assert outcome.lost == 0
        assert outcome.acknowledged == killing.CLIENTS * MESSAGES
        assert outcome.kills > 0
        # What a killed process had in flight, and no more.
        assert outcome.twice <= outcome.kills * killing.CLIENTS
    finally:
        sink.stop()

"""Copies: whatever is wrong with a plan, the message itself goes out, and our log says so."""

import logging

import pytest

from relay.inject.plan import InjectOptions, Plan, plan_message
from storage.untracked import UntrackedReason
from tests.inject.messages import html
from tests.relay.test_sign import composing, job

CONTENT = html(b"<p>Hello</p>\r\n")
PLAN = plan_message(CONTENT, InjectOptions())


@pytest.mark.parametrize(
    "stored",
    [
        b"\xff a later version",
        PLAN.to_bytes()[:-3],
        Plan(None, PLAN.edits, PLAN.size + 1, PLAN.checksum).to_bytes(),
        Plan(None, (), PLAN.size, PLAN.checksum).to_bytes(),
        Plan(UntrackedReason.SIGNED, PLAN.edits, PLAN.size, PLAN.checksum).to_bytes(),
    ],
)
def test_a_plan_that_cannot_be_used_costs_the_image_and_not_the_message(
    stored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "telltale.relay"):
        copy = composing()(job(CONTENT, stored), CONTENT)
    assert copy.content.endswith(CONTENT)
    assert b"<img" not in copy.content
    assert "event=our-bug" in caplog.text

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.why import why
from storage.model import LogRow
from storage.status import Status
from tests.report.mailing import a_row


def row(status: Status, **more: object) -> LogRow:
    return a_row(status=status, **more)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (row(Status.UNSENT, attempts=0), "not tried yet"),
        (row(Status.UNSENT, attempts=1), ""),
        (row(Status.UNSENT, attempts=0, held=True), "held; not tried yet"),
        (row(Status.SOFT_BOUNCED, code=452, enhanced_status="4.2.2"), "the mailbox is full (452 4.2.2)"),
        (row(Status.SENT, mx="relay.test"), "handed over to relay.test"),
        (row(Status.SENT), "handed over"),
        (row(Status.DELIVERED, mx="mx.test"), "taken by mx.test"),
        (row(Status.DELIVERED), "taken by the recipient's server"),
        (
            row(Status.DELIVERED, mx="mx.test", late="bounced later: 5.1.1 gone"),
            "taken by mx.test; bounced later: 5.1.1 gone",
        ),
        (
            row(Status.DELIVERED, mx="mx.test", tracked=False, untracked_reason="encrypted"),
            "taken by mx.test; not tracked: the message is encrypted",
        ),
        (row(Status.SENT, tracked=False), "handed over; not tracked: no reason known"),
        (
            row(Status.DELIVERED, mx="mx.test", machine_hits=2),
            "taken by mx.test; 2 hits of machines, none of a person",
        ),
        (row(Status.OPENED, opens=1, machine_hits=2), "1 open"),
        (row(Status.OPENED, opens=3, late="bounced later: 5.1.1"), "3 opens; bounced later: 5.1.1"),
        (row(Status.FAILED, code=550, enhanced_status="5.1.1"), "no such user (550 5.1.1)"),
        (row(Status.FAILED, tracked=False, untracked_reason="signed"), "the address is not valid"),
        (row(Status.BOUNCED, code=554, enhanced_status="5.7.23"), "SPF does not allow our server (554 5.7.23)"),
        (row(Status.BOUNCED), "could not be delivered"),
        (
            row(Status.BOUNCED, code=452, enhanced_status="4.2.2", attempts=40),
            "gave up after 40 attempts: the mailbox is full (452 4.2.2)",
        ),
        (
            row(Status.BOUNCED, enhanced_status="4.4.1", diagnostic="connection refused"),
            "gave up after 1 attempt: connection refused (4.4.1)",
        ),
        (
            row(Status.BOUNCED, diagnostic="removed from the queue by the operator"),
            "removed from the queue by the operator",
        ),
        (row(Status.BLOCKED), "on the Blocked Email list"),
        (row(Status.BLOCKED, diagnostic="complained in May"), "complained in May"),
        (row(Status.DUPLICATE), "met before in the same broadcast"),
        (row(Status.NO_EMAIL_SELECTED), "no address for this type of broadcast"),
    ],
)
def test_every_status_says_why(told: LogRow, words: str) -> None:
    assert why(told) == words


@given(
    st.sampled_from(list(Status)),
    st.none() | st.integers(0, 999),
    st.none() | st.text(max_size=20),
    st.text(max_size=300),
    st.none() | st.text(max_size=50),
)
def test_whatever_a_server_says_is_told_in_one_clean_line(
    status: Status, code: int | None, enhanced: str | None, text: str, mx: str | None
) -> None:
    words = why(row(status, code=code, enhanced_status=enhanced, diagnostic=text, mx=mx, late=text))
    assert words.isprintable()

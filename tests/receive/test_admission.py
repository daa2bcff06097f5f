"""relay/receive/admission.py: what becomes of a recipient before anything is sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.receive.address import Address
from relay.receive.admission import Facts, admit
from storage.status import PENDING, Status

A = Address("a", "b.example")


@pytest.mark.parametrize(
    ("seen", "facts", "status"),
    [
        (set(), Facts(), Status.UNSENT),
        ({"A@b.example"}, Facts(), Status.UNSENT),
        ({"a@b.example"}, Facts(), Status.DUPLICATE),
        (set(), Facts(blocked="complained"), Status.BLOCKED),
        ({"a@b.example"}, Facts(blocked="complained"), Status.BLOCKED),
        (set(), Facts(no_email="no address for general"), Status.NO_EMAIL_SELECTED),
        ({"a@b.example"}, Facts("complained", "no address for general"), Status.NO_EMAIL_SELECTED),
    ],
)
def test_admission(seen: set[str], facts: Facts, status: Status) -> None:
    admitted = admit(A, seen, facts)
    assert admitted.status is status
    assert (admitted.diagnostic == "") is (status is Status.UNSENT)


@given(st.lists(st.sampled_from(["a", "A", '"a"', "b"])), st.sampled_from(["x.example", "y.example"]))
def test_of_all_ways_to_write_a_mailbox_exactly_one_is_sent(locals_: list[str], domain: str) -> None:
    seen: set[str] = set()
    sent = []
    for local in locals_:
        address = Address(local, domain)
        if admit(address, seen).status in PENDING:
            sent.append(address.key)
        seen.add(address.key)
    assert sorted(sent) == sorted(seen)

"""relay/deliver/dsn.py: what a sender asked for goes on as it came, in a form that the next hop may be given."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.dsn import original_recipient, parameters
from relay.deliver.settings import DeliveredOn
from relay.receive.arguments import RcptTo, parse_rcpt
from storage.model import BodyType, Job, Message
from storage.status import Status

MX, DSN = DeliveredOn.MX, DeliveredOn.DSN
MESSAGE = Message(1, 0, "ann@a.example", BodyType.SEVEN_BIT, smtputf8=False, size=1, plan=b"")
JOB = Job(MESSAGE, 2, "bob@b.example", "b.example", Status.UNSENT, 0, 0, 0)


@pytest.mark.parametrize(
    ("on", "return_path", "notify", "sent"),
    [
        (MX, "r2@relay.test", None, None),
        (MX, "r2@relay.test", "NEVER", "NEVER"),
        (MX, "r2@relay.test", "SUCCESS,DELAY", "SUCCESS,DELAY"),
        (MX, "", "FAILURE", "FAILURE"),
        (DSN, "r2@relay.test", None, "SUCCESS,FAILURE,DELAY"),
        (DSN, "r2@relay.test", "FAILURE", "SUCCESS,FAILURE,DELAY"),
        (DSN, "r2@relay.test", "NEVER", "NEVER"),
        (DSN, "", None, None),
    ],
)
def test_notify_goes_on_as_it_came_but_where_a_dsn_is_waited_for(
    on: DeliveredOn, return_path: str, notify: str | None, sent: str | None
) -> None:
    """RFC 3461, 5.2.1 c."""
    _, rcpt = parameters(replace(JOB, notify=notify), return_path, on, smtputf8=True)
    assert rcpt == (f" NOTIFY={sent}" if sent else "") + " ORCPT=rfc822;bob@b.example"


@pytest.mark.parametrize(
    ("ret", "envid", "mail"),
    [
        (None, None, ""),
        ("HDRS", None, " RET=HDRS"),
        (None, "Q+2B1", " ENVID=Q+2B1"),
        ("FULL", "q", " RET=FULL ENVID=q"),
    ],
)
def test_ret_and_envid_are_sent_where_they_came(ret: str | None, envid: str | None, mail: str) -> None:
    """RFC 3461, 5.2.1 a and b: none is made up."""
    job = replace(JOB, message=replace(MESSAGE, ret=ret, envid=envid))
    assert parameters(job, "r2@relay.test", DSN, smtputf8=False)[0] == mail


@pytest.mark.parametrize(
    ("address", "orcpt", "utf8", "sent"),
    [
        ("bob@b.example", "rfc822;B+2Bx@B.example", False, "rfc822;B+2Bx@B.example"),
        ("b+x@b.example", None, False, "rfc822;b+2Bx@b.example"),
        ('"b =\\"x"@b.example', None, False, 'rfc822;"b+20+3D\\"x"@b.example'),
        ("bø+x@b.example", None, True, "utf-8;bø\\x{2B}x@b.example"),
        ("bob@b.example", "utf-8;bø@b.example", True, "utf-8;b\\x{F8}@b.example"),  # all else is ASCII
        ("bø@b.example", "utf-8;bø@b.example", True, "utf-8;bø@b.example"),
        ("bob@b.example", "utf-8;b😀@b.example", False, "utf-8;b\\x{1F600}@b.example"),
        ("bob@b.example", "utf-8;" + "ø" * 200, False, None),
    ],
)
def test_the_original_recipient_is_in_a_form_that_may_travel(
    address: str, orcpt: str | None, utf8: bool, sent: str | None
) -> None:
    """RFC 3461, 4.2 and 5.2.1 d; RFC 6533, 3. One that would be too long is left out, and the mail goes."""
    _, rcpt = parameters(replace(JOB, address=address, orcpt=orcpt), "r@relay.test", MX, smtputf8=utf8)
    assert rcpt == (f" ORCPT={sent}" if sent else "")


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=30).filter(str.isprintable))
def test_what_we_write_is_what_we_would_take(local: str) -> None:
    """An ORCPT of ours passes our own reading of RFC 3461 and RFC 6533."""
    orcpt = original_recipient(f"{local}@b.example")
    parsed = parse_rcpt(f"TO:<a@b.example> ORCPT={orcpt}", utf8=not orcpt.isascii())
    assert isinstance(parsed, RcptTo)
    assert parsed.orcpt == orcpt
    assert " " not in orcpt

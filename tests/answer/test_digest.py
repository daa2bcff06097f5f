"""relay/answer/digest.py: a table to read, and all as CSV that no program takes for formulas."""

import csv
from io import StringIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.answer.digest import digest_mail
from storage.duty import Collected, Digest, DutyKind
from storage.model import Reply
from tests.answer.makers import AT, HEAD, UNKNOWN, body_of, read


def collected(address: str = "bob@b.example", kind: DutyKind = DutyKind.FAILED, **changes: Any) -> Collected:
    values: dict[str, Any] = {"id": 1, "subject": "News", "user": None, "at_ms": AT, "reply": UNKNOWN, "category": None}
    return Collected(kind=kind, address=address, **(values | changes))


def made(*some: Collected, broadcast: str = "Spring", complete: bool = False, more: bool = False) -> bytes:
    return digest_mail(
        Digest("ann@a.example", broadcast, AT, None, complete=False), some, HEAD, complete=complete, more=more
    )


def rows(raw: bytes) -> list[list[str]]:
    return list(csv.reader(StringIO(body_of(read(raw).get_payload()[1]))))


def test_a_digest_has_a_table_and_a_csv() -> None:
    raw = made(collected(), collected("eve@e.example", DutyKind.RELAYED, reply=Reply(250, "2.0.0", "ok")))
    found = read(raw)
    assert found["Subject"] == 'Undeliverable: 1 of the broadcast "Spring"'
    assert found["To"] == "<ann@a.example>"
    assert found["Auto-Submitted"] == "auto-generated"
    text = body_of(found.get_payload()[0])
    assert 'Of the broadcast "Spring", since you were told last: 1 not delivered, 1 relayed.' in text
    assert f"{'bob@b.example':<40}  not delivered  no such user (550 5.1.1)" in text
    assert "under way" not in text
    assert found.get_payload()[1].get_filename() == "undelivered.csv"
    assert rows(raw) == [
        ["address", "result", "reason", "reply", "subject"],
        ["bob@b.example", "not delivered", "no such user (550 5.1.1)", "550 5.1.1 No such user here", "News"],
        ["eve@e.example", "relayed", "ok (250 2.0.0)", "250 2.0.0 ok", "News"],
    ]


def test_a_digest_of_no_broadcast_is_of_the_senders_messages() -> None:
    found = read(made(collected(reply=None), broadcast=""))
    assert found["Subject"] == "Undeliverable: 1 of your messages"


def test_a_long_table_goes_on_in_the_csv() -> None:
    raw = made(*(collected(f"u{number}@b.example") for number in range(150)), complete=True, more=True)
    text = body_of(read(raw).get_payload()[0])
    assert "No copy is under way any more." in text
    assert "u99@b.example" in text
    assert "u100@b.example" not in text
    assert "The attached table has all 150." in text
    assert "There are more than the table holds" in text
    assert len(rows(raw)) == 151
    assert read(raw)["Subject"].startswith("Undeliverable: 150+ of")


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_no_cell_is_a_formula_and_no_line_is_torn(address: str, words: str, subject: str) -> None:
    raw = made(collected(address, reply=Reply(550, None, words), subject=subject), broadcast=subject or "x")
    _, row = rows(raw)
    assert len(row) == 5
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
    assert len(read(raw).get_payload()) == 2


def test_a_formula_is_quoted() -> None:
    assert rows(made(collected('=HYPERLINK("x")@b.example')))[1][0].startswith("'=")

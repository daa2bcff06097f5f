"""report/fields.py: what forms say, and what is wrong with it."""

from datetime import UTC

import pytest

from report.fields import MAX_CHARS, MAX_FIELD_CHARS, Form
from storage.people import NewAddress, NewContact


def test_a_contact_is_read_with_all_that_it_says() -> None:
    form = Form(
        {
            "name": " Ann ",
            "key": "k1",
            "address2": "ann@home.test",
            "address1": "ann@x.test",
            "address3": "",
            "types1": "news; general",
            "types2": "none",
            "field:city": "Ulm",
            "new_field": "colour",
            "new_value": "red",
            "lists": "staff, , all",
        }
    )
    read = form.contact()
    assert form.wrong == []
    assert read == NewContact(
        (NewAddress("ann@x.test", ("news", "general")), NewAddress("ann@home.test", ())),
        "k1",
        "Ann",
        {"city": "Ulm", "colour": "red"},
        ("staff", "all"),
    )


def test_a_key_that_is_there_stays() -> None:
    assert Form({"address1": "a@b.test", "key": "other"}).contact("k1").key == "k1"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "a contact has one"),
        ({"address1": "nobody"}, '"nobody"'),
        ({"address1": "a@b.test", "name": "x" * (MAX_CHARS + 1)}, "Name: expected one line"),
        ({"address1": "a@b.test", "name": "a\x00b"}, "Name: expected one line"),
        ({"address1": "a@b.test", "lists": "a;b"}, "cannot be the name of a list"),
        ({"address1": "a@b.test", "field:a\nb": "x"}, "Field: "),
        ({"address1": "a@b.test", "field:": "x"}, "Field: "),
        ({"address1": "a@b.test", "field:city": "a\x00b"}, "city: "),
        ({"address1": "a@b.test", "field:city": "x" * (MAX_FIELD_CHARS + 1)}, "city: "),
    ],
)
def test_what_cannot_be_meant_is_told(fields: dict[str, str], told: str) -> None:
    form = Form(fields)
    form.contact()
    assert any(told in sentence for sentence in form.wrong), form.wrong


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("", None),
        ("1970-01-01T00:01", 60_000),
        ("1970-01-01T01:01+01:00", 60_000),
        ("9999-99", None),
        ("9999-12-31T23:59-23:59", None),
        ("x", None),
    ],
)
def test_times_are_those_of_browsers(text: str, at_ms: int | None) -> None:
    form = Form({"at": text})
    assert form.point_ms("at", "When", UTC) == at_ms
    assert bool(form.wrong) == (at_ms is None and text != "")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("", None),
        ("90", 90_000),
        ("30d", 30 * 86_400_000),
        ("0", None),
        ("x", None),
        ("9" * 40, None),
        ("10000000d", None),
    ],
)
def test_lengths_of_time(text: str, span: int | None) -> None:
    form = Form({"lasts": text})
    assert form.span_ms("lasts", "For") == span
    assert bool(form.wrong) == (span is None and text != "")

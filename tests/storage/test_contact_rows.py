"""storage/contact_rows.py and contact_forms.py: contacts are read record by record, and written as they are read."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import contact_rows
from storage.contact_forms import HEADER_BEGINS, contact_header, contact_line, contact_object, json_line
from storage.contact_rows import Bad, Good, UnreadableError, column_known, read_csv, read_json, sniffed, types_of
from storage.people import Contact, ContactAddress, NewAddress, NewContact


def rows(text: str, **mapping: str) -> list[Good | Bad]:
    return list(read_csv(io.StringIO(text, newline=""), sniffed(text.split("\n", maxsplit=1)[0]), mapping))


def objects(text: str) -> list[Good | Bad]:
    return list(read_json(io.StringIO(text)))


def bad(records: list[Good | Bad]) -> list[tuple[int, str, str]]:
    return [(one.line, one.column, one.why) for one in records if isinstance(one, Bad)]


def contacts(records: list[Good | Bad]) -> list[NewContact]:
    return [one.contact for one in records if isinstance(one, Good)]


def test_columns_are_known_by_their_names_and_the_others_are_fields() -> None:
    text = (
        "Key;E-Mail;name;types;EMAIL2;types 2;lists;First Name;;email\n"
        '7;ann@B\u00fccher.example;"Ann";"news; general";ann2@x.example;none;A, B;Ann;x;y\n'
    )
    assert contacts(rows(text)) == [
        NewContact(
            (NewAddress("ann@xn--bcher-kva.example", ("news", "general")), NewAddress("ann2@x.example")),
            "7",
            "Ann",
            {"types 2": "none", "First Name": "Ann"},
            ("A", "B"),
        )
    ]


def test_a_mapping_says_what_a_header_means() -> None:
    mapping = {"Adresse": "email", "name": "field:name", "email": "-", "Typ": "types"}
    assert contacts(rows("Adresse,name,email,Typ\na@x.example,Ann,b@x.example,*\n", **mapping)) == [
        NewContact((NewAddress("a@x.example", ("*",)),), fields={"name": "Ann"})
    ]
    known = {
        name: column_known(name) for name in ("email9", "types", "key", "-", "field:x", "field:", "mail", "email0")
    }
    assert [name for name, one in known.items() if one] == ["email9", "types", "key", "-", "field:x"]


@pytest.mark.parametrize(
    ("text", "mapping", "sentence"),
    [
        ("a,b\n1,2\n", {}, 'no column with addresses; the columns are "a", "b": name one, as --map \'a=email\''),
        ("", {}, "no column with addresses; the columns are none"),
        ("email\n", {"Mail": "email"}, 'there is no column "Mail"; the columns are "email"'),
        ("x" * 200_000 + "\n", {}, "the header line cannot be read"),
    ],
)
def test_a_file_that_cannot_be_meant_is_told_in_a_sentence(text: str, mapping: dict[str, str], sentence: str) -> None:
    with pytest.raises(UnreadableError, match="(?s)" + sentence.replace("'", ".")):
        rows(text, **mapping)


def test_bad_lines_are_told_and_the_good_ones_go_in() -> None:
    """The line is the record's first one, also after quoted line ends."""
    text = (
        'email,key,note\na@x.example,,"two\nlines"\nb@,,\n,,"no\naddress"\n,7,key alone\nc@x.example,,,too many\n\n'
        f"d@x.example,\udce4,\n{'e' * 140_000}@x.example,,\nf@x.example\n"
    )
    records = rows(text)
    assert bad(records) == [
        (4, "email", '"b@": address has no domain'),
        (5, "email", "there is no address"),
        (8, "", "has 4 columns, the header 3"),
        (10, "key", "is not text in the file's encoding"),
        (11, "", "cannot be read: field larger than field limit (131072)"),
    ]
    found = [one.addresses[0].address if one.addresses else one.key for one in contacts(records)]
    assert found == ["a@x.example", "7", "f@x.example"]


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("a,b;c,d", ","), ("a;b", ";"), ("a\tb", "\t"), ('"a;b;c",d', ","), ("a", ","), ("a|b", "|")],
)
def test_the_delimiter_is_seen(header: str, delimiter: str) -> None:
    assert sniffed(header) == delimiter


def test_an_address_that_is_not_printable_is_none() -> None:
    assert bad(rows("email\na\u202e@x.example\n")) == [(2, "email", '"a\ufffd@x.example": malformed address')]


def test_types_of_a_cell() -> None:
    cells = ("", "none", "*", "a; b,c|d", ";")
    assert [types_of(cell) for cell in cells] == [None, (), ("*",), ("a", "b", "c", "d"), None]


def test_json_is_an_array_or_an_object_a_line() -> None:
    objects_ = [
        {"email": "a@x.example", "types": ["news"], "age": 3, "vip": True, "none": None, "name": ""},
        {"key": 7, "addresses": [{"address": "b@x.example", "types": []}, "c@x.example"], "lists": "L"},
    ]
    wanted = [
        NewContact((NewAddress("a@x.example", ("news",)),), fields={"age": "3", "vip": "true"}),
        NewContact((NewAddress("b@x.example", ()), NewAddress("c@x.example")), "7", lists=("L",)),
    ]
    for text in (json.dumps(objects_), json.dumps(objects_, indent=3), "\n\n".join(map(json.dumps, objects_))):
        assert contacts(objects(text)) == wanted
    assert objects("[]") == objects("") == []


@pytest.mark.parametrize(
    ("value", "column", "why"),
    [
        (3, "", "is no object"),
        ({}, "email", "there is no address"),
        ({"email": "x"}, "email", '"x": address has no domain'),
        ({"email": 3}, "email", "is no address"),
        ({"email": "a@x.example", "name": {}}, "name", "is no text"),
        ({"email": "a@x.example", "key": True}, "key", "is no text"),
        ({"email": "a@x.example", "types": [3]}, "types", "is no list of texts"),
        ({"email": "a@x.example", "lists": {"a": 1}}, "lists", "is no list of texts"),
        ({"email": "a@x.example", "fields": "f"}, "fields", "is no object"),
        ({"email": "a@x.example", "deep": {"a": 1}}, "deep", "is no text"),
    ],
)
def test_an_object_that_is_no_contact_is_told(value: object, column: str, why: str) -> None:
    good = {"email": "a@x.example"}
    for text in (json.dumps([value, good]), f"{json.dumps(value)}\n{json.dumps(good)}\n"):
        if text.startswith(("[", "{")):
            records = objects(text)
            assert bad(records) == [(1, column, why)]
            assert len(contacts(records)) == 1


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('[{"email": "a@x.example"}\n {"email": "b@x.example"}]', 2, "there is no comma between two contacts"),
        ('[{"email": "a@x.example"},\n\n{"em', 3, "is no JSON"),
        ('[{"email": "a@x.example"}', 1, "there is no comma"),
        ('[{"email": "a@x.example"},' + "[" * 100_000, 1, "is nested too deeply"),
        ('{"email": "a@x.example"}\n{"email"\n', 2, "is no JSON"),
        ('{"email": "a@x.example"}\n' + "[" * 100_000 + "\n", 2, "is no JSON: nested too deeply"),
        ('{"email": "a@x.example"}\n{"email": "\udce4"}\n', 2, "is not text"),
        ('{"email": "a@x.example"}\n' + "x" * 2_000_000, 2, "is longer than"),
    ],
)
def test_json_that_breaks_off_is_told_with_its_line(text: str, line: int, why: str) -> None:
    records = objects(text)
    (told,) = bad(records)
    assert (told[0], told[2][: len(why)]) == (line, why)
    assert [one.addresses[0].address for one in contacts(records)] == ["a@x.example"]


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
_TYPE = st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(lambda one: one != "none")
_ADDRESSES = st.lists(
    st.builds(
        ContactAddress,
        st.from_regex(r"[a-z0-9]{1,9}@[a-z]{1,5}\.example", fullmatch=True),
        st.none() | st.lists(_TYPE, max_size=3, unique=True).map(lambda types: tuple(sorted(types))),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
_FIELD_NAMES = ("Some field", "City, State", "1")
_CONTACT = st.builds(
    Contact,
    st.just(1),
    st.none() | _TEXT.filter(bool),
    _TEXT,
    st.dictionaries(st.sampled_from(_FIELD_NAMES), _TEXT.filter(bool)),
    _ADDRESSES,
    st.lists(_TYPE, max_size=2, unique=True).map(tuple),
    st.just(0),
    st.just(0),
)


@given(st.lists(_CONTACT, max_size=5), st.integers(1, 50))
def test_what_is_exported_is_imported_as_the_same(exported: list[Contact], chunk: int) -> None:
    wanted = [
        NewContact(
            tuple([NewAddress(at.address, ("*",) if at.types is None else at.types) for at in one.addresses]),
            one.key,
            one.name or None,
            one.fields,
            one.lists,
        )
        for one in exported
    ]
    places = max((len(one.addresses) for one in exported), default=1)
    text = contact_header(places, _FIELD_NAMES) + "".join(contact_line(one, places, _FIELD_NAMES) for one in exported)
    assert contacts(rows(text)) == wanted
    lines = [json_line(contact_object(one)) for one in exported]
    before = contact_rows._CHUNK_CHARS
    contact_rows._CHUNK_CHARS = chunk  # type: ignore[misc]
    try:
        assert contacts(objects("".join(lines))) == wanted
        assert contacts(objects(f" [ {', '.join(lines)} ] ")) == wanted
    finally:
        contact_rows._CHUNK_CHARS = before  # type: ignore[misc]


def test_the_dialect_of_the_export_is_plain_csv() -> None:
    assert all(contact_header(width, ["a,b"]).startswith(HEADER_BEGINS) for width in range(3))
    assert next(csv.reader([contact_header(2, ["a,b"])])) == [
        "key", "name", "email", "types", "email2", "types2", "list", "a,b",
    ]  # fmt: skip

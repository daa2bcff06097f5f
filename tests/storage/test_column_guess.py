"""storage/column_guess.py: what the columns of somebody else's file may be."""

import pytest

from storage.column_guess import guessed

ROW = ("a@x.test", "b@x.test", "c@x.test", "d@x.test")


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        # What means something by itself keeps its meaning.
        ("E-Mail,name,City,field:key", [], "email,name,field:City,field:key"),
        # An address is known by what is in the column, whatever it is called.
        ("who,Ort", [("ann@x.test", "Ulm"), ("", "Bonn")], "email,field:Ort"),
        ("who,other", [("ann@x.test", "x"), ("ann at home", "x"), ("bob", "x")], "field:who,field:other"),
        # Where nothing is in it, by its name.
        ("Kontakt-E-Mail,Courriel 2", [], "email,email2"),
        ("Mail privat", [("none",)], "field:Mail privat"),
        # Other addresses of the same contact come after those that say so themselves.
        ("email,w,email2,v", [ROW], "email,email3,email2,email4"),
        ("email1,w", [ROW], "email1,email2"),
        # Names of others for what we know.
        ("Kunden-Nr.,Vollständiger Name,Gruppe,Topics", [], "key,name,list,types"),
        ("id,Customer ID,name,Kontakt", [], "key,field:Customer ID,name,field:Kontakt"),
        # What has no name cannot be meant; of two with one name, the first is.
        (",Ort,Ort", [("ann@x.test", "Ulm", "x")], ",field:Ort"),
        ("Adresse", [("ann@x.test", "one cell too many"), ()], "email"),
    ],
)
def test_columns_are_guessed(header: str, rows: list[tuple[str, ...]], expected: str) -> None:
    names = header.split(",")
    distinct = list(dict.fromkeys(names))
    found = guessed(names, rows)
    assert [found.get(name, "") for name in distinct] == expected.split(",")


def test_more_columns_of_addresses_than_a_contact_may_have_are_fields() -> None:
    names = [f"c{number}" for number in range(120)]
    found = guessed(names, [["ann@x.test"] * 120])
    assert found["c0"] == "email"
    assert found["c97"] == "email98"
    assert found["c98"] == "field:c98"

"""Laws of statements over many rows, against the plainest way to do the same."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.statements import Keys, Rows, clean
from storage.status import Status

_TEXT = st.text(st.characters(), max_size=8)
_ROW = st.tuples(st.none() | _TEXT, st.none() | st.integers(-5, 5), st.none() | st.binary(max_size=3))
_INSERT = Rows.insert("t", "id, text, number, blob")
_UPDATE = Rows("UPDATE t SET text=v.column2 FROM ({}) AS v WHERE t.id=v.column1")
_READ = Keys("SELECT json_group_array(json_array(id, number)) FROM t WHERE id IN ({})")
_DELETE = Keys("DELETE FROM t WHERE id IN ({})")


def table() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT, number INTEGER, blob BLOB)")
    return connection


def cleaned(text: str | None) -> str | None:
    return None if text is None else clean(text)


@given(st.lists(_ROW, max_size=140))
def test_all_rows_arrive_once_as_they_are(rows: list[tuple]) -> None:
    connection = table()
    _INSERT.run(connection, [(id_, *row) for id_, row in enumerate(rows)])
    found = connection.execute("SELECT * FROM t ORDER BY id").fetchall()
    assert found == [(id_, cleaned(text), number, blob) for id_, (text, number, blob) in enumerate(rows)]
    connection.close()


@pytest.mark.parametrize("count", [0, 1, 5, 33, 63, 64, 65, 200])
def test_updates_reads_and_deletes_meet_exactly_their_rows(count: int) -> None:
    connection = table()
    _INSERT.run(connection, [(id_, "before", id_ * 2, None) for id_ in range(300)])
    _UPDATE.run(connection, [(id_, f"after {id_}") for id_ in range(count)])
    changed = connection.execute("SELECT id, text FROM t WHERE text <> 'before' ORDER BY id").fetchall()
    assert changed == [(id_, f"after {id_}") for id_ in range(count)]
    keys = list(range(count))
    assert sorted(_READ.read(connection, keys)) == [[id_, id_ * 2] for id_ in keys]
    _DELETE.run(connection, keys)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (300 - count,)
    connection.close()


def test_words_of_an_enum_are_stored_as_text() -> None:
    connection = table()
    _INSERT.run(connection, [(1, Status.SOFT_BOUNCED, None, None), (2, Status.SENT, None, None)])
    _INSERT.run(connection, [(3, Status.SENT, None, None), (4, None, None, None)])
    found = connection.execute("SELECT text FROM t ORDER BY id").fetchall()
    assert found == [("Soft Bounced",), ("Sent",), ("Sent",), (None,)]
    connection.close()


def test_a_conflict_is_answered_row_by_row() -> None:
    connection = table()
    upsert = Rows.insert("t", "id, number", "ON CONFLICT (id) DO UPDATE SET number = number + excluded.number")
    upsert.run(connection, [(1, 10), (2, 20), (3, 30)])
    upsert.run(connection, [(1, 1), (3, 3), (5, 5)])
    assert connection.execute("SELECT id, number FROM t").fetchall() == [(1, 11), (2, 20), (3, 33), (5, 5)]
    connection.close()


@given(_TEXT)
def test_clean_text_is_what_sqlite_gives_back(text: str) -> None:
    connection = sqlite3.connect(":memory:")
    assert connection.execute("SELECT ?, length(?)", (clean(text),) * 2).fetchone() == (clean(text), len(text))
    connection.close()


@pytest.mark.parametrize(
    ("text", "after"),
    [("plain", "plain"), ("köln", "köln"), ("a\x00b", "a\ufffdb"), ("\ud800x\udfff", "\ufffdx\ufffd")],
)
def test_only_nul_and_surrogates_are_replaced(text: str, after: str) -> None:
    assert clean(text) == after

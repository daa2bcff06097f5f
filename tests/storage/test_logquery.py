"""A page of the log is found by an index wherever one knows better (DESIGN.md, law 6)."""

import sqlite3
from collections.abc import Iterator

import pytest

from storage import broadcast_reader, database, words
from storage.logquery import OF_MESSAGE, Bounds, Query, Search
from storage.model import LogFilter, queue_id
from storage.status import Status


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    connection = database.open_writing(tmp_path_factory.mktemp("store"))
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, query: Query) -> str:
    return "; ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", query.values))


@pytest.mark.parametrize(
    ("wanted", "way"),
    [
        (LogFilter(), "SCAN r;"),
        (LogFilter(statuses=(Status.DELIVERED,)), "SCAN r;"),
        (LogFilter(queue_id=queue_id(5)), "SEARCH r USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (LogFilter(statuses=(Status.FAILED,)), "SEARCH r USING INDEX recipient_status (status=?)"),
        (LogFilter(statuses=(Status.FAILED,), sender="a@x"), "SEARCH r USING INDEX recipient_status (status=?)"),
        (LogFilter(pending_only=True), "SCAN r USING INDEX recipient_pending"),
        (LogFilter(statuses=(Status.UNSENT, Status.SOFT_BOUNCED)), "SCAN r USING INDEX recipient_pending"),
        (LogFilter(since_ms=5), "SEARCH r USING INTEGER PRIMARY KEY (rowid>?)"),
        (LogFilter(since_ms=5, until_ms=6), "SEARCH r USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (LogFilter(until_ms=6), "SEARCH r USING INTEGER PRIMARY KEY (rowid<?)"),
    ],
)
def test_pages_come_in_order_from_their_index(empty: sqlite3.Connection, wanted: LogFilter, way: str) -> None:
    search = Search(wanted)
    assert not search.by_stretch
    for query in search.pages(50):
        found = plan(empty, query)
        assert way in found
        assert "SEARCH m USING INTEGER PRIMARY KEY" in found
        assert "TEMP B-TREE" not in found


def test_no_question_indexes_the_log_first(empty: sqlite3.Connection) -> None:
    """An index that SQLite makes by itself, for one question, reads all recipients that there are."""
    for sql in (broadcast_reader._STATUSES, OF_MESSAGE, words._FORGET_ADDRESSES):
        assert "AUTOMATIC" not in plan(empty, Query(sql, (1,) * sql.count("?")))


def test_several_statuses_are_asked_for_one_by_one() -> None:
    assert len(Search(LogFilter(statuses=(Status.FAILED, Status.BOUNCED, Status.FAILED))).pages(9)) == 2


@pytest.mark.parametrize(
    ("wanted", "table", "keys"),
    [
        (LogFilter(recipient="a@x"), "by_address", "stretch=? AND domain=? AND address=?"),
        (LogFilter(recipient="@x"), "by_address", "stretch=? AND domain=?"),
        (LogFilter(broadcast="x", statuses=(Status.FAILED,)), "by_broadcast", "stretch=? AND broadcast=?"),
        (LogFilter(user="x"), "by_user", "stretch=? AND user=?"),
        (LogFilter(sender="a@x"), "by_sender", "stretch=? AND sender_domain=? AND sender=?"),
        (LogFilter(sender="@x", statuses=(Status.DELIVERED,)), "by_sender", "stretch=? AND sender_domain=?"),
        (LogFilter(recipient="a@x", pending_only=True), "by_address", "stretch=? AND domain=? AND address=?"),
    ],
)
def test_addresses_are_probed_in_each_stretch(
    empty: sqlite3.Connection, wanted: LogFilter, table: str, keys: str
) -> None:
    search = Search(wanted, Bounds(77))
    assert search.by_stretch
    found = plan(empty, search.within([1, 2], 50))
    assert f"SEARCH f USING PRIMARY KEY ({keys}" in found, table
    assert "SEARCH r USING INTEGER PRIMARY KEY" in found
    assert "SEARCH r USING INTEGER PRIMARY KEY" in plan(empty, search.fresh(50))

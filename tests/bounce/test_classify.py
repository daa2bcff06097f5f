"""Laws of `relay.bounce.classify`: replies as servers write them, with what they mean."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bounce.category import INVALID_ADDRESS, Category, Verdict, verdict_of
from relay.bounce.classify import MAX_TEXT, classify
from relay.bounce.rules import BEFORE_CODES, MIDDLE, PROVIDER_CODES, STRONG, WEAK
from relay.bounce.text import enhanced, reply_code


def replies() -> list[tuple[str, Category]]:
    rows = []
    category = Category.OTHER
    for line in (Path(__file__).parent / "replies.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            category = Category[line[2:]]
        elif line:
            rows.append((line, category))
    return rows


@pytest.mark.parametrize(("text", "category"), replies(), ids=[text[:60] for text, _ in replies()])
def test_a_reply_means_what_people_read_in_it(text: str, category: Category) -> None:
    assert classify(reply_code(text) or 0, enhanced(text) or None, text) is category


@pytest.mark.parametrize(
    ("code", "status", "text", "category"),
    [
        (550, None, "blocked using zen", Category.REPUTATION),
        (552, None, "mailbox over quota", Category.MAILBOX_FULL),
        (552, None, "", Category.MAILBOX_FULL),
        (550, "5.7.26", "", Category.AUTHENTICATION),
        (550, "5.1.1", "", Category.USER_UNKNOWN),
        (550, "5.1.1", "you sent too many messages this hour", Category.RATE_LIMITED),
        (450, "4.1.9", "", Category.RELAY_DENIED),
        (550, "5.9.9", "", Category.OTHER),
        (0, None, "", Category.OTHER),
    ],
)
def test_codes_count_where_words_say_nothing(code: int, status: str | None, text: str, category: Category) -> None:
    assert classify(code, status, text) is category


def test_names_of_hosts_and_people_are_no_reasons() -> None:
    assert classify(550, None, "antispam.example.com said: <virus@example.org> no such user") is Category.USER_UNKNOWN


def test_a_provider_is_known_by_its_host() -> None:
    assert classify(550, None, "550 Unknown user x", "mfsmax.docomo.ne.jp.") is Category.POLICY
    assert classify(550, None, "550 Unknown user x", "mx.example.jp") is Category.USER_UNKNOWN
    assert classify(550, None, "550 go away", "mfsmax.docomo.ne.jp") is Category.OTHER


@pytest.mark.parametrize("category", Category)
def test_only_an_invalid_address_fails(category: Category) -> None:
    assert (verdict_of(category) is Verdict.FAILED) == (category in INVALID_ADDRESS)


@given(st.text(), st.integers(0, 999), st.one_of(st.none(), st.text(max_size=20)))
def test_every_reply_has_a_category(text: str, code: int, status: str | None) -> None:
    assert classify(code, status, text) in Category


def test_what_lies_behind_the_bound_is_not_read() -> None:
    assert classify(0, None, "x " * MAX_TEXT + "user unknown") is Category.OTHER


def test_phrases_are_written_as_they_are_searched() -> None:
    for table in (PROVIDER_CODES, STRONG, BEFORE_CODES, MIDDLE, WEAK):
        for _, phrases in table:
            for phrase in phrases:
                assert phrase == phrase.lower()
                assert "  " not in phrase
                assert phrase.strip()

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.reason import plain, reason, spelled


@pytest.mark.parametrize(
    ("code", "enhanced", "diagnostic", "category", "words"),
    [
        (550, "5.1.1", "User unknown", "user unknown", "no such user (550 5.1.1)"),
        (452, "4.2.2", "over quota", None, "the mailbox is full (452 4.2.2)"),
        (552, "5.2.2", "over quota", None, "the mailbox is full (552 5.2.2)"),
        (556, None, "", None, "the domain takes no mail (556)"),
        (451, "4.9.9", "try later", None, "the mail server had an error (451 4.9.9)"),
        (450, "4.7.1", "Greylisted, see http://x", None, "greylisted: to be tried again later (450 4.7.1)"),
        (
            554,
            "5.7.1",
            "blocked using zen.spamhaus.org",
            "reputation",
            "on a blocklist, or our server has a bad name (554 5.7.1)",
        ),
        (550, "5.7.1", "This looks like SPAM", "spam", "taken for spam (550 5.7.1)"),
        (550, None, "550 5.7.999 Go away", None, "Go away (550)"),
        (550, None, "Go away", None, "Go away (550)"),
        (554, "5.9.9", "", None, "554 5.9.9"),
        # Our own words, without a code, say it themselves.
        (
            None,
            "5.1.2",
            "the domain example.test does not exist",
            None,
            "the domain example.test does not exist (5.1.2)",
        ),
        (0, "4.4.1", "connection refused", None, "connection refused (4.4.1)"),
        (None, "4.4.1", "", None, "the mail server does not answer (4.4.1)"),
        (None, None, "no spam here", None, "no spam here"),
        (None, None, "", None, ""),
        (550, "5.7.1", "No such user!", "user unknown", "no such user (550 5.7.1)"),
        (550, "5.1.1", "blocked using zen", "reputation", "on a blocklist, or our server has a bad name (550 5.1.1)"),
        (552, None, "no", "mailbox full", "the mailbox is full (552)"),
        (550, "5.7.23", "no", "authentication", "SPF does not allow our server (550 5.7.23)"),
        (450, "4.4.7", "delivery time expired", "mailbox full", "the mailbox is full (450 4.4.7)"),
        (0, "4.4.1", "connection refused", "network", "connection refused (4.4.1)"),
        (550, "5.7.1", "go away", "policy", "refused by the mail server's policy (550 5.7.1)"),
    ],
)
def test_a_reply_is_told_in_plain_words_with_its_codes(
    code: int | None, enhanced: str | None, diagnostic: str, category: str | None, words: str
) -> None:
    assert reason(code, enhanced, diagnostic, category) == words


def test_a_long_text_is_cut() -> None:
    words = reason(550, None, "x" * 1000)
    assert len(words) < 200
    assert words.endswith("… (550)")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x07", "a [31mred"),
        ("two\r\nlines\u2028more", "two lines more"),
        ("\u202egnp.exe", "gnp.exe"),
        ("lone \udcff surrogate", "lone surrogate"),
        ("  many   blanks ", "many blanks"),
        ("Grüße 😀 [red]", "Grüße 😀 [red]"),
    ],
)
def test_text_from_elsewhere_loses_what_a_terminal_could_obey(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_plain_text_is_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "said"),
    [
        (550, "5.1.1", "No such user", "550 5.1.1 No such user"),
        (550, "5.1.1", "550 5.1.1 No such user", "550 5.1.1 No such user"),
        (550, None, "550-5.7.1 no", "550 no"),
        (0, "4.4.1", "connection refused", "4.4.1 connection refused"),
        (0, None, "", ""),
    ],
)
def test_a_reply_is_spelled_with_its_codes_once(code: int, enhanced: str | None, text: str, said: str) -> None:
    assert spelled(code, enhanced, text) == said

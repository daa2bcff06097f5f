"""relay/answer/settings.py: what may be configured, and what a user may want otherwise."""

import pytest
from pydantic import ValidationError

from relay.answer.settings import AnswerSettings, Failures, Wishes, parse_wishes, settled, wishes_of


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("failures", "never", "digest"),
        ("delay_after", "soon", "duration"),
        ("most_per_hour", 0, "at least 1"),
        ("digest_every", 0, "at least 1 second"),
        ("from_address", "nobody", "expected an address"),
        ("from_address", "postmaster", "expected an address"),
        ("from_address", "jörg@a.example", "expected an address"),
        ("from_address", "a@b.example\r\nBcc: x@y.example", "expected an address"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(key: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AnswerSettings.model_validate({key: value})


def test_an_address_is_kept_as_it_is_written() -> None:
    assert AnswerSettings(from_address="Mailer@A.Example").from_address == "Mailer@a.example"


@pytest.mark.parametrize(
    ("words", "wishes"),
    [
        ((), Wishes()),
        (("failures=digest",), Wishes(failures=Failures.DIGEST)),
        (("delay=off", "success=on"), Wishes(delay=False, success=True)),
        (("delay=8h",), Wishes(delay=28_800)),
        (("forward=off", "default", "failures=no"), Wishes(failures=Failures.NO)),
    ],
)
def test_wishes_are_read_and_written_in_the_same_words(words: tuple[str, ...], wishes: Wishes) -> None:
    assert parse_wishes(words, Wishes()) == wishes
    assert parse_wishes(tuple(wishes.words().split()), Wishes()) == wishes
    assert wishes_of(wishes.model_dump_json(exclude_none=True)) == wishes


@pytest.mark.parametrize(
    "word",
    ["", "failures", "failures=", "failures=often", "delay=yes", "speed=on", "delay=1", "delay=0s", "delay=soon"],
)
def test_what_is_no_wish_is_refused_with_all_that_are(word: str) -> None:
    with pytest.raises(ValueError, match="failures=each"):
        parse_wishes((word,), Wishes())


def test_a_users_wishes_come_before_the_settings() -> None:
    settings = AnswerSettings()
    assert settled(settings, Wishes()) == settings
    wanted = settled(settings, Wishes(failures=Failures.NO, delay=False, success=False, forward=False))
    assert (wanted.failures, wanted.delay_after, wanted.success, wanted.forward_replies) == (
        Failures.NO,
        0,
        False,
        False,
    )
    assert settled(settings, Wishes(delay=True)).delay_after == settings.delay_after
    assert settled(settings, Wishes(delay=10)).delay_after == settings.delay_after, "no earlier than all others"
    assert settled(settings, Wishes(delay=99_999)).delay_after == 99_999
    assert settled(AnswerSettings(delay_after=0), Wishes(delay=99_999)).delay_after == 0
    assert parse_wishes(tuple(Wishes(delay=90, forward=False).words().split()), Wishes()) == Wishes(
        delay=90, forward=False
    )


def test_what_another_version_stored_counts_as_nothing() -> None:
    assert wishes_of(None) == wishes_of("") == wishes_of('{"colour": "red"}') == wishes_of("{") == Wishes()

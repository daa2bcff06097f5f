"""storage/typed.py: whom people want to block, and what they call lists and reasons."""

import pytest

from storage.typed import MAX_REASON_CHARS, NotMeant, blockable, wrong_list, wrong_reason


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (" ann@x.test ", "ann@x.test"),
        ("@Bücher.example", "@xn--bcher-kva.example"),
        ("", None),
        ("nobody", None),
        ("@", None),
        ("@a\x00b", None),
    ],
)
def test_an_address_or_a_domain_is_blocked_and_nothing_else(text: str, meant: str | None) -> None:
    found = blockable(text)
    assert found == meant if meant else isinstance(found, NotMeant)


@pytest.mark.parametrize("name", ["", " a", "a;b", "a,b", "a\n"])
def test_what_cannot_be_the_name_of_a_list(name: str) -> None:
    assert wrong_list(name) is not None
    assert wrong_list("all staff") is None


def test_a_reason_is_one_line() -> None:
    assert wrong_reason("asked by telephone") is None
    assert wrong_reason("a\nb") is not None
    assert wrong_reason("x" * (MAX_REASON_CHARS + 1)) is not None

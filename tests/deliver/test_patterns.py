import pytest

from relay.deliver.patterns import PatternError, Patterns, a_labels


def test_the_most_specific_pattern_wins() -> None:
    patterns = Patterns({"*": 1, "*.example": 2, "*.a.example": 3, "b.a.example": 0, "Bücher.example": 5})
    assert patterns.match("other.test") == 1
    assert patterns.match("example") == 1  # "*.example" means its subdomains
    assert patterns.match("x.example") == 2
    assert patterns.match("x.y.a.example") == 3
    assert patterns.match("b.a.example") == 0
    assert patterns.match("xn--bcher-kva.example") == 5
    assert Patterns({"a.test": 1}).match("b.test") is None
    assert Patterns({"*.test": 1}).match("test") is None


@pytest.mark.parametrize("pattern", ["", "*.", "a.*", "**", "a b", "*example", ".example", "@example.org"])
def test_a_pattern_that_is_no_domain_is_a_sentence(pattern: str) -> None:
    with pytest.raises(PatternError, match="is no domain"):
        Patterns({pattern: 1})


def test_names_become_a_labels() -> None:
    assert a_labels("Bücher.Example.") == "xn--bcher-kva.example"
    assert a_labels("_dmarc.example") == "_dmarc.example"
    assert a_labels("") is None
    assert a_labels("ü" + "a" * 70) is None
    assert a_labels("a\n.example") is None

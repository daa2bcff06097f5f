"""telltale/config_shaping.py: every mistake in a shaping file is a sentence with file, section and key."""

from pathlib import Path

import pytest

from relay.deliver.mx import Hosts
from relay.deliver.shaping import shipped
from telltale.config_shaping import load, parse
from telltale.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = = 1", "is not TOML: invalid value (at line 1, column 5)"),
        ("a = 1", "a is a section: write [a] on a line of its own, and its keys below"),
        (
            "[google]\nrules = 1",
            "google.rules is a section: write [google.rules] on a line of its own, and its keys below",
        ),
        ("[google]\nconections = 1", "[google] conections is not a known key; did you mean connections?"),
        ("[google]\nconnections = true", "[google] connections is true, but must be a whole number"),
        ("[google]\nconnections = 0", "[google] connections is 0, but must be 1 or more"),
        (
            "[google]\nprovider_connections = -1",
            "[google] provider_connections is -1, but must be 0 (no limit) or more",
        ),
        ("[google]\nmx = 'google.com'", '[google] mx is "google.com", but must be a list, such as ["…", "…"]'),
        ("[google]\nmx = ['a b']", '[google] mx[0] is "a b", but must be a domain such as "example.org"'),
        (
            "[google]\nrate = 10",
            '[google] rate is 10, but must be a text such as "10/s", "100/m" or "500/h", or "" for no limit',
        ),
        (
            "[google]\nrate = '10/w'",
            '[google] rate is "10/w", but must be messages in a time, such as "10/s", "100/m", "500/h" or "2000/d"',
        ),
        (
            "[google.rules.x]\nmatch = '['\nactions = ['soft']",
            '[google.rules.x] match is "[", but must be a regular expression: unterminated character set at position 0',
        ),
        (
            "[google.rules.x]\nmatch = '" + "x" * 1001 + "'",
            f'[google.rules.x] match is "{"x" * 59}…, but must be at most 1000 characters long',
        ),
        (
            "[google.rules.x]\nmatch = 'x'\nactions = ['sof']",
            '[google.rules.x] actions[0] is "sof", but must be "slow-down", "suspend" or "soft"; did you mean "soft"?',
        ),
        ("[google.rules.x]\nmatsch = 'x'", "[google.rules.x] matsch is not a known key; did you mean match?"),
        (
            "[gogle]\nconnections = 3",
            '[gogle] is a new entry, and names no sites: give it mx = ["…"] or domains = ["…"]; did you mean [google]?',
        ),
        (
            "[google.rules.bloked]\nduration = '1h'",
            "[google.rules.bloked] needs match, a regular expression for replies; did you mean [google.rules.blocked]?",
        ),
        ("[zzzz]\nconnections = 3", '[zzzz] is a new entry, and names no sites: give it mx = ["…"] or domains = ["…"]'),
        (
            "[default]\nmx = ['x.test']",
            "[default] speaks of all sites that no other entry names: it has no mx and no domains",
        ),
    ],
)
def test_a_mistake_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "s.toml")
    assert list(caught.value.sentences) == [f"s.toml: {sentence}"]


def test_all_mistakes_of_values_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("[google]\nconnections = 0\nrate = 'x'\n[google.rules.x]\nactions = 3", "s.toml")
    assert len(caught.value.sentences) == 3


def test_a_file_is_laid_over_what_is_shipped(tmp_path: Path) -> None:
    path = tmp_path / "shaping.toml"
    path.write_text("[google]\nconnections = 2\n")
    hosts = Hosts((("smtp.google.com",),))
    assert load(path).of("x.test", hosts).connections == 2
    assert load(None) is shipped()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        load(tmp_path / "none.toml")

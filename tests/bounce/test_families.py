"""Each family's sample says what its X-Expect fields say, whatever its line ends."""

from pathlib import Path

import pytest

from relay.bounce.families import FAMILIES
from relay.bounce.finding import Finding, Kind
from relay.bounce.parse import parse

SAMPLES = sorted((Path(__file__).parent / "families").glob("*.eml"))


def expected(raw: bytes) -> list[str]:
    header = raw.decode().partition("\n\n")[0]
    return sorted(line[10:] for line in header.split("\n") if line.startswith("X-Expect: "))


def told(found: Finding) -> str:
    values = (found.recipient, found.action, found.status, found.reply_code, found.verdict, found.category)
    return " | ".join(str(value) if value else "-" for value in values)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_says_what_it_says(sample: Path, end: bytes) -> None:
    raw = sample.read_bytes()
    parsed = parse(raw.replace(b"\n", end))
    assert (sorted(map(told, parsed.findings)) or ["None"]) == expected(raw)
    assert parsed.troubles == ()
    assert (parsed.kind in (Kind.DSN, Kind.COMPLAINT)) == bool(parsed.findings)


def test_every_family_is_shown_by_a_sample() -> None:
    shown = {parse(sample.read_bytes()).detector for sample in SAMPLES}
    assert {family.name for family in FAMILIES} <= shown

from pathlib import Path

from relay.inject.reason import UntrackedReason


def test_every_reason_has_a_sentence_and_the_documentation_names_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "injection.md").read_text()
    for reason in UntrackedReason:
        assert reason.sentence.endswith(".")
        assert f"| `{reason}` | {reason.sentence} |" in page

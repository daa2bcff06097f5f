"""storage/untracked.py: each reason has its words."""

from pathlib import Path

from storage.untracked import UntrackedReason, in_words


def test_every_reason_has_a_sentence_and_the_documentation_names_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "injection.md").read_text()
    for reason in UntrackedReason:
        assert reason.sentence.endswith(".")
        assert f"| `{reason}` | {reason.sentence} |" in page


def test_people_are_told_in_words() -> None:
    assert in_words("encrypted") == "the message is encrypted"
    assert in_words("self-check").endswith("The message went out as it came")
    assert all(in_words(reason)[0].islower() and " " in in_words(reason) for reason in UntrackedReason)


def test_a_reason_of_another_version_is_shown_as_it_is() -> None:
    assert in_words("a reason to come") == "a reason to come"
    assert in_words(None) == "no reason known"

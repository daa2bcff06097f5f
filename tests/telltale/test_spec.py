"""telltale/spec.py and announce.py: what runs, what a reload may change, and what a newcomer is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.settings import Endpoint
from telltale import announce
from telltale.config import Config, parse
from telltale.partname import PartName
from telltale.spec import Spec, listeners, reloaded, specs, wait_seconds


def test_all_parts_run_with_a_worker_a_core() -> None:
    assert [str(spec) for spec in specs(Config(), None, cores=3)] == [
        "relay/0",
        "relay/1",
        "relay/2",
        "pixel",
        "report",
    ]


def test_a_part_can_run_alone_with_the_workers_that_were_asked_for() -> None:
    config = parse("[server]\nworkers = 1", "c")
    assert specs(config, PartName.RELAY, cores=8) == [Spec(PartName.RELAY)]
    assert specs(config, PartName.REPORT, cores=8) == [Spec(PartName.REPORT)]


def test_only_what_runs_listens() -> None:
    assert list(listeners(Config(), PartName.PIXEL)) == [("[pixel] listen", Endpoint("127.0.0.1", 8025))]
    assert [key for key, _ in listeners(Config(), None)] == [
        "[submission] listen",
        "[bounce] listen",
        "[pixel] listen",
        "[report] listen",
    ]


def test_a_reload_keeps_what_only_a_start_can_change() -> None:
    old = parse("", "c")
    new = parse('[server]\nworkers = 9\n[pixel]\nlisten = ["127.0.0.1:9"]\n[tracking]\ntext_only = "leave"', "c")
    merged, kept = reloaded(old, new)
    assert kept == ["[server] workers", "[pixel] listen"]
    assert merged == old.model_copy(update={"tracking": new.tracking})


def test_a_reload_of_the_same_changes_nothing() -> None:
    assert reloaded(Config(), Config()) == (Config(), [])


@given(st.integers(1, 10_000))
def test_the_wait_grows_and_ends_at_half_a_minute(deaths: int) -> None:
    assert 0.5 <= wait_seconds(deaths) <= wait_seconds(deaths + 1) <= 30


def test_a_newcomer_is_told_where_everything_is() -> None:
    text = "\n".join(announce.lines(parse("", "c"), None, "the embedded default", "1.2.3"))
    for words in (
        "Telltale 1.2.3 is up (relay, pixel and report); configuration: the embedded default.",
        "smtp://127.0.0.1:2525 (no password from 127.0.0.0/8, ::1/128; else `telltale user add`)",
        "smtp://127.0.0.1:2526",
        "http://127.0.0.1:8025 (in messages: http://127.0.0.1:8025/o/…)",
        "http://127.0.0.1:8026 or with `telltale log`",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("only", "there", "missing"), [(PartName.RELAY, "mail to", "images"), (PartName.PIXEL, "images", "mail to")]
)
def test_a_part_alone_tells_of_itself(only: PartName, there: str, missing: str) -> None:
    config = parse('[submission]\ntrusted_networks = []\ntls_listen = ["127.0.0.1:465"]\nlisten = []', "c")
    text = "\n".join(announce.lines(config, only, "c", "1"))
    assert there in text
    assert missing not in text
    assert only is not PartName.RELAY or "mail to         nowhere (users by `telltale user add`)" in text

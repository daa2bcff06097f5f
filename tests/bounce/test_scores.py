"""The thresholds of bounce reading on a corpus of real bounces, where one is at hand.

The corpus is no part of the project: a folder named by CORPORA or BENCH_DATA, or the archive beside the
checkout. The scorer judges; here are only the marks to reach.
"""

import importlib.util
import json
import os
import tarfile
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from relay.bounce.command import lines
from relay.bounce.parse import parse

SHARED = Path(__file__).parents[3] / "shared"
MARKS = {
    "recipients found": (("rcpt_hit", "rcpt_need"), 0.98),
    "verdict accepted": (("verdict_ok", "verdict_n"), 0.94),
    "verdict strict": (("verdict_strict", "verdict_n"), 0.89),
    "status": (("status_ok", "status_n"), 0.97),
    "reply": (("reply_ok", "reply_n"), 0.95),
    "action": (("action_ok", "action_n"), 0.96),
    "whole file right": (("pos_all_ok", "pos"), 0.93),
    "ordinary mail left alone": (("neg_ok", "neg"), 1.0),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for named in (os.environ.get("BENCH_DATA"), os.environ.get("CORPORA")):
        for folder in (Path(named), Path(named) / "bounces") if named else ():
            if (folder / "truth.json").exists():
                return folder
    archive = SHARED / "corpora" / "bounces-dev.tar.xz"
    if not archive.exists():
        pytest.skip("no corpus of bounces at hand (CORPORA)")
    folder = tmp_path_factory.mktemp("corpora")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return next(folder.rglob("truth.json")).parent


@pytest.fixture(scope="module")
def scorer(corpus: Path) -> ModuleType:
    tool = SHARED / "tools" / "score_bounces.py"
    if not tool.exists():
        pytest.skip("no scorer of bounces at hand")
    spec = importlib.util.spec_from_file_location("score_bounces", tool)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(corpus))
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def metrics(corpus: Path, scorer: ModuleType) -> dict[str, int]:
    files = [one for one in json.loads((corpus / "truth.json").read_text())["files"] if not one["dup_of"]]
    rows: dict[str, list[Any]] = defaultdict(list)
    for line in lines([corpus / one["path"] for one in files]):
        told = json.loads(line)
        rows[os.path.realpath(told["file"])].append(told)
    return dict(scorer.score(files, rows)[0])


@pytest.mark.parametrize("mark", MARKS)
def test_the_mark_is_reached(metrics: dict[str, int], mark: str) -> None:
    (part, whole), least = MARKS[mark]
    assert metrics[part] / metrics[whole] >= least


def test_nobody_is_reported_who_did_not_fail(metrics: dict[str, int]) -> None:
    assert metrics["prec_bad"] / metrics["prec_n"] <= 0.02


def test_no_detector_breaks_on_real_mail(corpus: Path) -> None:
    broken = [path for path in corpus.rglob("*.[emt]*") if path.is_file() and parse(path.read_bytes()).troubles]
    assert broken == []

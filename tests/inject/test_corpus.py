"""The black-box checker over real mail, where both are at hand: `$CORPORA/mail`, or the archive in `../shared`."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_SHARED = _ROOT.parent / "shared"
_CHECKER = _SHARED / "tools" / "check_inject.py"
_ARCHIVE = _SHARED / "corpora" / "mail-dev.tar.xz"
# The whole corpus is for CI (`INJECT_EVERY=1`); a tenth shows at once what broke.
_EVERY = os.environ.get("INJECT_EVERY", "10")


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that holds the corpus."""
    if not _CHECKER.is_file():
        pytest.skip("the checker ../shared/tools/check_inject.py is not at hand")
    unpacked = Path(os.environ.get("CORPORA", "/nonexistent")) / "mail"
    if unpacked.is_dir():
        yield unpacked
        return
    if not _ARCHIVE.is_file():
        pytest.skip("no corpus at hand: set CORPORA, or put mail-dev.tar.xz into ../shared/corpora")
    folder = tmp_path_factory.mktemp("corpora")
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    yield folder


def test_no_mail_is_harmed(mail: Path, tmp_path: Path) -> None:
    """No message damaged, every clear one tracked, every one that must not be touched identical, by insertion alone."""
    report = tmp_path / "report.json"
    command = [sys.executable, str(_CHECKER), "--callable", "relay.inject.command:inject_left", "--idem", "--jobs", "1"]
    done = subprocess.run(
        [*command, "--every", _EVERY, "--json", str(report)],
        cwd=_ROOT,
        env={**os.environ, "BENCH_DATA": str(mail)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(report.read_text())["summary"]
    assert summary["harmed"] == 0
    assert summary["coverage"] == 1
    never, of = summary["never_identical"].split("/")
    assert never == of
    assert summary["pure_insertion"] >= 0.98 * summary["modified"]
    # A hundred times what the median takes here, so that a busy machine is no failure.
    assert summary["ms_median"] < 5

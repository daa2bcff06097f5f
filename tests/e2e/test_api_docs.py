"""The examples of docs/api.md, run as they stand: by a shell with curl, and by Python, against the real processes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers import keeper
from tests.peers.smtp import free_port
from tests.peers.telltale import TELLTALE, Telltale, require, wait_for

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
BLOCK = re.compile(r"^```(sh|json|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# The command line has its configuration, a password where a terminal would be asked, and each answer a line of its own;
# an answer that is an error ends the shell.
SHELL = """
set -euo pipefail
telltale() {{
  if [ "$1 $2" = "user add" ]; then echo "correct horse battery" | command {telltale} "$@" --password-stdin >&2
  else command {telltale} "$@"; fi
}}
curl() {{ command curl --fail-with-body "$@"; echo; }}
telltale user add boss --admin
{{ {first}
ID=$(sed -n 's/.*"id":"\\([0-9A-Za-z]*\\)","recipients".*/\\1/p' answers | head -1)
RECIPIENT=$(sed -n 's/.*"why":null,"id":"\\([0-9A-Za-z]*\\)".*/\\1/p' answers | head -1)
NEXT=$(command curl -sS "$API/events" -H "Authorization: Bearer $TOKEN" | sed -n 's/.*"next":"\\([^"]*\\)".*/\\1/p')
{rest}
}} >answers
"""


def blocks(kind: str) -> list[str]:
    return [text for one, text in BLOCK.findall(PAGE) if one == kind]


def test_the_examples_do_what_the_page_says(make_telltale: Callable[..., Telltale], tmp_path: Path) -> None:
    box, port = keeper.Keeper(), free_port()
    sink = keeper.start(box, "127.0.0.1", port)
    telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}')
    try:
        (tmp_path / "message.eml").write_text("From: shop@example.org\nTo: bob@example.net\nSubject: whole\n\nHi\n")
        (tmp_path / "customers.csv").write_text("email,name\nbob@example.net,Bob\n")
        shell = [text.replace("http://127.0.0.1:8026", f"http://127.0.0.1:{telltale.report}") for text in blocks("sh")]
        script = SHELL.format(telltale=TELLTALE, first="\n".join(shell[:2]), rest="\n".join(shell[2:]))
        environ = os.environ | {"TELLTALE_CONFIG": str(telltale.config)}
        done = subprocess.run(
            [require("bash"), "-c", script], cwd=tmp_path, env=environ, capture_output=True, timeout=120, check=False
        )
        answers = (tmp_path / "answers").read_text()
        assert done.returncode == 0, f"{done.stderr.decode()}\n{answers}"
        told = [json.loads(line) for line in answers.splitlines() if line.strip()]
        keys = [set(one) for one in told]
        for example in blocks("json"):
            assert set(json.loads(example)) in keys, example
        assert {one["added"] for one in told if "added" in one} == {1}
        _run_python(telltale)
        subjects = ("Your order 4711", "whole", "For Bob", "For Cyd", "Hello Bob", "Hi")
        wanted = [f"Subject: {subject}\r\n".encode() for subject in subjects]
        wait_for("all copies", lambda: _found(box, wanted) == len(wanted))
    finally:
        sink.stop()


def _found(box: keeper.Keeper, wanted: list[bytes]) -> int:
    contents = [one.content for one in box.messages()]
    return sum(any(text in content for content in contents) for text in wanted)


def _run_python(telltale: Telltale) -> None:
    """Run the program of the page, twice, as a user of its shell would."""
    (text,) = blocks("python")
    made = re.search(r"\$\(telltale (token add .*)\)", PAGE)
    assert made
    environ = {"API": f"http://127.0.0.1:{telltale.report}/api/v1", "TOKEN": telltale.run(*made[1].split()).strip()}
    run = [sys.executable, "-c", text]
    ids = [
        subprocess.run(run, env=os.environ | environ, capture_output=True, timeout=60, check=True).stdout
        for _ in range(2)
    ]
    assert ids[0] == ids[1] != b""

"""The documents: what can be held against the code is."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from relay.inject.plan import InjectOptions, plan_message
from relay.inject.render import render
from storage.status import Status

ROOT = Path(__file__).parents[2]


def test_the_page_of_statuses_is_drawn_from_the_table() -> None:
    spec = importlib.util.spec_from_file_location("draw_status", ROOT / "docs" / "draw_status.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.PAGE.read_text()
    assert module.page(text) == text, "run `make docs`"


@pytest.mark.parametrize("page", ["README.md", "docs/status.md"])
def test_all_statuses_are_explained(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [status for status in Status if f"| {status} |" not in text] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    text = (ROOT / "docs" / "dependencies.md").read_text()
    named = set(re.findall(r"^\| ([\w-]+) \|", text, re.MULTILINE))
    assert named >= {re.split(r"[<>=\[]", name)[0] for name in names}


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_changelog_knows_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (
        f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
        or "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
    )


@pytest.mark.parametrize("text", ["Hello you!", "Grüße! " + "A line that is longer than others. " * 8])
def test_the_first_message_s_image_is_found_by_the_readme_s_own_line(tmp_path: Path, text: str) -> None:
    """A newcomer copies the line and pastes it: also where the copy is quoted-printable."""
    url = "http://127.0.0.1:8025/o/ovpmou53ttp4y7a4p3asah3dae.gif"
    content = f"Subject: Hello\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()
    copy = render(content, plan_message(content, InjectOptions(url_length=len(url))), url)
    assert (b"quoted-printable" in copy) is not text.isascii()
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("   image=$("))
    (tmp_path / "copies.txt").write_bytes(url.encode() + b'"\n' + copy.replace(b"\r\n", b"\n"))
    found = subprocess.run(
        ["sh", "-ec", f'{line}\necho "$image"'], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )
    assert found.stdout == f"{url}\n"

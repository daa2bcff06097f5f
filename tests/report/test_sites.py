"""report/sites.py: one row a site, whatever number of workers; what is shown to people and to programs."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from report.command import Form, print_sites
from report.sites import COUNTED_AT_MOST, merged
from report.words import rfc3339
from storage import owners
from storage.sites import SitesFile, SiteState
from tests.report.mailing import START, Mail

ONE = SiteState("mx.a.test", "default", None, ("a.test",), 1, 2, 1, 3, 5, 10, None, 1, "250 2.0.0 ok", START, 0)


def test_workers_are_added_up_and_the_newest_reply_is_the_last() -> None:
    other = replace(ONE, domains=("b.test",), ready=5, connections=1, slowness=2, until_ms=START)
    other = replace(other, reply="421 4.7.0 no", reply_ms=START + 1)
    (row,) = merged([(1, [ONE]), (0, [other])], {"a.test": 10, "b.test": 20, "c.test": 40})
    assert row.workers == (0, 1)
    assert row.waiting == 30
    assert row.load == 39
    both = ("a.test", "b.test")
    assert row.state == SiteState(
        "mx.a.test", "default", None, both, 2, 7, 2, 4, 10, 20, None, 2, "421 4.7.0 no", START + 1, START
    )


def test_sites_of_one_host_are_apart_where_their_entry_or_source_is() -> None:
    others = [replace(ONE, shape="mine"), replace(ONE, source="second"), replace(ONE, name="mx.b.test", ready=50)]
    rows = merged([(0, [ONE, *others])], {})
    assert [(row.state.name, row.state.shape, row.state.source) for row in rows] == [
        ("mx.b.test", "default", None),
        ("mx.a.test", "default", None),
        ("mx.a.test", "default", "second"),
        ("mx.a.test", "mine", None),
    ]


async def shown(state_dir: Path, form: Form = Form.TABLE, limit: int | None = None) -> str:
    out = io.StringIO()
    await print_sites(state_dir, form, limit=limit, out=out)
    return out.getvalue()


async def test_without_a_worker_that_is_said_with_what_waits(mail: Mail, tmp_path: Path) -> None:
    jobs = await mail.accept("a@x.test", "b@y.test")
    assert await shown(tmp_path) == "no relay process is running\n"
    await mail.store.postpone(jobs, START)
    assert await shown(tmp_path) == (
        "no relay process is running\n2 recipients in the store for domains of no site above\n"
    )
    assert await shown(tmp_path, Form.JSON) == ""


async def test_a_relay_without_sites_is_a_table_without_lines(mail: Mail, tmp_path: Path) -> None:
    """As an empty queue is: that nothing is delivered to is told, and no relay is missed."""
    SitesFile(tmp_path, owners.register(tmp_path, 0).id, 1, 0).write([])
    (line,) = (await shown(tmp_path)).splitlines()
    assert line.split() == ["Ready", "Waiting", "Conn.", "Limit", "Rate", "Left", "alone", "Worker", "Site"]


async def test_a_person_sees_a_line_a_site_and_the_reply_below(mail: Mail, tmp_path: Path) -> None:
    await mail.store.postpone(await mail.accept("a@a.test", "b@a.test", "c@z.test"), START)
    owner = owners.register(tmp_path, 0)
    file = SitesFile(tmp_path, owner.id, 1, 0)
    hostile = replace(
        ONE,
        name="mx.b.test",
        shape="mine",
        source="two",
        domain_count=5,
        rate="10/s",
        slowness=4,
        reply="421 \x1b[31mred",
        until_ms=1 << 45,
    )
    file.write([ONE, hostile])
    text = await shown(tmp_path)
    lines = text.splitlines()
    assert lines[0].split() == ["Ready", "Waiting", "Conn.", "Limit", "Rate", "Left", "alone", "Worker", "Site"]
    assert lines[1].split() == ["3", "2", "3", "5/10", "-", "-", "0", "mx.a.test"]
    assert lines[2].strip() == "(250 2.0.0 ok)"
    assert lines[3].split()[:5] == ["3", "2", "3", "5/10", "10/s÷4"]
    assert lines[3].endswith("mx.b.test [mine] from two (5 domains)")
    assert "\x1b" not in lines[4]
    assert lines[5] == "1 recipient in the store for domains of no site above"
    few = (await shown(tmp_path, limit=1)).splitlines()
    assert few[3] == "1 more site: --all shows them"
    owner.retire()


async def test_a_program_gets_an_object_a_site(mail: Mail, tmp_path: Path) -> None:
    owner = owners.register(tmp_path, 0)
    SitesFile(tmp_path, owner.id, 1, 4).write([ONE])
    assert json.loads(await shown(tmp_path, Form.JSON)) == {
        "site": "mx.a.test",
        "entry": "default",
        "source": None,
        "domains": ["a.test"],
        "domain_count": 1,
        "ready": 2,
        "trying": 1,
        "waiting": 0,
        "connections": 3,
        "connections_now": 5,
        "connections_most": 10,
        "rate": None,
        "slowed_by": 1,
        "last_reply": "250 2.0.0 ok",
        "last_reply_at": rfc3339(START),
        "backoff_until": None,
        "workers": [4],
    }
    owner.retire()


async def test_where_too_much_waits_to_be_counted_that_is_said(
    mail: Mail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("report.sites.COUNTED_AT_MOST", 1)
    await mail.store.postpone(await mail.accept("a@a.test", "b@a.test", "c@z.test"), START)
    assert "more than 1 recipients wait" in await shown(tmp_path)
    assert COUNTED_AT_MOST > 1

"""report/api: contacts, the Blocked list and broadcasts, by the verbs of all other ways."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from report.api import reading
from report.desk import MOST_UPLOADS
from report.server import ReportServer
from storage.access import Role
from tests.report.asking import Program, add_token, program
from tests.report.mailing import Mail

LETTER = {"name": "May", "from": "Ann <ann@sender.test>", "subject": "Hello", "html": "<p>Dear {{ name }}"}


async def test_contacts_are_stored_found_changed_and_removed(prog: Program) -> None:
    new = {"key": "c1", "name": "Ann", "addresses": [{"address": "Ann@Example.TEST", "types": ["News"]}]}
    status, one = await prog.post("/contacts", new | {"fields": {"plan": "pro"}, "lists": ["all"]})
    assert status == 200, one
    assert one["addresses"] == [{"address": "Ann@example.test", "types": ["news"]}]
    assert (await prog.get("/contacts", q="c1"))[1]["contacts"] == [one]
    assert (await prog.get("/contacts", list="all"))[1]["contacts"] == [one]
    status, changed = await prog.ask("PUT", f"/contacts/{one['id']}", json=new | {"name": "Anna"})
    assert (status, changed["name"]) == (200, "Anna")
    assert (await prog.ask("DELETE", f"/contacts/{one['id']}"))[0] == 204
    assert (await prog.get(f"/contacts/{one['id']}"))[0] == 404
    status, problem = await prog.post("/contacts", {"addresses": [{"address": "nobody"}]})
    assert status == 422
    assert "/addresses/0/address" in problem["detail"]


async def test_contacts_are_paged(prog: Program) -> None:
    for number in range(5):
        await prog.post("/contacts", {"key": f"k{number}", "addresses": [{"address": f"{number}@x.test"}]})
    seen, cursor = [], {}
    while True:
        _, page = await prog.get("/contacts", limit=2, **cursor)
        seen += [one["key"] for one in page["contacts"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [f"k{number}" for number in range(5)]


async def test_a_file_is_imported_as_it_streams_in(prog: Program) -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b"email,name\n"
        for number in range(2000):
            yield b"%d@x.test,N%d\n" % (number, number)
        yield b"nobody,X\n"

    ask = {"params": {"list": "all"}, "headers": {"Content-Type": "text/csv"}}
    status, came = await prog.ask("POST", "/contacts/import", data=lines(), **ask)
    assert status == 200, came
    assert (came["added"], came["bad"], came["first_bad"][0]["line"]) == (2000, 1, 2002)
    status, problem = await prog.ask(
        "POST", "/contacts/import", data=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"}
    )
    assert status == 422, problem


async def test_a_file_that_stops_coming_is_given_up(
    prog: Program, api: ReportServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its place, of the few that a user has, is free again."""
    monkeypatch.setattr(reading, "_IDLE_SECONDS", 0.2)
    stalled = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b"email\n"
        await stalled.wait()

    assert api._desk
    async with asyncio.timeout(10):
        status, problem = await prog.ask("POST", "/contacts/import", data=lines(), headers={"Content-Type": "text/csv"})
    assert (status, "Nothing more of the body came" in problem["detail"]) == (408, True)
    assert api._desk.uploads["prog"] == 0
    api._desk.uploads["prog"] = MOST_UPLOADS
    status, _ = await prog.ask("POST", "/contacts/import", data=b"email\n", headers={"Content-Type": "text/csv"})
    assert (status, prog.headers["Retry-After"]) == (429, "30")


async def test_addresses_are_blocked_and_unblocked(prog: Program) -> None:
    ask = {"addresses": ["Bob@example.test", "@other.test"], "reason": "asked for it"}
    assert await prog.post("/blocked", ask) == (200, {"added": 2})
    _, all_ = await prog.get("/blocked")
    assert {one["address"] for one in all_["blocked"]} == {"Bob@example.test", "@other.test"}
    assert (await prog.get("/blocked/x@other.test"))[1]["blocked"][0]["reason"] == "asked for it"
    assert (await prog.ask("DELETE", "/blocked/@other.test"))[0] == 204
    assert (await prog.ask("DELETE", "/blocked/@other.test"))[0] == 404
    assert (await prog.get("/blocked/x@other.test"))[0] == 404
    assert (await prog.post("/blocked", {"addresses": ["nobody"]}))[0] == 422


async def test_a_broadcast_is_sent_shown_paused_and_cancelled(prog: Program) -> None:
    people = [{"address": "bob@example.test", "name": "Bob"}, {"address": "cyd@example.test", "name": "Cyd"}]
    status, made = await prog.post("/broadcasts", LETTER | {"recipients": people, "start": "2040-01-01T00:00:00Z"})
    assert status == 201, made
    assert (made["state"], made["total"], made["owner"]) == ("scheduled", 2, "prog")
    at = f"/broadcasts/{made['id']}"
    assert (await prog.ask("POST", f"{at}/pause"))[1]["state"] == "paused"
    assert (await prog.ask("POST", f"{at}/pause"))[0] == 409
    assert (await prog.ask("POST", f"{at}/resume"))[1]["state"] in {"scheduled", "sending"}
    assert (await prog.ask("POST", f"{at}/cancel"))[1]["state"] == "cancelled"
    assert (await prog.get(at))[1]["state"] == "cancelled"
    assert [one["id"] for one in (await prog.get("/broadcasts"))[1]["broadcasts"]] == [made["id"]]
    status, problem = await prog.post("/broadcasts", LETTER | {"recipients": [{"address": "bob@example.test"}]})
    assert (status, "name" in problem["detail"]) == (422, True)
    assert (await prog.post("/broadcasts", LETTER))[0] == 422


async def test_a_sender_sees_and_orders_its_own_broadcasts_only(api: ReportServer, mail: Mail, prog: Program) -> None:
    people = {"recipients": [{"address": "bob@example.test", "name": "Bob"}], "start": "2040-01-01T00:00:00Z"}
    _, made = await prog.post("/broadcasts", LETTER | people)
    async with program(api, await add_token(mail.store, "bob", Role.SENDER, senders=("@bob.test",))) as bob:
        assert (await bob.get("/broadcasts"))[1]["broadcasts"] == []
        assert (await bob.ask("POST", f"/broadcasts/{made['id']}/cancel"))[0] == 404
        status, problem = await bob.post("/broadcasts", LETTER | people)
        assert (status, "@bob.test" in problem["detail"]) == (422, True)
        assert (await bob.post("/broadcasts", LETTER | {"list": "all"}))[0] == 403
        assert (await bob.get("/contacts"))[0] == 403


async def test_who_wants_no_more_is_noted_listed_and_taken_back(prog: Program) -> None:
    ask = {"addresses": ["Bob@example.test", "eve@other.test"], "type": "News"}
    assert await prog.post("/unsubscribed", ask) == (200, {"added": 2})
    assert await prog.post("/unsubscribed", ask | {"type": None}) == (200, {"added": 2})
    seen, cursor = [], {}
    while True:
        _, page = await prog.get("/unsubscribed", limit=1, **cursor)
        seen += [(one["address"], one["type"]) for one in page["unsubscribed"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    both = ("Bob@example.test", "eve@other.test")
    assert (len(seen), set(seen)) == (4, {(address, type_) for address in both for type_ in (None, "news")})
    assert len((await prog.get("/unsubscribed", q="@other.test", type="news"))[1]["unsubscribed"]) == 1
    assert (await prog.ask("DELETE", "/unsubscribed/bob@example.test", params={"type": "news"}))[0] == 204
    assert (await prog.ask("DELETE", "/unsubscribed/bob@example.test", params={"type": "news"}))[0] == 404
    assert (await prog.ask("DELETE", "/unsubscribed/bob@example.test"))[0] == 204
    assert (await prog.get("/unsubscribed", q="bob"))[1]["unsubscribed"] == []
    assert (await prog.ask("DELETE", "/unsubscribed/nobody"))[0] == 404
    assert (await prog.get("/unsubscribed", cursor="W10"))[0] == 400
    assert (await prog.post("/unsubscribed", {"addresses": ["nobody"]}))[0] == 422

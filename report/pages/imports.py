"""Importing a file of contacts, who unsubscribed, or addresses to block: its columns, how far it is, what it left out.

Rule: an import goes on whoever looks. One that was broken off says so, and goes on, or begins anew, when its maker says
so: what is stored already is not changed by it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from report.asked import Asked, Route
from report.fields import MAX_CHARS, Form
from report.forms import posted
from report.handed import Columns, Importing, Refusal
from report.html import page, see_other
from report.imports import LEFT_OUT, MOST_UNFINISHED, Import, Kind, Standing, State
from report.jobs import Job
from report.pages.progress import SHORT_SECONDS, follow
from report.problem import ProblemError
from report.uploads import Upload, uploaded
from storage.access import Scope
from storage.contact_rows import FIELD, IGNORED, column_known
from storage.typed import wrong_reason

_TABLES: Final = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"})
_ENCODINGS: Final = {"": "UTF-8", "cp1252": "Windows (cp1252)", "latin-1": "Latin 1"}
_MEANINGS: Final = {
    "email": "Address",
    "email2": "2nd address",
    "email3": "3rd address",
    "name": "Name",
    "key": "Key",
    "types": "Types of broadcasts",
    "types2": "Types for the 2nd address",
    "types3": "Types for the 3rd address",
    "list": "Lists",
    FIELD: "Field of the contact",
    IGNORED: "Leave out",
}
_MOST_COLUMNS: Final = 200
_ROWS_SHOWN: Final = 3
_CELL_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class _Place:
    """Where files of a kind are imported."""

    kind: Kind
    path: str
    """Of the list that they come to."""
    scope: Scope
    title: str
    """Of that list's page."""
    what: str
    """What is imported."""
    sums: Mapping[str, str]
    """What became of the records: how it is counted, and what people call it."""


_Handler = Callable[[Asked, _Place], Awaitable[web.StreamResponse]]
_PLACES: Final = (
    _Place(
        Kind.CONTACTS,
        "/contacts",
        Scope.CONTACTS_WRITE,
        "Contacts",
        "contacts",
        {"added": "added", "updated": "updated", "unchanged": "unchanged"},
    ),
    _Place(
        Kind.UNSUBSCRIBED,
        "/unsubscribed",
        Scope.CONTACTS_WRITE,
        "Unsubscribed",
        "who unsubscribed",
        {"added": "noted", "known": "were already"},
    ),
    _Place(
        Kind.BLOCKED,
        "/blocked",
        Scope.BLOCKED_WRITE,
        "Blocked Email",
        "blocked addresses",
        {"added": "blocked", "known": "were already, or are past"},
    ),
)


def _rooms(asked: Asked) -> Importing:
    if asked.desk.handed.importing is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "Nothing is imported from here.")
    return asked.desk.handed.importing


async def show(asked: Asked, place: _Place) -> web.Response:
    """Show the form, and the imports that there are."""
    return await _form(asked, place, {"list": asked.request.query.get("list", "")}, [])


async def _form(asked: Asked, place: _Place, given: Mapping[str, str], wrong: list[str]) -> web.Response:
    found = await asyncio.to_thread(asked.desk.imports.of, asked.who.user, place.kind)
    facts = {
        "place": place,
        "given": given,
        "wrong": wrong,
        "encodings": _ENCODINGS,
        "lists": await asked.desk.reader.contacts.list_names() if place.kind is Kind.CONTACTS else [],
        "imports": [(one, *_stands(asked, one)) for one in found],
    }
    return page(asked, "import.html", facts, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


def _stands(asked: Asked, wanted: Import) -> tuple[Standing, bool]:
    """Return how far an import is, and whether it was broken off."""
    standing = wanted.standing()
    under_way = standing.state is State.UNDER_WAY and asked.desk.jobs.find(wanted.id) is None
    return standing, under_way and not wanted.at_work()


async def take(asked: Asked, place: _Place) -> web.Response:
    """Take a file, and begin to import it where its columns are clear."""
    rooms, made = _rooms(asked), list[Path]()

    def folder() -> Path:
        own = asked.desk.imports.of(asked.who.user)
        if sum(one.standing().state in {State.NEW, State.UNDER_WAY} for one in own) >= MOST_UNFINISHED:
            detail = f"{MOST_UNFINISHED} imports of yours are not finished: wait for them, or remove one."
            raise ProblemError(HTTPStatus.CONFLICT, detail)
        made.append(asked.desk.imports.new_folder())
        return made[0]

    try:
        upload = await uploaded(asked, {"file": "file.new"}, folder)
        form = Form(upload.fields)
        wanted = _wanted(asked, place, form, upload, made[0])
        if form.wrong:
            asked.desk.imports.forget(wanted.folder)
            return await _form(asked, place, upload.fields, form.wrong)
        asked.desk.imports.keep(wanted)
    except BaseException:
        for one in made:
            asked.desk.imports.forget(one)
        raise
    columns = await asyncio.to_thread(rooms.look, wanted)
    if isinstance(columns, Refusal):
        asked.desk.imports.forget(wanted.folder)
        return await _form(asked, place, upload.fields, [columns.why])
    if columns is not None and columns.headless:
        wanted = asked.desk.imports.change(wanted, {}, headless=True)
    if columns is None or (columns.clear and "columns" not in upload.fields):
        await _begin(asked, wanted, Standing())
    return see_other(asked, f"{place.path}/import/{wanted.id}")


def _wanted(asked: Asked, place: _Place, form: Form, upload: Upload, folder: Path) -> Import:
    path, called = upload.files.get("file", (folder / "file.new", ""))
    suffix = Path(called).suffix.lower()
    wanted = Import(
        folder.name,
        asked.who.user,
        place.kind,
        called or "a file",
        f"{place.kind.value}{suffix if suffix in _TABLES else ''}",
        asked.desk.clock_ms(),
        form.fields.get("encoding", ""),
        form.lists("list"),
        reason=form.fields.get("reason", "").strip(),
        type=form.broadcast_type("type", "Type"),
        folder=folder,
    )
    if "file" not in upload.files:
        form.wrong.append("File: choose one.")
    elif not form.wrong:
        path.rename(wanted.path)
    if wanted.encoding not in _ENCODINGS:
        form.wrong.append("Encoding: choose one of the list.")
    if wrong := wrong_reason(wanted.reason):
        form.wrong.append(wrong)
    lasts = form.span_ms("lasts", "For")
    return wanted if lasts is None else replace(wanted, ends_ms=wanted.made_ms + lasts)


async def _begin(asked: Asked, wanted: Import, standing: Standing) -> None:
    """Begin, or go on, and wait a little: what is small is over then."""
    turn, rooms = wanted.turn, _rooms(asked)
    if asked.desk.jobs.find(wanted.id) is None and turn.take():
        wanted.note(replace(standing, state=State.UNDER_WAY, why=""))
        job = asked.desk.jobs.start(wanted.id, wanted.user, partial(_run, rooms, wanted, standing), turn)
        await job.wait(SHORT_SECONDS)


def _run(rooms: Importing, wanted: Import, standing: Standing, job: Job) -> None:
    def told(so_far: Standing) -> None:
        wanted.note(so_far)
        job.tell("Importing", so_far.bytes_read, so_far.size)

    job.tell("Importing", standing.bytes_read, standing.size or None)
    wanted.end(rooms.run(wanted, standing, told))


def _import(asked: Asked, place: _Place) -> Import:
    found = asked.desk.imports.find(asked.request.match_info["import"], asked.who.user, place.kind)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such import of yours (any more): one is kept for a day.")
    return found


async def one(asked: Asked, place: _Place) -> web.Response:
    """Show an import: its columns, how far it is, or what came of it."""
    return await _one(asked, place, _import(asked, place), {}, [])


async def _one(asked: Asked, place: _Place, wanted: Import, given: Mapping[str, str], wrong: list[str]) -> web.Response:
    standing, broken = _stands(asked, wanted)
    job = asked.desk.jobs.find(wanted.id)
    columns = await asyncio.to_thread(_rooms(asked).look, wanted) if standing.state is State.NEW else None
    if isinstance(columns, Refusal):
        wrong, columns = [*wrong, columns.why], None
    facts = {
        "place": place,
        "one": wanted,
        "standing": standing,
        "broken": broken,
        "job": job,
        "under_way": standing.state is State.UNDER_WAY and not broken,
        "columns": _shown(columns, wanted, given) if columns else [],
        "meanings": _MEANINGS,
        "given": given,
        "wrong": wrong,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return page(asked, "import_one.html", facts, status=status)


def _shown(columns: Columns, wanted: Import, given: Mapping[str, str]) -> list[tuple[int, str, str, list[str]]]:
    """Return (place, header, what it is taken for, its first cells) of each column that has a name of its own."""
    found = []
    for at, name in _named(columns):
        meaning = given.get(f"column{at}") or wanted.mapping.get(name) or columns.guessed.get(name, IGNORED)
        cells = [row[at][:_CELL_CHARS] for row in columns.rows[:_ROWS_SHOWN] if at < len(row)]
        found.append((at, name, FIELD if meaning.startswith(FIELD) else meaning, cells))
    return found


def _named(columns: Columns) -> list[tuple[int, str]]:
    first = {name: at for at, name in reversed(list(enumerate(columns.header))) if name}
    return sorted((at, name) for name, at in first.items())[:_MOST_COLUMNS]


async def order(asked: Asked, place: _Place) -> web.Response:
    """Do what the maker of an import says: begin, go on, begin anew, stop, remove."""
    fields, wanted = await posted(asked), _import(asked, place)
    told, job, standing = fields.get("do"), asked.desk.jobs.find(wanted.id), wanted.standing()
    here = f"{place.path}/import/{wanted.id}"
    if told == "stop" and job is not None:
        job.stop()
        await job.wait(SHORT_SECONDS)
    elif told == "remove" and not wanted.at_work():
        asked.desk.imports.forget(wanted.folder)
        here = f"{place.path}/import"
    elif told == "begin" and standing.state is State.NEW:
        columns = await asyncio.to_thread(_rooms(asked).look, wanted)
        mapping, wrong = _mapping(columns, fields) if isinstance(columns, Columns) else ({}, [])
        if wrong:
            return await _one(asked, place, wanted, fields, wrong)
        await _begin(asked, asked.desk.imports.change(wanted, mapping, headless=wanted.headless), Standing())
    elif told in {"go on", "again"} and standing.state is State.UNDER_WAY:
        await _begin(asked, wanted, standing if told == "go on" else Standing())
    return see_other(asked, here)


def _mapping(columns: Columns, fields: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return what a form says that the headers mean, and what is wrong with it."""
    mapping, wrong, taken = dict[str, str](), list[str](), dict[str, str]()
    for at, name in _named(columns):
        meaning = fields.get(f"column{at}", IGNORED)
        if meaning == FIELD:
            called = fields.get(f"called{at}", "").strip() or name
            meaning = called if called.startswith(FIELD) else FIELD + called
            if len(called) > MAX_CHARS or not called.isprintable():
                wrong.append(f"Field: expected a name of at most {MAX_CHARS} printable characters.")
        elif meaning in taken and meaning != IGNORED:
            wrong.append(f'"{taken[meaning]}" and "{name}" are both {_MEANINGS.get(meaning, meaning)}: choose one.')
        elif not column_known(meaning):
            wrong.append(f'"{name}": choose one of the list.')
        taken[meaning] = name
        mapping[name] = meaning
    if not any(meaning.startswith("email") for meaning in mapping.values()):
        wrong.append("Say which column is the address.")
    return mapping, wrong


async def left_out(asked: Asked, place: _Place) -> web.StreamResponse:
    """Send all lines that an import left out, and why."""
    report = _import(asked, place).report
    if not report.is_file():
        raise ProblemError(HTTPStatus.NOT_FOUND, "Nothing was left out.")
    headers = {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{LEFT_OUT}"'}
    return web.FileResponse(report, headers=headers)


async def live(asked: Asked, place: _Place) -> web.StreamResponse:
    """Tell the page of an import that there is news."""
    wanted = _import(asked, place)
    return await follow(asked, lambda: asked.desk.jobs.find(wanted.id))


def _routes(place: _Place) -> list[Route]:
    at = f"{place.path}/import"

    def route(method: str, path: str, handler: _Handler) -> Route:
        return Route(method, path, lambda asked: handler(asked, place), place.scope)

    return [
        route("GET", at, show),
        route("POST", at, take),
        route("GET", f"{at}/{{import}}.csv", left_out),
        route("GET", f"{at}/{{import}}/live", live),
        route("GET", f"{at}/{{import}}", one),
        route("POST", f"{at}/{{import}}", order),
    ]


ROUTES: Final = tuple(route for place in _PLACES for route in _routes(place))

"""Importing a file of contacts, with what was left out and why.

Rule: an import that is broken off is simply made again: what is stored already is not changed by it.
"""

import time
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from report.asked import Asked, Route
from report.fields import Form
from report.handed import Imported, Importing, Refusal
from report.html import page
from report.problem import ProblemError
from report.uploads import uploaded
from storage.access import Scope

_TABLES: Final = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"})
_ENCODINGS: Final = {"": "UTF-8", "cp1252": "Windows (cp1252)", "latin-1": "Latin 1"}
_LEFT_OUT: Final = "left-out.csv"


async def show(asked: Asked) -> web.Response:
    """Show the form."""
    return await _shown(asked, {"list": asked.request.query.get("list", "")}, [])


async def _shown(
    asked: Asked, given: dict[str, str], wrong: list[str], came: Imported | None = None, folder: str = ""
) -> web.Response:
    facts = {
        "given": given,
        "wrong": wrong,
        "came": came,
        "folder": folder,
        "encodings": _ENCODINGS,
        "lists": await asked.desk.reader.contacts.list_names(),
    }
    return page(asked, "import.html", facts, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


def _importing(asked: Asked) -> Importing:
    if asked.desk.handed.importing is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "Nothing is imported from here.")
    return asked.desk.handed.importing


async def take(asked: Asked) -> web.Response:
    """Import what was uploaded, and tell what came of it."""
    made: list[Path] = []

    def folder() -> Path:
        made.append(asked.desk.drafts.new_folder(time.time()))
        return made[0]

    try:
        upload = await uploaded(asked, {"file": "contacts.new"}, folder)
        form = Form(upload.fields)
        lists, encoding = form.lists("list"), form.fields.get("encoding", "")
        if "file" not in upload.files:
            form.wrong.append("File: choose one.")
        if encoding not in _ENCODINGS:
            form.wrong.append("Encoding: choose one of the list.")
        came = None if form.wrong else await _imported(asked, upload.files["file"], lists, encoding)
    finally:
        # The file itself is not kept, whatever came of it; what was left out is, for a day.
        for file in (file for one in made for file in one.iterdir() if file.name != _LEFT_OUT):
            file.unlink()
    if isinstance(came, Refusal):
        form.wrong.append(came.why)
    if came is None or isinstance(came, Refusal):
        asked.desk.drafts.remove(made[0])
        return await _shown(asked, upload.fields, form.wrong)
    return await _shown(asked, upload.fields, [], came, made[0].name)


async def _imported(asked: Asked, file: tuple[Path, str], lists: tuple[str, ...], encoding: str) -> Imported | Refusal:
    path, called = file
    suffix = Path(called).suffix.lower()
    named = path.rename(path.with_name(f"contacts{suffix if suffix in _TABLES else ''}"))
    return await _importing(asked)(named, lists, encoding or None, path.with_name(_LEFT_OUT))


async def left_out(asked: Asked) -> web.StreamResponse:
    """Send all lines that an import left out, and why."""
    path = asked.desk.drafts.file(asked.request.match_info["folder"], _LEFT_OUT)
    if path is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "This report is not kept any more.")
    headers = {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{_LEFT_OUT}"'}
    return web.FileResponse(path, headers=headers)


ROUTES: Final = (
    Route("GET", "/contacts/import", show, Scope.CONTACTS_WRITE),
    Route("POST", "/contacts/import", take, Scope.CONTACTS_WRITE),
    Route("GET", "/contacts/import/{folder}.csv", left_out, Scope.CONTACTS_WRITE),
)

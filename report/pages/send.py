"""Sending a broadcast: a form, then the pre-flight with a look at the mail, then it goes, now or later.

Rules: nothing is stored with the mail before everything is known that can be known; a draft is its maker's alone, and
goes once, whoever clicks twice. What the mail shows runs in a frame of its own that may do nothing.
"""

import time
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from report.asked import Asked, Route
from report.drafts import Draft
from report.fields import MAX_CHARS, Form
from report.forms import posted
from report.handed import Broadcasting, Preview, Refusal, When
from report.handover import Stand, stand
from report.html import page, see_other
from report.jobs import Job
from report.pages.progress import SHORT_SECONDS, follow
from report.problem import ProblemError
from report.uploads import Upload, uploaded
from storage.access import Scope
from storage.model import queue_id

_FILES: Final = {"message": "message.new", "html": "html.new", "recipients": "recipients.new"}
_SHOWN_BYTES: Final = 200_000
_TABLES: Final = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"})
_AN_HOUR: Final = {"second": 3600, "minute": 60, "hour": 1}
_MOST_PER_HOUR: Final = 10**9
# A mail's pictures and styles, and nothing that acts; an origin of its own, even where it is opened by itself.
_MAIL_POLICY: Final = (
    "sandbox; default-src 'none'; img-src https: http: data:; style-src 'unsafe-inline'; font-src https: data:;"
    " frame-ancestors 'self'"
)


async def show(asked: Asked) -> web.Response:
    """Show the form, empty or of a draft that is to be changed."""
    id_ = asked.request.query.get("draft", "")
    draft = asked.desk.drafts.find(id_, asked.who.user) if id_ else None
    if draft is not None and await _stands(asked, draft) in {Stand.UNDER_WAY, Stand.SENT}:
        return see_other(asked, f"/broadcasts/new/{draft.id}")
    return await _form(asked, draft, {}, [])


async def _stands(asked: Asked, draft: Draft) -> Stand:
    if asked.desk.jobs.find(_job_of(draft)) is not None:
        return Stand.UNDER_WAY
    return await stand(draft, asked.desk.store, asked.desk.reader, asked.desk.clock_ms())


def _job_of(draft: Draft) -> str:
    return f"send:{draft.id}"


async def _form(asked: Asked, draft: Draft | None, given: dict[str, str], wrong: list[str]) -> web.Response:
    kept = {} if draft is None else {name: getattr(draft, name) for name in ("name", "type", "subject", "list")}
    if draft is not None:
        kept["from"] = draft.sender
    may_lists = asked.who.may(Scope.CONTACTS_READ)
    facts = {
        "draft": draft,
        "given": kept | given,
        "html": _html_of(draft),
        "lists": await asked.desk.reader.contacts.list_names() if may_lists else [],
        "may_lists": may_lists,
        "default_type": _rooms(asked).default_type,
        "wrong": wrong,
        "unsent": [] if draft else [one for one in asked.desk.drafts.of(asked.who.user) if one.sent is None],
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return page(asked, "send.html", facts, status=status)


def _html_of(draft: Draft | None) -> str:
    if draft is None or draft.message != "message.html" or draft.message_file.stat().st_size > _SHOWN_BYTES:
        return ""
    return draft.message_file.read_text("utf-8", "replace")


def _rooms(asked: Asked) -> Broadcasting:
    if asked.desk.handed.broadcasting is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "No broadcasts are sent from here.")
    return asked.desk.handed.broadcasting


async def _senders(asked: Asked) -> tuple[str, ...]:
    user = await asked.desk.reader.user(asked.who.user)
    return () if user is None else user.senders


async def prepare(asked: Asked) -> web.Response:
    """Take the form with its files, and go on to the pre-flight."""
    made: list[Path] = []

    def folder() -> Path:
        made.append(asked.desk.drafts.new_folder(time.time()))
        return made[0]

    try:
        upload = await uploaded(asked, _FILES, folder)
        before = _before(asked, upload)
        draft, wrong = _drafted(asked, upload, made[0], before)
    except BaseException:
        for one in made:
            asked.desk.drafts.remove(one)
        raise
    # What was uploaded is kept with what is wrong beside it: nobody has to choose a file twice.
    asked.desk.drafts.keep(draft)
    if before is not None:
        asked.desk.checks.forget(before)
        asked.desk.drafts.remove(before.folder)
    return await _form(asked, draft, {}, wrong) if wrong else see_other(asked, f"/broadcasts/new/{draft.id}")


def _before(asked: Asked, upload: Upload) -> Draft | None:
    """Return the draft that a form changes."""
    draft = asked.desk.drafts.find(upload.fields.get("draft", ""), asked.who.user)
    if draft is not None and (draft.taken or draft.sent is not None):
        raise ProblemError(HTTPStatus.CONFLICT, "It is being sent already, so that it cannot be changed any more.")
    return draft


def _drafted(asked: Asked, upload: Upload, folder: Path, before: Draft | None) -> tuple[Draft, list[str]]:
    """Return the draft of a form, and what is wrong with it that can be told without looking into its files."""
    form = Form(upload.fields)
    of_list = form.text("list", "List") if asked.who.may(Scope.CONTACTS_READ) else ""
    draft = Draft(
        folder.name,
        asked.who.user,
        " ".join(form.text("name", "Name").split()),
        form.text("type", "Type"),
        form.text("from", "From"),
        form.text("subject", "Subject"),
        of_list,
        "",
        "",
        folder,
    )
    draft = _with_files(draft, upload, before)
    for missing, sentence in (
        (not draft.name, "Name: say what the broadcast is called; an address gets what has one name once."),
        (not draft.sender, "From: say who sends it."),
        (not draft.message, "Message: choose a file, or paste HTML."),
        (draft.message == "message.html" and not draft.subject, "Subject: an HTML page has none, so say it here."),
        (not draft.list and not draft.recipients, "To: choose a list, or a file of recipients."),
    ):
        if missing:
            form.wrong.append(sentence)
    return draft, form.wrong


def _with_files(draft: Draft, upload: Upload, before: Draft | None) -> Draft:
    """Give the draft the files that were chosen now, or else those that it had."""
    for name in ("message", "html"):
        if name in upload.files and not draft.message:
            path, called = upload.files[name]
            html = name == "html" or Path(called).suffix.lower() in {".html", ".htm"}
            draft = replace(draft, message="message.html" if html else "message.eml")
            path.rename(draft.message_file)
    if not draft.message and before is not None and before.message:
        (draft.folder / before.message).hardlink_to(before.message_file)
        draft = replace(draft, message=before.message)
    if "recipients" in upload.files:
        path, called = upload.files["recipients"]
        suffix = Path(called).suffix.lower()
        draft = replace(draft, recipients=f"recipients{suffix if suffix in _TABLES else '.csv'}", list="")
        path.rename(draft.folder / draft.recipients)
    elif not draft.list and before is not None and before.recipients_file is not None:
        (draft.folder / before.recipients).hardlink_to(before.recipients_file)
        draft = replace(draft, recipients=before.recipients)
    return draft


def _draft(asked: Asked) -> Draft:
    draft = asked.desk.drafts.find(asked.request.match_info["draft"], asked.who.user)
    if draft is None:
        detail = "There is no such draft (any more): they are kept for a day."
        raise ProblemError(HTTPStatus.NOT_FOUND, detail)
    if draft.list and not asked.who.may(Scope.CONTACTS_READ):  # any more, since it was written
        raise ProblemError(HTTPStatus.FORBIDDEN, "This draft goes to a list, and you may see no contacts.")
    return draft


async def check(asked: Asked) -> web.Response:
    """Show the pre-flight and the mail, and ask when it goes; or how far that is, or where it went."""
    draft = _draft(asked)
    stands = await _stands(asked, draft)
    if stands is Stand.SENT and draft.sent is not None:
        return see_other(asked, await _place_of(asked, draft.sent))
    if stands is Stand.UNDER_WAY:
        return _going(asked, draft, asked.desk.jobs.find(_job_of(draft)), "Send")
    return await _checked(asked, draft, {}, [])


def _going(asked: Asked, draft: Draft, job: Job | None, step: str) -> web.Response:
    return page(asked, "send_going.html", {"draft": draft, "job": job, "step": step})


async def _checked(asked: Asked, draft: Draft, given: dict[str, str], wrong: list[str]) -> web.Response:
    rooms, senders, checks = _rooms(asked), await _senders(asked), asked.desk.checks
    known = checks.found(draft, stale=bool(wrong))
    if known is None:
        job = checks.job(draft)
        if job is None:
            job = checks.look(rooms, draft, senders)
            await job.wait(SHORT_SECONDS)
        known = checks.found(draft)
        if known is None:
            return _going(asked, draft, job, "Check")
    found = known.found
    if isinstance(found, Refusal):
        return await _form(asked, draft, {}, [*wrong, found.why])
    place = _place(asked)
    seen = await rooms.preview(draft, senders, place)
    facts = {
        "draft": draft,
        "found": found,
        "at_ms": known.at_ms,
        "seen": seen if isinstance(seen, Preview) else None,
        "unseen": seen.why if isinstance(seen, Refusal) else "",
        "place": place,
        "given": given,
        "wrong": wrong or list(filter(None, [draft.refused])),
        "type": draft.type or rooms.default_type,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return page(asked, "send_check.html", facts, status=status)


async def live(asked: Asked) -> web.StreamResponse:
    """Tell a page that waits for a check, or for the end of what is sent, that there is news."""
    draft, desk = _draft(asked), asked.desk
    return await follow(asked, lambda: desk.jobs.find(_job_of(draft)) or desk.checks.job(draft))


async def anew(asked: Asked) -> web.Response:
    """Check a draft anew, or stop what is under way; nothing is sent then."""
    fields, draft = await posted(asked), _draft(asked)
    job = asked.desk.jobs.find(_job_of(draft))
    if fields.get("do") == "stop" and job is not None:
        job.stop()
        await job.wait(SHORT_SECONDS)
    elif fields.get("do") == "forget" and await _stands(asked, draft) is Stand.FREE:
        asked.desk.checks.forget(draft)
        asked.desk.drafts.remove(draft.folder)
        return see_other(asked, "/broadcasts/new")
    else:
        asked.desk.checks.forget(draft)
        if (looking := asked.desk.checks.job(draft)) is not None:
            await looking.wait(SHORT_SECONDS)
        if fields.get("do") == "stop":
            return see_other(asked, f"/broadcasts/new?draft={draft.id}")
    return see_other(asked, f"/broadcasts/new/{draft.id}")


def _place(asked: Asked) -> int:
    text = asked.request.query.get("of", "0")
    return int(text) if text.isdecimal() and len(text) <= 2 else 0  # noqa: PLR2004 - there are some twenty


async def mail(asked: Asked) -> web.Response:
    """Send the HTML of a copy, for the frame that shows it."""
    seen = await _rooms(asked).preview(_draft(asked), await _senders(asked), _place(asked))
    if isinstance(seen, Refusal) or seen.html is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such copy.")
    headers = {"Content-Security-Policy": _MAIL_POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(text=seen.html, content_type="text/html", headers=headers)


async def send(asked: Asked) -> web.Response:
    """Let a draft go, once."""
    fields = await posted(asked)
    draft, form = _draft(asked), Form(fields)
    when, here = _when(asked, form), f"/broadcasts/new/{draft.id}"
    stands = await _stands(asked, draft)
    if stands in {Stand.UNDER_WAY, Stand.SENT}:
        return see_other(asked, here)  # somebody clicked twice
    if form.wrong:
        return await _checked(asked, draft, dict(fields), form.wrong)
    senders, turn = await _senders(asked), draft.take()
    if turn is None:
        return see_other(asked, here)
    refused: list[str] = []
    work = partial(_hand_over, _rooms(asked), draft, senders, when)
    job = asked.desk.jobs.start(_job_of(draft), draft.user, work, turn, refused.append)
    if await job.wait(SHORT_SECONDS) and any(refused) and await _stands(asked, draft) is Stand.FREE:
        return await _checked(asked, draft, dict(fields), refused)
    return see_other(asked, here)


def _hand_over(rooms: Broadcasting, draft: Draft, senders: tuple[str, ...], when: When, job: Job) -> str:
    """Send a draft; return why it was refused, "": it was not."""
    sent = rooms.hand_over(draft, senders, when, job)
    if isinstance(sent, Refusal):
        draft.refuse(sent.why)
        if draft.run is None:
            draft.free()
        # Else it may have gone, for all that is known here: the store tells, at the next look.
        return sent.why
    draft.end(sent)
    return ""


async def _place_of(asked: Asked, run_id: int) -> str:
    run = await asked.desk.reader.broadcasts.run(run_id)
    return "/log" if run is None else f"/broadcasts/{queue_id(run.broadcast_id)}"


def _when(asked: Asked, form: Form) -> When:
    start_ms = form.point_ms("start", "When") if form.fields.get("when") == "later" else None
    if form.fields.get("when") == "later" and not form.wrong:
        if start_ms is None:
            form.wrong.append("When: say at what time it begins.")
        elif start_ms <= asked.desk.clock_ms():
            form.wrong.append("When: this time is past.")
    return When(start_ms, _per_hour(form))


def _per_hour(form: Form) -> int | None:
    text, per = form.fields.get("rate", "").strip(), form.fields.get("per", "hour")
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < MAX_CHARS else 0
    per_hour = number * _AN_HOUR.get(per, 0)
    if not 0 < per_hour <= _MOST_PER_HOUR:
        form.wrong.append("Rate: expected a number of copies, such as 5000 an hour.")
        return None
    return per_hour


ROUTES: Final = (
    Route("GET", "/broadcasts/new", show, Scope.SEND),
    Route("POST", "/broadcasts/new", prepare, Scope.SEND),
    Route("GET", "/broadcasts/new/{draft}", check, Scope.SEND),
    Route("GET", "/broadcasts/new/{draft}/mail", mail, Scope.SEND),
    Route("GET", "/broadcasts/new/{draft}/live", live, Scope.SEND),
    Route("POST", "/broadcasts/new/{draft}", anew, Scope.SEND),
    Route("POST", "/broadcasts/new/{draft}/send", send, Scope.SEND),
)

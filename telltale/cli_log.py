"""`telltale log` and `telltale show`: the Email Log on the command line."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, load_config, now_ms, since_ms, statuses
from telltale.state import awaited

if TYPE_CHECKING:
    from report.command import Form

# A screenful or two for people; programs that ask for JSON or CSV get everything.
TABLE_ROWS: Final = 100
FOLLOW_ROWS: Final = 10

Json = Annotated[bool, typer.Option("--json", help="JSON Lines, an object a row.")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, metavar="ROWS", help="At most so many rows.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(log)
    app.command()(show)


def log(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    status: Annotated[list[str] | None, typer.Option(metavar="STATUS", help="Only this status; repeatable.")] = None,
    recipient: Annotated[str | None, typer.Option(help='An address, "@domain", or a part of an address.')] = None,
    sender: Annotated[str | None, typer.Option(help="As --recipient.")] = None,
    words: Annotated[
        str | None, typer.Option(help="Words of subject, sender and broadcast, or of the address.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="A part of it.")] = None,
    broadcast: Annotated[str | None, typer.Option(metavar="NAME", help="Exactly this one.")] = None,
    category: Annotated[str | None, typer.Option(help='Why it was refused: "user unknown", "mailbox full" …')] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help='"2h", "3d" or an ISO time.')] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="As --since.")] = None,
    queue_id: Annotated[str | None, typer.Option(help="One message.")] = None,
    limit: Limit = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with rows as they change.")] = False,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV with a header line.")] = False,
    events: Annotated[bool, typer.Option("--events", help="With each row's timeline.")] = False,
) -> None:
    """Show the Email Log, newest first.

    What became of each recipient's copy, a row a recipient.
    """
    from report.command import Form, print_log
    from storage.model import LogFilter

    now = now_ms()
    wanted = LogFilter(
        statuses=statuses(status or ()),
        recipient=recipient,
        sender=sender,
        since_ms=since_ms(since, now),
        until_ms=since_ms(until, now, "--until"),
        queue_id=queue_id,
        subject=subject,
        broadcast=broadcast,
        category=category,
        words=words,
    )
    form = chosen_form(json=json, csv=csv)
    rows = limit or _default_rows(form, follow=follow)
    state_dir = load_config(ctx, config).server.state_dir
    question = print_log(state_dir, wanted, form, limit=rows, events=events, follow=follow, out=sys.stdout)
    shown = awaited(state_dir, question)
    if form is Form.TABLE and not limit and not follow and shown == rows:
        print(f"The newest {rows} rows; --limit shows more.", file=sys.stderr)


def show(
    ctx: typer.Context,
    subject: Annotated[str, typer.Argument(metavar="QUEUE_ID|RECIPIENT", help="A message, or a recipient's address.")],
    *,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Tell a message's or recipient's whole story.

    Each attempt with its reply, each hit, each report, oldest first.
    """
    from report.command import print_timeline

    state_dir = load_config(ctx, config).server.state_dir
    found = awaited(state_dir, print_timeline(state_dir, subject, chosen_form(json=json), out=sys.stdout))
    if not found:
        raise FailureError(f'the log knows no queue id and no recipient "{subject}"')


def chosen_form(*, json: bool, csv: bool = False) -> "Form":
    """Return how to print."""
    from report.command import Form

    if json and csv:
        raise UsageError("--json and --csv cannot both be meant")
    return Form.JSON if json else Form.CSV if csv else Form.TABLE


def _default_rows(form: "Form", *, follow: bool) -> int | None:
    if follow:
        return FOLLOW_ROWS
    return TABLE_ROWS if form == "table" else None

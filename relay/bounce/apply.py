"""From what a bounce says to what happened to our recipient.

Rule: the signed return path decides the recipient, whatever address the mail names; the named one is
kept beside it. What says nothing of the delivery moves nothing.
"""

from collections.abc import Sequence
from typing import Final

from relay.bounce.category import Verdict
from relay.bounce.classify import VERSION
from relay.bounce.finding import Action, Finding, Kind, Parsed
from storage.model import Reply, Report
from storage.status import Event

_ACTIONS: Final = {
    Action.DELAYED: Event.DEFER,
    Action.DELIVERED: Event.DELIVER,
    Action.RELAYED: Event.HAND_OVER,
    Action.EXPANDED: Event.HAND_OVER,
}
_SUCCESSES: Final = (Event.HAND_OVER, Event.DELIVER)
_MOST_FINAL: Final = (Event.DEFER, Event.HAND_OVER, Event.DELIVER, Event.BOUNCE, Event.FAIL)


def event_of(found: Finding) -> Event | None:
    """Return what a finding means for a status; None for a complaint, which moves none."""
    if found.verdict in (Verdict.COMPLAINT, Verdict.NONE):
        return None
    if found.action in _ACTIONS:
        return _ACTIONS[found.action]
    return Event.FAIL if found.verdict is Verdict.FAILED else Event.BOUNCE


def reports_for(parsed: Parsed, recipient_id: int, address: str | None, *, proven: bool = True) -> list[Report]:
    """Return the report on the recipient that the bounce was matched with: one, or none.

    `address` is that recipient's, None where it is not known; `proven`: its signed return path says so.
    Where the bounce speaks of several, the one that names it counts, else the most final. A complaint
    gives a report without an event. Empty for auto-replies and ordinary mail.
    """
    if parsed.kind is Kind.COMPLAINT:
        return [_complaint(parsed, recipient_id, address, proven=proven)]
    if parsed.kind is not Kind.DSN:
        return []
    known = [(event, found) for found in parsed.findings if (event := event_of(found))]
    named = [pair for pair in known if address and _same(pair[1].recipient, address)]
    chosen = max(named or known, key=lambda pair: _MOST_FINAL.index(pair[0]), default=None)
    return [_report(*chosen, recipient_id, address, proven=proven)] if chosen else []


def named_among(parsed: Parsed, recipients: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return which of a message's recipients (id, address) a bounce without a return path of ours speaks of.

    Those that it names; else the only one there is, since a report may name an address that ours was
    forwarded to; else the one that the returned message was addressed to.
    """
    reported = {found.recipient.casefold() for found in parsed.findings}
    named = [one for one in recipients if one[1].casefold() in reported]
    if named or len(recipients) == 1:
        return named or list(recipients)
    return [one for one in recipients if _same(one[1], parsed.returned_to)]


def _complaint(parsed: Parsed, recipient_id: int, address: str | None, *, proven: bool) -> Report:
    # Providers that hide who complained give no address; the return path tells.
    named = [found for found in parsed.findings if address and _same(found.recipient, address)]
    found = (named or parsed.findings)[0]
    return _report(None, found, recipient_id, address, proven=proven)


def _report(event: Event | None, found: Finding, recipient_id: int, address: str | None, *, proven: bool) -> Report:
    foreign = found.recipient and not (address and _same(found.recipient, address))
    return Report(
        recipient_id=recipient_id,
        event=event,
        reply=Reply(code=found.reply_code or 0, enhanced=found.status or None, text=found.diagnostic),
        remote_mta=found.remote_mta or None,
        action=found.action.value if found.action else None,
        reported_address=found.recipient if foreign else None,
        category=None if event in _SUCCESSES else found.category.value,
        rules=None if event in _SUCCESSES else VERSION,
        proven=proven,
    )


def _same(one: str, other: str) -> bool:
    # Letter case of local parts is kept by few; a bounce that folds it still means the same recipient.
    return one.casefold() == other.casefold()

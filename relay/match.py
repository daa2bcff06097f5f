"""Whose copies a bounce speaks of that came without a signed return path of ours.

Rule: by what only those know who had the message: the return path of the returned copy, which is signed
again; our queue id as its envelope id or in its Received fields; its Message-ID. Except for the first,
the bounce must name a recipient of that message too.
"""

from dataclasses import dataclass

from relay.bounce.apply import named_among
from relay.bounce.finding import Kind, Parsed
from storage.model import message_id_of
from storage.reader import Reader
from storage.token import TokenBox

Recipients = list[tuple[int, str]]
"""Recipient ids with their addresses."""


@dataclass(frozen=True, slots=True)
class Match:
    """Whom a bounce speaks of, and how that is known."""

    recipients: Recipients
    proven: bool
    """By a signature of ours."""
    by: str
    """What told it, for the log."""


NOBODY = Match([], proven=False, by="nothing")


async def match(parsed: Parsed, reader: Reader, returns: TokenBox) -> Match:
    """Return whom `parsed` speaks of; NOBODY where nothing tells, and for what is no bounce."""
    if parsed.kind not in (Kind.DSN, Kind.COMPLAINT):
        return NOBODY
    if signed := await _signed(parsed, reader, returns):
        return Match(signed, proven=True, by="returned return path")
    ids = [("envelope id", parsed.envelope_id), *(("queue id", queue_id) for queue_id in parsed.queue_ids)]
    for by, queue_id in ids:
        message_id = message_id_of(queue_id)
        if message_id is not None and (found := named_among(parsed, await reader.recipients_of(message_id))):
            return Match(found, proven=False, by=by)
    if headed := await _headed(parsed, reader):
        return Match(headed, proven=False, by="Message-ID")
    return NOBODY


async def _signed(parsed: Parsed, reader: Reader, returns: TokenBox) -> Recipients:
    recipient_id = returns.open(parsed.return_path.partition("@")[0])
    known = await reader.message_of(recipient_id) if recipient_id is not None else None
    return [(recipient_id, known[1])] if recipient_id is not None and known else []


async def _headed(parsed: Parsed, reader: Reader) -> Recipients:
    if not parsed.message_id:
        return []
    named = dict.fromkeys(found.recipient for found in parsed.findings)
    for addresses in (named, [parsed.returned_to]):
        found = {address: await reader.recipient_by_message_id(parsed.message_id, address) for address in addresses}
        if known := [(id_, address) for address, id_ in found.items() if id_ is not None]:
            return known
    return []

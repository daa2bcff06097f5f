"""Reading a bounce's words for people, by layout: which addresses failed, and which words belong to which.

Rule: the form of a line tells more than its language does. An address that begins a line beats one in
a sentence; what follows an address is its reason. One pass over bounded lines.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from relay.bounce.mime import Mail, field, unencoded
from relay.bounce.text import ADDRESS, reply_code

MAX_NOTICE: Final = 64 * 1024
MAX_LINES: Final = 3000
MAX_LINE: Final = 1000
MAX_ENTRIES: Final = 1000
MAX_REASON: Final = 2000

# Where the returned message begins.
_STOP: Final = re.compile(
    r"[\s>*=_.-]{0,80}(?:" + r"below this line is a copy|(?:enclosed|attach(?:ment|ed)) is a copy"
    r"|(?:below|this|here|included|following) is (?:a|the) (?:copy|header)"
    r"|copy of (?:your|the) (?:original )?m"
    r"|(?:the )?original (?:message|mail)(?: (?:headers?|text|info|details|attached|is following))*\s*[-:.=*_]*$"
    r"|(?:the )?original message (?:follows|as received|headers?|is following|header|details)"
    r"|original mail as|message headers? follow|message headers?:?$|returned message|unsent message"
    r"|the headers? of the original|(?:message )?header of the|text of (?:your )?(?:the )?original"
    r"|returned mail follows|start of returned|message contents?:?$|message details:?$|message text follows"
    r"|message body suppressed|begin forwarded"
    r"|your (?:original )?(?:message|mail) (?:follows|reads?|begins|is reproduced|is attached below)"
    r"|---+ ?(?:original|returned)|first \d+ (?:lines|bytes) of|oorspronkelijke berichtkoppen"
    r"|urspr.ngliche nachrichten?kopfzeilen|original-?(?:nachricht|header)|en-t.tes de message"
    r"|encabezados de mensaje originales|received ?:\s|return-path ?:|x-[\w-]{2,40}: |reporting-mta ?:"
    r"|final-recipient ?:|original-recipient ?:|dkim-signature ?:|mime-version ?:" + ")",
    re.IGNORECASE,
)
# Lines about somebody else than the recipient.
_NOT_ABOUT: Final = re.compile(
    r"[\s>*-]{0,20}(?:from|reply-to|sender|return-path|message-?id|mail from|cc|subject|envelope-from|errors-to"
    r"|list-[a-z]+|x-[\w-]+|in-reply-to|references)\b[^:]{0,10}:",
    re.IGNORECASE,
)
# Words before an address that is not the recipient's.
_CONTACT: Final = re.compile(
    r"contact|assist|further|please (?:reply|forward|send|call|e-?mail|write)|questions?|help ?desk|reply to|write to"
    r"|mail to post|from:? ?<?$|mail from|sender|envelope.?from|behalf|subscribe",
    re.IGNORECASE,
)
_DERIVED: Final = re.compile(r"\((?:generated|expanded|forwarded) from:? ", re.IGNORECASE)
_LABEL: Final = (
    r"(?:(?:failed |original |final |intended |envelope |e-?mail |your |invalid |bad )*"
    r"(?:recipients?|address(?:es)?|rcpt to|rcpt|e-?mail|user|mailbox|account|for|to|error-for|x-failed-recipients"
    r"|destinataire|destinatario|empf.nger|адрес)(?: (?:address|name|e-?mail|to))?\s*[:=]\s*)"
)
_ENTRY: Final = re.compile(
    r"(?P<before>(?:[\s>*•·+|-]{0,80}|c=.{0,200}\bSMTP=)(?:\d{1,3}[.)] )?(?:\d{3}[ -](?:\d\.\d{1,3}\.\d{1,3} )?)?"
    + _LABEL
    + r"?)(?:[<\[('\"]{0,2})(?:mailto:|smtp:|rfc822;)?(?P<address>"
    + ADDRESS.pattern
    + r")[>\])'\"]{0,2}(?P<after>.*)",
    re.IGNORECASE,
)
# The message's own To, as some notices quote it.
_ADDRESSED: Final = re.compile(r"[\s>*]{0,80}(?:to|for)\s*:\s*", re.IGNORECASE)
_LABELLED: Final = re.compile(
    r"(?:\b(?:to|for|recipients?|user|mailbox|address(?:es)?|account|rcpt to|of|the)|[:=(])[\s<\"'(\[]{0,4}$",
    re.IGNORECASE,
)
_TRANSCRIPT: Final = re.compile(r"\d{3}[ -](?:\d\.\d\.\d{1,3} )?<?\S{1,320}>?\.\.\.")
_BREAKS: Final = re.compile(r"<(?:br|/p|/div|/tr|/li|/h\d|/table|p|tr|li|hr)\b[^<>]{0,500}>", re.IGNORECASE)
_DROPPED: Final = re.compile(r"<(style|script|head)\b[^<]{0,20000}</\1>", re.IGNORECASE)
_TAGS: Final = re.compile(r"<(?!\S{1,64}@)/?[a-zA-Z!][^<>]{0,2000}>")


_BEGINS: Final = 3
_LABELS_IT: Final = 2
_MENTIONED: Final = 1
_CONTACTS: Final = 0
_MAX_RETURNED: Final = 8000
_MAX_IN_LINE: Final = 20
_MAX_PASSAGE_LINES: Final = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """An address that a notice names as failed, and the words that belong to it."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail's words for people: its text parts before the returned message, at most MAX_NOTICE."""

    words: str
    """Up to where the returned message begins in the text itself."""
    rest: str
    """From there on."""

    @property
    def whole(self) -> str:
        """All of it."""
        return f"{self.words}\n{self.rest}"


def read_notice(mail: Mail) -> Notice:
    """Return the notice in a mail; HTML only where there is no plain text."""
    plain: list[str] = []
    marked: list[str] = []
    for part in mail.parts:
        if part.returned:
            break
        if part.media in ("text/html", "application/xhtml+xml"):
            marked.append(unmarked(part.text()[: 2 * MAX_NOTICE]))
        elif part.media.startswith("text/") and part.media != "text/calendar":
            plain.append(part.text()[:MAX_NOTICE])
    words = "\n\n".join(text for text in plain if text.strip()) or "\n\n".join(marked)
    return _cut(words[:MAX_NOTICE])


def unmarked(text: str) -> str:
    """Return HTML as lines of text."""
    text = _BREAKS.sub("\n", _DROPPED.sub("", text.replace("\n", " ")))
    return html.unescape(_TAGS.sub("", text))


def _cut(text: str) -> Notice:
    lines = [line[:MAX_LINE] for line in text.split("\n")[:MAX_LINES]]
    begun = False
    for number, line in enumerate(lines):
        if begun and _STOP.match(line):
            return Notice("\n".join(lines[:number]), "\n".join(lines[number:]))
        begun = begun or bool(line.strip())
    return Notice("\n".join(lines), "")


@dataclass(frozen=True, slots=True)
class _Mention:
    """An address in a line of a notice."""

    line: int
    rank: int
    """How telling the line's form is: _BEGINS, _LABELS_IT, _MENTIONED or _CONTACTS."""
    address: str
    words: str
    """The line without the address, or the whole line."""


def entries(notice: Notice, mail: Mail) -> list[Entry]:
    """Return the failed addresses in order, each once, of the most telling form that the notice has."""
    lines = notice.words.split("\n")
    everywhere = (mention for number, line in enumerate(lines) for mention in _in_line(number, line))
    chosen = _candidates(list(islice(everywhere, MAX_ENTRIES)), _own_addresses(mail))
    best = max((mention.rank for mention in chosen), default=_CONTACTS)
    if best == _CONTACTS:
        return []
    starts = [mention for mention in chosen if mention.rank == best]
    if best == _BEGINS:
        # What stands further in than the first address belongs to its reason.
        edge = _indentation(lines[starts[0].line])
        starts = [mention for mention in starts if _indentation(lines[mention.line]) <= edge]
    elif best == _MENTIONED:
        starts = _likely(starts, mail, notice.rest)
    return _joined(lines, starts)


def _candidates(found: list[_Mention], own: frozenset[str]) -> list[_Mention]:
    """Leave out whom to ask for help, and reporter and sender where others are named."""
    contacts = {mention.address.lower() for mention in found if mention.rank == _CONTACTS}
    found = [mention for mention in found if mention.rank == _BEGINS or mention.address.lower() not in contacts]
    return [mention for mention in found if mention.address.lower() not in own] or found


def _likely(starts: list[_Mention], mail: Mail, rest: str) -> list[_Mention]:
    """Of addresses in mere sentences, choose those that the returned message was for, else the first."""
    returned = "\n".join(part.text(_MAX_RETURNED) for part in mail.parts if part.returned).lower() + rest.lower()
    return [mention for mention in starts if mention.address.lower() in returned] or starts[:1]


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _joined(lines: list[str], starts: list[_Mention]) -> list[Entry]:
    """Give each start the words up to the next one, and each address its most telling words."""
    ends = [mention.line for mention in starts[1:]] + [len(lines)]
    reasons: dict[str, tuple[str, list[str]]] = {}
    for mention, end in zip(starts, ends, strict=True):
        passage = _passage(lines, mention, end)[:MAX_REASON].strip()
        reasons.setdefault(mention.address.lower(), (mention.address, []))[1].append(passage)
    return [Entry(address, _most_telling(passages)) for address, passages in reasons.values()]


def _passage(lines: list[str], mention: _Mention, end: int) -> str:
    if _TRANSCRIPT.match(lines[mention.line]):
        return _reply_above(lines, mention.line) or mention.words
    last = min(max(end, mention.line + 1), mention.line + _MAX_PASSAGE_LINES)
    return "\n".join([mention.words, *lines[mention.line + 1 : last]])


def _reply_above(lines: list[str], number: int) -> str:
    """Return the remote server's words right above a line of a transcript (Sendmail), "" where there are none."""
    for line in reversed(lines[max(0, number - 4) : number]):
        if line.startswith("<<< "):
            return line[4:]
        if _TRANSCRIPT.match(line) and "@" in line:
            break
    return ""


def _most_telling(passages: list[str]) -> str:
    for passage in passages:
        if reply_code(passage):
            return passage
    return "\n".join(passage for passage in passages if passage)


def _in_line(number: int, line: str) -> Iterator[_Mention]:
    """Yield the addresses in a line."""
    if "@" not in line or _NOT_ABOUT.match(line):
        return
    entry = _ENTRY.match(line)
    if entry:
        rank = _LABELS_IT if _ADDRESSED.fullmatch(entry["before"]) else _BEGINS
        words = f"{entry['before'].strip(' >*•·+|-')} {entry['after'].lstrip(':;,. >)')}".strip()
        yield _Mention(number, rank, entry["address"].rstrip("."), words)
        return
    for match in islice(ADDRESS.finditer(line), _MAX_IN_LINE):
        yield _Mention(number, _rank_in_sentence(line[max(0, match.start() - 60) : match.start()]), match[0], line)


def _rank_in_sentence(before: str) -> int:
    if _CONTACT.search(before) and not _DERIVED.search(before):
        return _CONTACTS
    return _LABELS_IT if _LABELLED.search(before[-40:]) else _MENTIONED


def _own_addresses(mail: Mail) -> frozenset[str]:
    """Return the addresses of the bounce's own header: reporter and original sender."""
    values = [unencoded(field(mail.headers, name)[:2000]) for name in ("from", "to", "delivered-to", "x-original-to")]
    return frozenset(found[0].lower() for value in values for found in ADDRESS.finditer(value))

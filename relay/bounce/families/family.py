"""What a family of bounces is: how to know it, and what its layout alone does not tell.

Rule: data. `read` is the only code; a new family is one small file with a `Family` and its sample mail
in tests/bounce/families/.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from relay.bounce.category import Category
from relay.bounce.prose import MAX_REASON, Entry

_MAX_RECIPIENTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Family:
    """Bounces of one reporter, as far as the general reading of layouts does not suffice."""

    name: str
    signs: tuple[str, ...]
    """Literals in lower case that all stand in the mail's From, Subject, X-Mailer or notice."""
    recipient: re.Pattern[str] | None = None
    """Finds each failed address in the notice, as group `address`; None: the layout tells."""
    reason: re.Pattern[str] | None = None
    """Finds the reason behind an address, as group `reason`; None: all words from the address on."""
    domain: str = ""
    """Completes addresses without a domain."""
    action: str = ""
    """Where it is always the same; "" is decided by the wording."""
    category: Category | None = None
    """Where the words tell less than the family does."""
    after: str = ""
    """Literal behind which addresses begin."""
    ends: tuple[str, ...] = field(default=())
    """Literals that end the report."""

    def claims(self, words: str) -> bool:
        """Whether a mail with these words (lower case) is of this family."""
        return all(sign in words for sign in self.signs)

    def read(self, text: str) -> list[Entry]:
        """Return the failed recipients in a notice, each once."""
        if self.recipient is None:
            return []
        text = self._report(text)
        hits = [found for _, found in zip(range(_MAX_RECIPIENTS), self.recipient.finditer(text), strict=False)]
        ends = [found.start() for found in hits[1:]] + [len(text)]
        entries: dict[str, Entry] = {}
        for found, end in zip(hits, ends, strict=False):
            address = found["address"] + (f"@{self.domain}" if self.domain and "@" not in found["address"] else "")
            entries.setdefault(address.lower(), Entry(address, self._reason(text, found, end)))
        return list(entries.values())

    def _report(self, text: str) -> str:
        begin = text.find(self.after) + len(self.after) if self.after in text else 0
        ends = [at for end in self.ends if (at := text.find(end, begin)) >= 0]
        return text[begin : min(ends, default=len(text))]

    def _reason(self, text: str, found: re.Match[str], end: int) -> str:
        if self.reason is None:
            return text[found.end() : min(end, found.end() + MAX_REASON)].strip() or text[:MAX_REASON].strip()
        told = self.reason.search(text, found.start(), end) or self.reason.search(text)
        return told["reason"].strip() if told else ""

"""Configuration of what senders are told: `[answers]`, and what a user may want otherwise."""

from enum import StrEnum
from typing import Any

from pydantic import ValidationError, field_validator

from storage.address import Address, parse_mailbox
from storage.settings import Bytes, Seconds, Section, parse_seconds


class Failures(StrEnum):
    """How a sender is told of failures."""

    EACH = "each"
    """One by one, but for broadcasts, whose failures come in digests."""
    DIGEST = "digest"
    NO = "no"


class AnswerSettings(Section):
    """`[answers]`: what the senders of messages are told."""

    failures: Failures = Failures.EACH
    delay_after: Seconds = 4 * 3600
    """When a sender is told that a message is still on its way; 0: never (RFC 5321, 4.5.4.1 lets us)."""
    success: bool = True
    """Whether those who ask for it (NOTIFY=SUCCESS, RFC 3461) are told of a delivery."""
    forward_replies: bool = True
    """Whether what comes to a return path and is no report on the delivery is forwarded to the sender."""
    digest_every: Seconds = 4 * 3600
    """A sender gets at most one digest of a broadcast in this time, and one when the broadcast is done."""
    most_per_hour: int = 60
    """To one sender; further failures come in a digest."""
    return_up_to: Bytes = 50 * 1024
    """The largest message that a failure returns whole; of a larger one the header (Postfix: bounce_size_limit)."""
    from_address: str = ""
    """"" means MAILER-DAEMON at `server.hostname`."""

    @field_validator("most_per_hour")
    @classmethod
    def _some(cls, value: int) -> int:
        if value < 1:
            raise ValueError('must be at least 1; failures = "no" tells nobody')
        return value

    @field_validator("digest_every")
    @classmethod
    def _some_time(cls, value: int) -> int:
        if value < 1:
            raise ValueError('must be at least 1 second; failures = "each" tells of each')
        return value

    @field_validator("from_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        found = parse_mailbox(value, utf8=False) if value else None
        if found is not None and not (isinstance(found, Address) and found.domain):
            raise ValueError('expected an address such as "mailer-daemon@example.org"')
        return str(found) if found else ""


DEFAULT = AnswerSettings()


class Wishes(Section):
    """What a user wants otherwise than configured; None: as configured."""

    failures: Failures | None = None
    delay: bool | int | None = None
    """Seconds: that long after the message came, and no earlier than all others are told."""
    success: bool | None = None
    forward: bool | None = None

    def words(self) -> str:
        """Return what is wished, as `parse_wishes` reads it."""
        given = {key: value for key, value in self.model_dump(mode="json").items() if value is not None}
        return " ".join(f"{key}={_shown(value)}" for key, value in given.items()) or "default"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value}s" if isinstance(value, int) else str(value)


_SWITCHES = {"on": True, "off": False}
_FORMS = 'failures=each|digest|no, delay=on|off|8h, success=on|off, forward=on|off, or "default"'


def parse_wishes(words: tuple[str, ...], before: Wishes) -> Wishes:
    """Return `before` changed by words such as "failures=digest"; raises ValueError with a sentence."""
    wishes = before
    for word in words:
        key, _, text = word.partition("=")
        if word == "default":
            wishes = Wishes()
            continue
        value: Any = text if key == "failures" else _SWITCHES.get(text, text)
        if key == "delay" and text[-1:].isalpha() and text not in _SWITCHES:
            value = _seconds(text)
        if key not in Wishes.model_fields or value == "":
            raise ValueError(f'"{word}" is none of {_FORMS}')
        try:
            wishes = Wishes.model_validate(wishes.model_dump() | {key: value}, strict=key != "failures")
        except ValidationError:
            raise ValueError(f'"{word}" is none of {_FORMS}') from None
    return wishes


def _seconds(text: str) -> int | str:
    """Return a time with its unit as seconds; what is none as it is."""
    try:
        return parse_seconds(text) or text
    except ValueError:
        return text


def wishes_of(stored: str | None) -> Wishes:
    """Return what is stored of a user; what another version wrote and this one does not know counts as nothing."""
    try:
        return Wishes.model_validate_json(stored) if stored else Wishes()
    except ValidationError:
        return Wishes()


def settled(settings: AnswerSettings, wishes: Wishes) -> AnswerSettings:
    """Return the settings as a user wants them."""
    changes: dict[str, object] = {}
    if wishes.failures is not None:
        changes["failures"] = wishes.failures
    if wishes.delay is False:
        changes["delay_after"] = 0
    elif wishes.delay is not None and wishes.delay is not True and settings.delay_after:
        changes["delay_after"] = max(wishes.delay, settings.delay_after)
    if wishes.success is not None:
        changes["success"] = wishes.success
    if wishes.forward is not None:
        changes["forward_replies"] = wishes.forward
    return settings.model_copy(update=changes)

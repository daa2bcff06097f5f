"""Whether a mail is a report at all: asked before any heuristic meets its text.

Rule: data and points. Ordinary mail that talks of bounces has none of a reporter's marks on its header;
a reporter has at least two.
"""

import re
from typing import Final

from relay.bounce.mime import Headers, Mail, field, media_type, parameter, unencoded

ENOUGH: Final = 4
"""Points from which on a mail's text may be read as a report."""
_MAX_VALUE: Final = 500
_MAX_TEXT: Final = 3000

_LOCAL_PARTS: Final = re.compile(
    r"mailer[-_. ]?daemon|mail[-_.]?daemon|mdaemon|post[-_ ]?master|mailmaster|mail[-_.]deliver|delivery[-_.]"
    r"|bounce|mail[-_ ]?admin|mail[-_ ]?system|listserv"
)
_DISPLAY_NAMES: Final = re.compile(
    r"mail(?:er)? deliver|mailer[- ]daemon|postmaster|system administrator|mail administrator|mail system"
    r"|delivery (?:sub)?system|message transfer|mail router|mail transport|daemon"
)
_SUBJECTS: Final = re.compile(
    r"undeliver|non-?deliver|return(?:ed|ing)? (?:e-?)?mail|returned to sender|return(?:ed|ing) message"
    r"|mail returned|message returned|mail rejected|rejected mail|mail error|failed mail|failure notice"
    r"|deliver[a-z]* (?:has |was |is )?(?:fail|status|notif|report|problem|error|notice|delay|attempt|incompl|tempo)"
    r"|(?:fail|problem|error|delay)[a-z]* (?:in |of |with |to )?(?:e-?mail |message )?deliver|mail delivery"
    r"|mail fail|not (?:be(?:en)? )?delivered|unable to deliver|error sending|permanent error"
    r"|message (?:delayed|status)|delayed|^warning: |mail system error|user unknown|unknown user"
    r"|unzustellbar|unbestellbar|nicht zugestellt|zustellung|onbestelbaar|non remis"
    r"|chec de (?:la )?(?:remise|distr)|no entregad|no se (?:ha )?(?:podido|pudo)|devuelto|o entregue"
    r"|verzögert|différée?|retrasad|retrasó"
    r"|ritardat|atrasad|vertraagd|opóźnion|задерж|遅延|延遲|延迟"
    r"|entrega|mancat[ao] (?:recapito|consegna)|niedostarcz|nie dostarcz|dostarczen|zwrot|inte levereras"
    r"|недостав|не доставлено|не удалось|配信|エラー|未着|配送|不能送达|退信|投递|投遞|退回"
)
_PHRASES: Final = re.compile(
    r"(?:not|n't|cannot|unable to|failed to|could not) (?:be |been |yet been |yet be |able to )?(?:deliver|send|reach)"
    r"|undeliver|not reach|not received|problems? deliver|errors? (?:in|while) (?:deliver|send)|bounced"
    r"|deliver[a-z]* (?:to the following|has (?:failed|been delayed)|failed|error|attempts?)|delayed"
    r"|permanent error|fatal error|unknown user|user unknown|not a valid user|no such user|was rejected"
    r"|rejected by|unreachable|not accept|refused|no longer|mailbox (?:is )?full|over quota|失敗|できません|無法|无法"
    r"|退回|退信|nicht zugestellt|n'a pas pu|no (?:se )?(?:ha podido|pudo|puede)|не может быть доставлено|nie został"
)
# Of notices of success. Shops have delivered things too, so these count from a mail system's own mailbox only.
_SUCCESSES: Final = re.compile(r"(?:delivered|relayed|expanded): |successful mail delivery|return receipt")
_OWN_MAILBOXES: Final = re.compile(r"mailer[-_.]?daemon|mail[-_.]?daemon|post[-_]?master")
_REPORTERS_FIELDS: Final = ("x-failed-recipients", "x-bounced-address", "x-ms-exchange-message-is-ndr", "x-report-type")


def points(mail: Mail, text: str) -> int:
    """Return how much speaks for a report, to be held against ENOUGH; `text` is the notice."""
    headers = mail.headers
    sender = unencoded(field(headers, "from")[:_MAX_VALUE]).lower()
    subject = unencoded(field(headers, "subject")[:_MAX_VALUE]).lower()
    marks = (
        (3, any(field(headers, name) for name in _REPORTERS_FIELDS)),
        (3, _declares_report(headers)),
        (2, _from_reporter(sender)),
        (2, _SUBJECTS.search(subject) is not None),
        (2, _SUCCESSES.match(subject) is not None and _OWN_MAILBOXES.match(_local_part(sender)) is not None),
        (1, field(headers, "return-path").lower().startswith(("<>", "mailer-daemon", "<mailer-daemon"))),
        (1, tells_failure(text)),
    )
    return sum(worth for worth, given in marks if given)


def tells_failure(text: str) -> bool:
    """Return whether a notice says in words that something was not delivered."""
    return _PHRASES.search(" ".join(text[:_MAX_TEXT].lower().split())) is not None


def _declares_report(headers: Headers) -> bool:
    declared = field(headers, "content-type")
    report = parameter(declared, "report-type").lower()
    return media_type(declared) == "multipart/report" and report == "delivery-status"


def _from_reporter(sender: str) -> bool:
    name = sender.rpartition("<")[0]
    return "<>" in sender or bool(_LOCAL_PARTS.match(_local_part(sender)) or _DISPLAY_NAMES.search(name))


def _local_part(sender: str) -> str:
    return sender.rpartition("<")[2].partition("@")[0].strip(" >\"'")

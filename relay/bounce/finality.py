"""Whether a notice in words says that its reporter still tries, or that it has delivered.

Rule: soft only where the wording says so. "Temporary" is no such word, since final reports quote it too. Delivered
only where the notice begins with it and no server's refusal stands beside it.
"""

from typing import Final

from relay.bounce.finding import Action
from relay.bounce.phrases import phrases
from relay.bounce.text import reply_code

_MAX_TEXT: Final = 4000
_STILL_TRYING: Final = phrases(
    """
    not yet been delivered|not been delivered yet|attempts will continue|will continue trying|will be retried|
    will keep trying|will continue to be attempted|will continue to try|still trying|still being|still undelivered|
    still in the queue|warning message only|do not need to resend|no need to resend|need not resend|has been delayed|
    is delayed|was delayed|message delayed|delivery delayed|is being delayed|will try again|will retry|
    continue to try|continue trying|will attempt to deliver|a temporary failure report|non-fatal errors|
    further attempts will|no action is required on your part|keep trying|wird weiter versucht|
    weitere zustellversuche|seguirá intentando|noch nicht zugestellt|verzögert sich|weiterhin versucht|
    pas encore été remis|pas encore été livré|tentatives de remise vont se poursuivre|est différée|
    aún no se ha entregado|todavía no se ha entregado|se ha retrasado|ainda não foi entregue|
    non è stato ancora recapitato|non è ancora stato recapitato|nog niet bezorgd|nog niet afgeleverd|
    nie został jeszcze dostarczon|nie została jeszcze dostarczon|ещё не доставлено|еще не доставлено|
    попытки доставки будут продолжены|まだ配信されていません|尚未送达|尚未送達
    """
)
_GAVE_UP: Final = phrases(
    """
    given up|giving up|not continue trying|not continue to try|will not retry|no more attempts|permanent error|
    failed permanently|permanent failure|will not be retried|no further attempts|not going to try again|
    permanent fatal error|delivery has failed|removed from the queue|deleted from queue
    """
)
_SUBJECTS: Final = phrases(
    """
    delay|still trying|warning: message|could not send mail for past|could not send message for past
    """
)
_BEGINNING: Final = 1000
_DELIVERED: Final = phrases(
    """
    was successfully delivered|were successfully delivered|has been successfully delivered|
    had successful delivery notifications|has been delivered to the following|was delivered to the following|
    successfully delivered to mailbox
    """
)
# The next server took it and will say no more (RFC 3464, 2.3.3), whatever the notice calls that.
_RELAYED: Final = phrases(
    """
    but no delivery notification was sent|no delivery notification was sent by the destination|
    delivery via |relayed to non-dsn|relayed; expect no further|was relayed to|has been relayed to
    """
)
# Of some recipients of a notice that has failures too.
_REFUSED: Final = phrases(
    """
    could not|couldn't|not delivered|not been delivered|undeliver|failed|failure|fatal|rejected|cannot|unable to
    """
)
_EXPANDED: Final = phrases(
    "lists have been expanded|list has been expanded|mailing list expanded|expanded by mailing list"
)


def still_trying(text: str, subject: str) -> bool:
    """Return whether the reporter of a notice has not given up; `subject` is the mail's."""
    words = " ".join(text[:_MAX_TEXT].lower().split())
    if any(phrase in words for phrase in _GAVE_UP):
        return False
    return any(phrase in words for phrase in _STILL_TRYING) or any(phrase in subject.lower() for phrase in _SUBJECTS)


def succeeded(text: str, reason: str) -> Action | None:
    """Return the action of a notice of success; None for all others.

    `text` is the notice, `reason` what it says of the recipient in question.
    """
    words = " ".join(text[:_MAX_TEXT].lower().split())
    if any(phrase in words for phrase in _REFUSED):
        return None
    words = words[:_BEGINNING]
    said = f"{words} {reason[:_BEGINNING].lower()}"
    known = [
        action
        for action, signs in ((Action.EXPANDED, _EXPANDED), (Action.RELAYED, _RELAYED), (Action.DELIVERED, _DELIVERED))
        if any(sign in said for sign in signs)
    ]
    begins = any(sign in words for sign in (*_DELIVERED, *_EXPANDED, *_RELAYED[:2]))
    return known[0] if begins and known and reply_code(reason) is None else None

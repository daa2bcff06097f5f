"""Whether a notice in words says that its reporter still tries.

Rule: soft only where the wording says so. "Temporary" is no such word, since final reports quote it too.
"""

from typing import Final

from relay.bounce.phrases import phrases

_MAX_TEXT: Final = 4000
_STILL_TRYING: Final = phrases(
    """
    not yet been delivered|not been delivered yet|attempts will continue|will continue trying|will be retried|
    will keep trying|will continue to be attempted|will continue to try|still trying|still being|still undelivered|
    still in the queue|warning message only|do not need to resend|no need to resend|need not resend|has been delayed|
    is delayed|was delayed|message delayed|delivery delayed|is being delayed|will try again|will retry|
    continue to try|continue trying|will attempt to deliver|a temporary failure report|non-fatal errors|
    further attempts will|no action is required on your part|keep trying|wird weiter versucht|
    weitere zustellversuche|seguirá intentando
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


def still_trying(text: str, subject: str) -> bool:
    """Return whether the reporter of a notice has not given up; `subject` is the mail's."""
    words = " ".join(text[:_MAX_TEXT].lower().split())
    if any(phrase in words for phrase in _GAVE_UP):
        return False
    return any(phrase in words for phrase in _STILL_TRYING) or any(phrase in subject.lower() for phrase in _SUBJECTS)

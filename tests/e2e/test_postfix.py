"""Debian's Postfix as the recipients' server: takes, bounces with a real DSN, and speaks TLS."""

import re
import smtplib
from collections.abc import Callable
from typing import Protocol

import pytest

from tests.peers import postfix
from tests.peers.telltale import HTML, Telltale, fetch, image_of, wait_for

pytestmark = pytest.mark.e2e


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


def submit(telltale: Telltale, *people: str) -> None:
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail("news@sender.test", list(people), HTML)


def test_a_real_bounce_message_moves_sent_to_failed(
    make_telltale: MakeTelltale, make_postfix: Callable[[int], postfix.Postfix]
) -> None:
    """Accepted by a next hop (Sent), found unknown there, bounced to our return path: Failed, with the reason."""
    telltale = make_telltale(start=False)
    peer = make_postfix(telltale.bounce)
    with telltale.config.open("a") as config:
        config.write(f'[delivery]\nroutes = {{"*.test" = "smtp://{peer.address}:{peer.port}"}}\n')
    telltale.start()
    submit(telltale, "no.such.person@bounce.test", "reader@good.test")
    try:
        failed = telltale.wait_status("no.such.person@bounce.test", "Failed")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{peer.log()}") from None
    assert failed["enhanced_status"] == "5.1.1"
    assert "unknown user" in failed["diagnostic"]
    assert failed["attempts"] == 1
    telltale.wait_status("reader@good.test", "Sent")
    copy = wait_for("the copy in the mailbox", lambda: next(peer.messages(), None))
    fetch(image_of(copy))
    telltale.wait_status("reader@good.test", "Opened")
    assert "report" in telltale.run("show", failed["queue_id"]).lower()
    # STARTTLS was offered and taken.
    assert re.search(r"TLS connection established from", peer.log())

"""Debian's Postfix as the recipients' server: takes, bounces with a real DSN, and speaks TLS."""

import re
import shutil
import smtplib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.peers import postfix
from tests.peers.smtp import free_port
from tests.peers.telltale import HTML, Telltale, fetch, image_of, listening, require, wait_for

pytestmark = pytest.mark.e2e

ADDRESS = "127.0.0.5"


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


@pytest.fixture
def make_postfix() -> Iterator[Callable[[int], postfix.Postfix]]:
    require("postfix")
    made: list[postfix.Postfix] = []

    def make(bounce_port: int) -> postfix.Postfix:
        # Not below the test's own folder: Postfix's daemons give up root, and could not reach theirs.
        root = Path(tempfile.mkdtemp(prefix="postfix-"))
        port = free_port(ADDRESS)
        transports = f"{{ bounces.relay.test = smtp:[127.0.0.1]:{bounce_port} }}"
        made.append(postfix.start(root, ADDRESS, port, transports=transports, tls=True))
        wait_for("postfix to listen", lambda: listening(ADDRESS, port))
        return made[-1]

    yield make
    for instance in made:
        instance.stop()
        shutil.rmtree(instance.root, ignore_errors=True)


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
        config.write(f'[delivery]\nroutes = {{"*.test" = "smtp://{ADDRESS}:{peer.port}"}}\n')
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

"""Debian's Postfix as the recipients' server: takes, bounces with a real DSN, and speaks TLS."""

import re
import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from conftest import Telltale, free_port, listening, require, wait_for
from peers import postfix
from test_submission import HTML, fetch, image_of

pytestmark = pytest.mark.e2e

ADDRESS = "127.0.0.5"


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


@pytest.fixture
def make_postfix(tmp_path: Path) -> Iterator[Callable[[int], postfix.Postfix]]:
    require("postfix")
    made: list[postfix.Postfix] = []

    def make(bounce_port: int, *, tls: bool = True) -> postfix.Postfix:
        # Postfix's daemons give up root and still must reach their folders.
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(folder.stat().st_mode | 0o055)
        root = tmp_path / "postfix"
        root.mkdir()
        transport = f"{{ bounces.relay.test = smtp:[127.0.0.1]:{bounce_port} }}"
        made.append(postfix.start(root, ADDRESS, free_port(ADDRESS), bounces_to="", tls=tls, transport=transport))
        wait_for("postfix to listen", lambda: listening(ADDRESS, made[-1].port))
        return made[-1]

    yield make
    for instance in made:
        instance.stop()


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
    submit(telltale, "nobody@bounce.test", "reader@good.test")
    failed = telltale.wait_status("nobody@bounce.test", "Failed")
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

"""Copies that the real process signed, verified by dkimpy with the records that the command line printed."""

import signal
import smtplib
from collections.abc import Callable, Iterator

import pytest

from tests.peers import keeper
from tests.peers.dkim import verified
from tests.peers.smtp import free_port
from tests.peers.telltale import HTML, Telltale, image_of, wait_for

pytestmark = pytest.mark.e2e

TEXT = (
    "From: Ann <ann@sender.test>\r\nTo: reader@keeper.test\r\nSubject:  two   blanks\r\n\r\n"
    "Hello  you \r\n.a line with a dot\r\n..two\r\n\t\r\n\r\n"
)


@pytest.fixture
def mailbox() -> Iterator[tuple[keeper.Keeper, int]]:
    box, port = keeper.Keeper(), free_port()
    sink = keeper.start(box, "127.0.0.1", port)
    yield box, port
    sink.stop()


def printed(said: str) -> dict[str, str]:
    """Return the records as the command printed them for a form: a line of name, then one of value."""
    lines = said.splitlines()
    return {
        line.removesuffix("  TXT"): lines[number + 1] for number, line in enumerate(lines) if line.endswith("  TXT")
    }


def submit(telltale: Telltale, message: str, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail("news@sender.test", recipients, message)


def kept_for(box: keeper.Keeper, address: str) -> bytes:
    return wait_for(
        f"a copy for {address}", lambda: next((m for m in box.messages() if m.recipients == (address,)), None)
    ).content


def test_every_copy_is_signed_and_keys_are_renewed(
    make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int]
) -> None:
    box, port = mailbox
    telltale = make_telltale(start=False, delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}', dkim="")
    records = printed(telltale.run("dkim", "generate", "sender.test", "--selector", "s1"))
    assert set(records) == {"s1._domainkey.sender.test", "s1-ed25519._domainkey.sender.test"}
    telltale.start()
    readers = [f"r{number}@keeper.test" for number in range(3)]
    submit(telltale, HTML, *readers)
    submit(telltale, TEXT, "text@keeper.test")
    submit(telltale, HTML.replace("news@sender.test", "news@other.test"), "other@keeper.test")
    copies = [kept_for(box, reader) for reader in readers]
    assert len({image_of(copy) for copy in copies}) == 3
    for copy in (*copies, kept_for(box, "text@keeper.test")):
        assert verified(copy, records) == [True, True]
        assert verified(copy.replace(b"Hello", b"Adieu"), records) == [False, False]
    assert b"DKIM-Signature" not in kept_for(box, "other@keeper.test")

    # Renewed: the new keys are made while the old ones are pinned, and sign from a reload on.
    pinned, renewed = '[dkim]\n\nselectors = {"sender.test" = "s1"}\n', '[dkim]\n\nselectors = {"sender.test" = "s2"}\n'
    text = telltale.config.read_text()
    telltale.config.write_text(text.replace("[dkim]\n\n", pinned))
    records |= printed(telltale.run("dkim", "generate", "sender.test", "--selector", "s2"))
    telltale.config.write_text(text.replace("[dkim]\n\n", renewed))
    assert telltale.child is not None
    telltale.child.send_signal(signal.SIGHUP)

    def signed_anew() -> bytes | None:
        number = len(box.messages())
        submit(telltale, HTML, f"n{number}@keeper.test")
        copy = kept_for(box, f"n{number}@keeper.test")
        assert verified(copy, records) == [True, True]
        return copy if b"\ts=s2;" in copy else None

    wait_for("the new keys to sign", signed_anew)
    telltale.run("dkim", "retire", "sender.test", "s1")


def test_a_key_that_cannot_be_used_keeps_telltale_from_starting(make_telltale: Callable[..., Telltale]) -> None:
    telltale = make_telltale(start=False)
    folder = telltale.root / "state" / "dkim" / "sender.test"
    folder.mkdir(parents=True)
    (folder / "s1.rsa.pem").write_text("nothing")
    telltale.run("serve", code=2)

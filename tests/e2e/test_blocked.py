"""The Blocked Email list and contacts' choices, with real processes: what nobody asked for, the server never sees."""

import smtplib
from typing import Protocol

import pytest

from tests.peers.smtp import Script, ScriptedServer
from tests.peers.telltale import HTML, Telltale

pytestmark = pytest.mark.e2e


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


def _answer(address: str) -> str:
    if address.startswith("gone"):
        return "550 5.1.1 no such user"
    return "451 4.7.1 later" if address.startswith("slow") else "250 ok"


def send(telltale: Telltale, *recipients: str, content: str = HTML) -> None:
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail("news@sender.test", recipients, content)


def test_an_address_is_blocked_by_its_failure_and_let_go_by_an_undo(make_telltale: MakeTelltale) -> None:
    with ScriptedServer(Script(rcpt=_answer)) as server:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{server.port}"}}')
        send(telltale, "gone@keeper.test")
        telltale.wait_status("gone@keeper.test", "Failed")
        send(telltale, "Gone@keeper.test", "here@keeper.test")
        telltale.wait_status("here@keeper.test", "Sent")
        row = telltale.wait_status("Gone@keeper.test", "Blocked")
        assert row["diagnostic"].endswith("(failed): user unknown: 550 5.1.1 no such user")
        assert len([one for one in server.commands if "gone@" in one.lower()]) == 1
        assert telltale.run("block", "undo", "--since", "1h", "--domain", "keeper.test") == "1 taken off\n"
        send(telltale, "gone2@keeper.test", "gone@keeper.test")
        telltale.wait_status("gone2@keeper.test", "Failed")
        telltale.wait_status("gone@keeper.test", "Failed")


def test_who_waits_is_blocked_at_the_next_turn_by_any_process(make_telltale: MakeTelltale) -> None:
    with ScriptedServer(Script(rcpt=_answer)) as server:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{server.port}"}}')
        send(telltale, "slow@keeper.test")
        telltale.wait_status("slow@keeper.test", "Soft Bounced")
        telltale.run("block", "add", "@keeper.test", "--reason", "asked us to")
        telltale.wait_status("slow@keeper.test", "Blocked")
        assert "asked us to" in telltale.run("show", "slow@keeper.test")


def test_a_broadcast_goes_only_to_those_who_take_its_type(make_telltale: MakeTelltale) -> None:
    with ScriptedServer() as server:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{server.port}"}}')
        csv = "email,types\nall@keeper.test,\nnews@keeper.test,news\nnone@keeper.test,none\nleft@keeper.test,*\n"
        telltale.run("contact", "import", "-", stdin=csv.encode())
        telltale.run("unsubscribed", "add", "left@keeper.test", "--type", "general")
        people = [f"{name}@keeper.test" for name in ("all", "news", "none", "left", "stranger")]
        send(telltale, *people, content=f"X-Broadcast: Spring\r\nX-Broadcast-Type: General\r\n{HTML}")
        for address in ("all@keeper.test", "stranger@keeper.test"):
            telltale.wait_status(address, "Sent")
        for address in ("news@keeper.test", "none@keeper.test", "left@keeper.test"):
            telltale.wait_status(address, "No Email Selected")
        send(telltale, *people)
        server.wait_for(lambda one: len({to for got in one.messages for to in got.recipients}) == 5)

"""relay/deliver/shaping.py and shaping.toml: what is shipped is right, and an operator's keys are laid over it."""

import re
import time
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.deliver.mx import Hosts
from relay.deliver.shape import DEFAULT, Action, Shape
from relay.deliver.shaping import Shaping, build, laid_over, parts, problems, shipped, shipped_raw
from storage.model import Reply

TEXT = files("relay.deliver").joinpath("shaping.toml").read_text(encoding="utf-8")


def shaped(own: dict[str, Any]) -> Shaping:
    return build(laid_over(shipped_raw(), own), own)


def of_mx(*hosts: str, domain: str = "example.test", shaping: Shaping | None = None) -> Shape:
    return (shaping or shipped()).of(domain, Hosts((hosts,)))


def test_the_shipped_file_has_no_mistake() -> None:
    for name, model, keys in parts(shipped_raw()):
        assert model.model_validate(keys), name
    assert list(problems(shipped_raw(), shipped_raw())) == []


def test_each_entry_and_each_rule_of_the_shipped_file_has_a_comment_that_names_its_source() -> None:
    sections = re.split(r"^\[(.+)\]\n", TEXT, flags=re.MULTILINE)[1:]
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        first = body.split("\n", 1)[0]
        assert first.startswith("# "), name
        comment = " ".join(line for line in body.split("\n") if line.startswith("#"))
        sources = r"\w\.(com|net|de|fr|ru|codes|me|ai)\b|KumoMTA|Postfix|Exim|No published limit"
        assert re.search(sources, comment), name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("gmail-smtp-in.l.google.com", "google"),
        ("aspmx2.googlemail.com", "google"),
        ("smtp.google.com", "google"),
        ("hotmail-com.olc.protection.outlook.com", "outlook"),
        ("example-org.mail.protection.outlook.com", "office365"),
        ("example-org.a-v1.mx.microsoft", "office365"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("mx01.mail.icloud.com", "icloud"),
        ("mx00.emig.gmx.net", "gmx"),
        ("mx-ha02.web.de", "gmx"),
        ("smtp-in.orange.fr", "orange"),
        ("mx1.free.fr", "free"),
        ("mx2h1.comcast.net", "comcast"),
        ("mx00.t-online.de", "t-online"),
        ("mail.protonmail.ch", "proton"),
        ("mxs.mail.ru", "mail-ru"),
        ("mx.yandex.ru", "yandex"),
        ("mx.zoho.com", "zoho"),
        ("mx1.qq.com", "qq"),
        ("163mx01.mxmail.netease.com", "netease"),
        ("eu-smtp-inbound-1.mimecast.com", "mimecast"),
        ("mx.notgoogle.com", DEFAULT),
        ("google.com.example.test", DEFAULT),
        ("192.0.2.1", DEFAULT),
    ],
)
def test_the_big_providers_are_known_by_their_mx_hosts(host: str, name: str) -> None:
    assert of_mx(host).name == name


@pytest.mark.parametrize(
    ("host", "reply", "actions"),
    [
        (
            "gmail-smtp-in.l.google.com",
            Reply(421, "4.7.28", "[192.0.2.1 15] Our system has detected an unusual rate of unsolicited mail"),
            "slow-down",
        ),
        (
            "gmail-smtp-in.l.google.com",
            Reply(421, "4.7.0", "Our system has detected an unusual rate of … has been temporarily rate limited."),
            "slow-down",
        ),
        (
            "gmail-smtp-in.l.google.com",
            Reply(
                550,
                "5.7.1",
                "Our system has detected an unusual rate of unsolicited mail originating from your IP address.",
            ),
            "soft,suspend",
        ),
        ("gmail-smtp-in.l.google.com", Reply(550, "5.1.1", "The email account does not exist."), ""),
        ("gmail-smtp-in.l.google.com", Reply(550, "5.7.26", "This mail is unauthenticated"), ""),
        (
            "hotmail-com.olc.protection.outlook.com",
            Reply(550, "5.7.1", "Unfortunately, messages from [192.0.2.1] weren't sent … our block list (S3140)."),
            "soft,suspend",
        ),
        (
            "hotmail-com.olc.protection.outlook.com",
            Reply(
                451, "4.7.652", "The mail server [192.0.2.1] has exceeded the maximum number of connections. (S3115)"
            ),
            "slow-down",
        ),
        (
            "hotmail-com.olc.protection.outlook.com",
            Reply(
                451, "4.7.650", "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation."
            ),
            "suspend",
        ),
        (
            "hotmail-com.olc.protection.outlook.com",
            Reply(550, "5.5.0", "Requested action not taken: mailbox unavailable"),
            "",
        ),
        (
            "x.mail.protection.outlook.com",
            Reply(451, "4.7.500", "Server busy. Please try again later (S77719)"),
            "suspend",
        ),
        (
            "x.mail.protection.outlook.com",
            Reply(550, "5.7.606", "Access denied, banned sending IP [192.0.2.1]"),
            "soft,suspend",
        ),
        (
            "mta5.am0.yahoodns.net",
            Reply(421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred due to"),
            "suspend",
        ),
        (
            "mta5.am0.yahoodns.net",
            Reply(421, "4.7.0", "[TS01] Messages from 192.0.2.1 temporarily deferred"),
            "slow-down",
        ),
        (
            "mta5.am0.yahoodns.net",
            Reply(421, "4.7.1", "[TS03] All messages from 192.0.2.1 will be permanently"),
            "suspend",
        ),
        ("mta5.am0.yahoodns.net", Reply(553, "5.7.1", "[BL21] Connections will not be accepted from"), "soft,suspend"),
        ("mx01.mail.icloud.com", Reply(451, "4.7.1", "Service unavailable - try again later"), "suspend"),
        ("mx01.mail.icloud.com", Reply(421, None, "[HCM1] Your mail from 192.0.2.1 was deferred"), "suspend"),
        (
            "mx00.emig.gmx.net",
            Reply(554, None, "gmx.net (mxgmx017) Nemesis ESMTP … No SMTP service IP address is black listed."),
            "soft,suspend",
        ),
        ("mx00.emig.gmx.net", Reply(554, None, "gmx.net (mxgmx114) Nemesis ESMTP … Bad DNS PTR resource record."), ""),
        (
            "smtp-in.orange.fr",
            Reply(421, None, "mwinf5c04 ME Trop de connexions, veuillez verifier OFR004_104"),
            "slow-down",
        ),
        (
            "smtp-in.orange.fr",
            Reply(421, None, "mwinf5c04 ME Service refuse. Veuillez essayer plus tard. OFR_999"),
            "suspend",
        ),
        ("mx2h1.comcast.net", Reply(421, None, "comcast RL000001 Throttled"), "slow-down"),
        ("mx1.qq.com", Reply(550, None, "Ip frequency limited [x]. http://service.mail.qq.com"), "soft,suspend"),
        ("gmail-smtp-in.l.google.com", Reply(550, "5.7.28", "unusual rate of … originating from your DKIM domain"), ""),
        ("mx00.emig.gmx.net", Reply(554, None, "Transaction failed Reject due to policy restrictions."), ""),
        ("mx1.qq.com", Reply(550, None, "Sender frequency limited"), "slow-down,soft"),
        ("163mx01.mxmail.netease.com", Reply(550, None, "RP:ORQ mx1"), "slow-down,soft"),
        ("163mx01.mxmail.netease.com", Reply(554, None, "HL:ITC mx1"), "soft,suspend"),
        ("163mx01.mxmail.netease.com", Reply(421, None, "HL:ICC 163 mx1"), "slow-down"),
        (
            "mx.example.test",
            Reply(421, "4.7.0", "mx.example.test Error: too many connections from 192.0.2.1"),
            "slow-down",
        ),
        ("mx.example.test", Reply(421, None, "Too many concurrent SMTP connections from this IP address"), "slow-down"),
        ("mx.example.test", Reply(452, "4.3.2", "Connection rate limit exceeded."), "slow-down"),
        ("mx.example.test", Reply(450, "4.7.1", "Greylisted, try again later"), ""),
        ("mx.example.test", Reply(550, "5.7.1", "too many connections"), ""),
    ],
)
def test_what_providers_are_known_to_say_is_answered(host: str, reply: Reply, actions: str) -> None:
    rule = of_mx(host).rule_for(reply)
    assert ",".join(sorted(rule.actions if rule else ())) == actions


@settings(deadline=None)
@given(
    st.sampled_from(["421 4.7.0 ", "550 5.7.1 ", "554 IP=", "4"]), st.text("at 0.45[]-'IP=:BLmesgfrounyx", max_size=980)
)
def test_no_shipped_expression_takes_long_for_any_reply(start: str, text: str) -> None:
    shapes = {shipped().default.name: shipped().default} | {each.name: each for each in shipped().by_mx.values()}
    reply = (start + text * 1000)[:1000]
    began = time.process_time()
    for shape in shapes.values():
        for rule in shape.rules:
            rule.match.search(reply)
    assert time.process_time() - began < 0.5


def test_an_operators_key_replaces_that_key_alone() -> None:
    own = {
        "google": {
            "connections": 2,
            "rules": {"blocked": {"duration": "3h"}, "mine": {"match": "x", "actions": ["soft"]}},
        }
    }
    was, now = of_mx("smtp.google.com"), of_mx("smtp.google.com", shaping=shaped(own))
    assert (now.connections, now.messages_per_connection) == (2, was.messages_per_connection)
    rules = {rule.name: rule for rule in now.rules}
    assert (rules["blocked"].seconds, rules["blocked"].actions) == (10800, {Action.SOFT, Action.SUSPEND})
    assert rules["unusual-rate"] in was.rules
    assert rules["mine"].match.search("421 X")
    assert of_mx("mx01.mail.icloud.com", shaping=shaped(own)) == of_mx("mx01.mail.icloud.com")


def test_what_default_says_holds_for_all_that_do_not_say_otherwise() -> None:
    shaping = shaped({"default": {"rate": "10/s", "connections": 3}, "mine": {"domains": ["Mine.Test"], "rate": ""}})
    assert str(of_mx("mx.x.test", shaping=shaping).rate) == "10/s"
    assert str(of_mx("smtp.google.com", shaping=shaping).rate) == "10/s"
    mine = shaping.of("mine.test", Hosts((("mx.x.test",),)))
    assert (mine.name, mine.connections, mine.rate) == ("mine", 3, None)


def test_a_domain_goes_before_a_host_and_a_longer_name_before_a_shorter() -> None:
    shaping = shaped({"a": {"mx": ["l.google.com"]}, "b": {"domains": ["special.test"]}})
    assert of_mx("aspmx.l.google.com", shaping=shaping).name == "a"
    assert of_mx("smtp.google.com", shaping=shaping).name == "google"
    assert of_mx("aspmx.l.google.com", domain="special.test", shaping=shaping).name == "b"


def test_where_an_operator_names_what_is_shipped_his_entry_wins() -> None:
    assert of_mx("smtp.google.com", shaping=shaped({"a": {"mx": ["google.com"]}})).name == "a"
    assert shaped({"google": {"mx": []}}).by_mx.get("google.com") is None


def test_without_any_entry_there_are_defaults() -> None:
    nothing = build({})
    assert nothing.of("x.test", Hosts((("mx.x.test",),))) == Shape()


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"a": {"connections": 2}}, [("a", "is a new entry, and names no sites")]),
        ({"default": {"mx": ["a.test"]}}, [("default", "speaks of all sites")]),
        ({"a": {"mx": ["x.test"]}, "b": {"mx": ["x.test"]}}, [("b", 'names "x.test" in mx, as [a] does')]),
        ({"google": {"rules": {"new": {"duration": "1h"}}}}, [("google.rules.new", "needs match")]),
        ({"google": {"rules": {"blocked": {"duration": "1h"}}}}, []),
        ({"google": {"connections": 1}, "a": {"domains": ["x.test"]}}, []),
    ],
)
def test_what_a_file_misses_is_told(own: dict[str, Any], told: list[tuple[str, str]]) -> None:
    found = list(problems(own, laid_over(shipped_raw(), own)))
    assert [section for section, _ in found] == [section for section, _ in told]
    for (_, why), (_, start) in zip(found, told, strict=True):
        assert why.startswith(start)

"""What a domain's TLS policy comes to, from the configuration to the recipient's row."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.status import Status
from tests.deliver.world import World
from tests.peers.certificates import Certificate, make, pem_file
from tests.peers.dns import DnsServer
from tests.peers.https import HttpsServer
from tests.peers.smtp import DROP, Script, ScriptedServer

ROOT = make("Root", authority=True)
LEAF = make("peer.test", ROOT)
OTHER = make("peer.test")
MISNAMED = make("else.test", ROOT)


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        for domain in ("example.test", "strict.test", "a.clear.test"):
            server.mx(domain, "peer.test")
        server.add("peer.test", "A", "127.0.0.1")
        yield server


async def tls_of(world: World, address: str) -> str | None:
    row = await world.settled(address)
    assert row.status is Status.DELIVERED, row
    return (await world.timeline(address))[-1].tls


async def test_each_domain_has_the_policy_of_its_pattern(world: World) -> None:
    """Domains with one MX, and with policies of their own, share no connection."""
    policies = {"strict.test": "verify", "*.clear.test": "none"}
    with ScriptedServer(Script(tls=True)) as server:
        await world.anew(port=server.port, tls_policies=policies)
        await world.send("a@example.test", "b@strict.test", "c@a.clear.test")
        assert str(await tls_of(world, "a@example.test")).endswith(" unverified")
        assert await tls_of(world, "c@a.clear.test") is None
        row = await world.settled("b@strict.test")
        assert (row.status, row.enhanced_status, row.category) == (Status.SOFT_BOUNCED, "4.7.5", "tls")
        assert len(server.messages) == 2


async def test_a_policy_holds_for_routes_too(world: World) -> None:
    with ScriptedServer(Script()) as server:
        await world.anew(routes={"*": f"smtp://127.0.0.1:{server.port}"}, tls_policies={"strict.test": "encrypt"})
        await world.send("a@example.test", "b@strict.test")
        assert (await world.settled("a@example.test")).status is Status.SENT
        assert (await world.settled("b@strict.test")).enhanced_status == "4.7.4"


# DANE.


def signed(world: World, server: ScriptedServer, *records: str, host: str = "peer.test") -> None:
    """Let DNSSEC vouch for all names, and for a host's TLSA records."""
    world.dns.secure("test")
    world.dns.add(f"_{server.port}._tcp.{host}", "TLSA", *records)


def words(tls: str | None) -> str:
    return tls.rsplit(" ", 1)[-1] if tls else "in clear"


@pytest.mark.parametrize(
    ("record", "certificate"),
    [
        (LEAF.tlsa(3), LEAF),
        (LEAF.tlsa(3, 0, 2), LEAF),
        (MISNAMED.tlsa(3), MISNAMED),
        (ROOT.tlsa(2), LEAF),
        (ROOT.tlsa(2, 0, 1), LEAF),
    ],
)
async def test_dane_proves_what_the_records_name(world: World, record: str, certificate: Certificate) -> None:
    with ScriptedServer(Script(tls=True, certificate=certificate.context())) as server:
        signed(world, server, OTHER.tlsa(3), record)
        await world.anew(port=server.port)
        await world.send("a@example.test")
        assert words(await tls_of(world, "a@example.test")) == "dane"
        # A domain for which the operator has a policy of his own is not asked about DANE.
        await world.anew(port=server.port, tls_policies={"strict.test": "encrypt"})
        await world.send("b@strict.test")
        assert words(await tls_of(world, "b@strict.test")) == "unverified"


@pytest.mark.parametrize(
    ("record", "certificate", "why"),
    [
        (LEAF.tlsa(3), OTHER, "no certificate of the server is what its TLSA records name"),
        (ROOT.tlsa(2), MISNAMED, "the certificate is made out to another name"),
        (ROOT.tlsa(2), make("peer.test", ROOT, days=(-9, -1)), "a certificate is not valid at this time"),
    ],
)
async def test_what_dane_does_not_prove_gets_no_mail(
    world: World, record: str, certificate: Certificate, why: str
) -> None:
    """And before a word is said to it: no second EHLO."""
    with ScriptedServer(Script(tls=True, certificate=certificate.context())) as server:
        signed(world, server, record)
        await world.anew(port=server.port)
        await world.send("a@example.test")
        row = await world.settled("a@example.test")
        assert (row.status, row.enhanced_status, row.diagnostic) == (Status.SOFT_BOUNCED, "4.7.5", f"DANE: {why}")
        assert server.commands == ["EHLO relay.test", "STARTTLS"]


async def test_dane_allows_nothing_in_clear(world: World) -> None:
    with ScriptedServer(Script()) as server:
        signed(world, server, LEAF.tlsa(3))
        await world.anew(port=server.port)
        await world.send("a@example.test")
        assert (await world.settled("a@example.test")).enhanced_status == "4.7.4"


async def test_a_host_without_proof_is_passed_over_for_one_that_has_it(world: World) -> None:
    """A bogus or withheld TLSA answer keeps us from that host only."""
    world.dns.mx("example.test", "10 first.test", "20 peer.test")
    world.dns.add("first.test", "A", "127.0.0.1")
    with ScriptedServer(Script(tls=True, certificate=LEAF.context())) as server:
        signed(world, server, LEAF.tlsa(3))
        world.dns.servfail(f"_{server.port}._tcp.first.test")
        await world.anew(port=server.port)
        await world.send("a@example.test")
        assert words(await tls_of(world, "a@example.test")) == "dane"
        assert (await world.row("a@example.test")).mx == "peer.test"
        world.dns.servfail(f"_{server.port}._tcp.peer.test")
        await world.anew(port=server.port)
        await world.send("b@example.test")
        row = await world.settled("b@example.test")
        assert (row.status, row.enhanced_status) == (Status.SOFT_BOUNCED, "4.7.5")
        assert "TLSA lookup of" in row.diagnostic


async def test_without_dnssec_records_say_nothing(world: World) -> None:
    """Neither where the domain's MX came insecurely, nor the host's address, nor the records themselves."""
    with ScriptedServer(Script(tls=True, certificate=OTHER.context())) as server:
        for n, insecure in enumerate(("example.test", "peer.test", "tlsa")):
            signed(world, server, LEAF.tlsa(3))
            world.dns.insecure("test")
            names = {"example.test", "peer.test", f"_{server.port}._tcp.peer.test"}
            world.dns.secure(*(names - {insecure if insecure != "tlsa" else f"_{server.port}._tcp.peer.test"}))
            world.dns.exactly = True
            await world.anew(port=server.port)
            await world.send(f"{n}@example.test")
            assert words(await tls_of(world, f"{n}@example.test")) == "unverified", insecure
            for name in names:
                world.dns.insecure(name)


async def test_records_that_cannot_be_used_ask_for_tls_still(world: World) -> None:
    with ScriptedServer(Script(tls=True)) as server:
        signed(world, server, LEAF.tlsa(1))
        await world.anew(port=server.port)
        await world.send("a@example.test")
        assert words(await tls_of(world, "a@example.test")) == "unverified"
        server.script.tls = False
        await world.anew(port=server.port)
        await world.send("b@strict.test")
        assert (await world.settled("b@strict.test")).enhanced_status == "4.7.4"


async def test_dane_only_refuses_where_nothing_is_proven(world: World) -> None:
    with ScriptedServer(Script(tls=True)) as server:
        await world.anew(port=server.port, tls_policies={"strict.test": "dane-only", "example.test": "dane"})
        await world.send("a@example.test", "b@strict.test")
        assert words(await tls_of(world, "a@example.test")) == "unverified"
        assert "DANE is required" in (await world.settled("b@strict.test")).diagnostic


async def test_a_host_that_is_an_alias_is_proven_below_either_name(world: World) -> None:
    """RFC 7672, 2.2.2: its target's records first; its own where the target has none, or came insecurely."""
    world.dns.mx("example.test", "alias.test")
    world.dns.add("alias.test", "CNAME", "peer.test.")
    for number, host in enumerate(("peer.test", "alias.test", "alias.test")):
        with ScriptedServer(Script(tls=True, certificate=LEAF.context())) as server:
            signed(world, server, LEAF.tlsa(3), host=host)
            if number == 2:
                world.dns.insecure("test")
                world.dns.secure("example.test", "alias.test")
            await world.anew(port=server.port)
            await world.send(f"{number}@example.test")
            assert words(await tls_of(world, f"{number}@example.test")) == "dane"
            assert server.conversations[0].sni == host


async def test_a_route_is_proven_where_the_operator_says_so(world: World) -> None:
    with ScriptedServer(Script(tls=True, certificate=LEAF.context())) as server:
        signed(world, server, LEAF.tlsa(3))
        await world.anew(routes={"*": f"smtp://peer.test:{server.port}"}, tls_policies={"strict.test": "dane-only"})
        await world.send("a@example.test", "b@strict.test")
        await world.settled("a@example.test")
        await world.settled("b@strict.test")
        assert words((await world.timeline("a@example.test"))[-1].tls) == "unverified"
        assert words((await world.timeline("b@strict.test"))[-1].tls) == "dane"


async def test_a_session_resumes_what_the_same_records_proved(world: World) -> None:
    """Other records, and the server is proven anew: a session must not outlive what vouched for it."""
    with ScriptedServer(Script(tls=True, certificate=LEAF.context(), most_messages=1)) as server:
        signed(world, server, LEAF.tlsa(3))
        await world.anew(port=server.port)
        for n in range(3):
            if n == 2:
                world.dns.add(f"_{server.port}._tcp.peer.test", "TLSA", OTHER.tlsa(3))
                world.jump(4000)
            await world.send(f"{n}@example.test")
            row = await world.settled(f"{n}@example.test")
            assert row.status is (Status.SOFT_BOUNCED if n == 2 else Status.DELIVERED)
        assert [each.resumed for each in server.conversations] == [False, True, False]


# MTA-STS.


@pytest.fixture
async def web(dns: DnsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpsServer]:
    """Where policies are fetched, and an authority that is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem_file(tmp_path, ROOT)))
    dns.add("mta-sts.example.test", "A", "127.0.0.1")
    dns.add("_mta-sts.example.test", "TXT", '"v=STSv1; id=1;"')
    async with HttpsServer(make("mta-sts.example.test", ROOT).context()) as server:
        publish(server, "enforce")
        yield server


def publish(web: HttpsServer, mode: str, mx: str = "peer.test", max_age: int = 86400) -> None:
    web.text(f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: {max_age}\n")


async def test_mta_sts_proves_the_host_that_the_policy_names(world: World, web: HttpsServer) -> None:
    with ScriptedServer(Script(tls=True, certificate=LEAF.context())) as server:
        await world.anew(port=server.port, https_port=web.port)
        await world.send("a@example.test", "b@strict.test")
        assert words(await tls_of(world, "a@example.test")) == "mta-sts"
        assert words(await tls_of(world, "b@strict.test")) == "unverified"


@pytest.mark.parametrize(
    ("certificate", "mx", "why"),
    [
        (
            MISNAMED,
            "peer.test",
            "CERTIFICATE_VERIFY_FAILED (Hostname mismatch, certificate is not valid for 'peer.test'.)",
        ),
        (OTHER, "peer.test", "CERTIFICATE_VERIFY_FAILED (self-signed certificate)"),
        (make("peer.test", ROOT, days=(-9, -1)), "peer.test", "CERTIFICATE_VERIFY_FAILED (certificate has expired)"),
        (LEAF, "*.peer.test", "the MTA-STS policy of the domain does not name peer.test"),
        (None, "peer.test", "TLS is required, but the server does not offer it"),
    ],
)
@pytest.mark.parametrize("mode", ["enforce", "testing", "none"])
async def test_what_mta_sts_does_not_prove(
    world: World, web: HttpsServer, certificate: Certificate | None, mx: str, why: str, mode: str
) -> None:
    """Enforced, it gets no mail; in testing, it gets it as without a policy."""
    publish(web, mode, mx)
    script = Script(tls=True, certificate=certificate.context()) if certificate else Script()
    with ScriptedServer(script) as server:
        await world.anew(port=server.port, https_port=web.port)
        await world.send("a@example.test")
        if mode == "enforce":
            row = await world.settled("a@example.test")
            assert row.status is Status.SOFT_BOUNCED
            assert why in row.diagnostic
            assert server.messages == []
        else:
            assert words(await tls_of(world, "a@example.test")) == ("unverified" if certificate else "in clear")


async def test_dane_decides_where_both_are_published(world: World, web: HttpsServer) -> None:
    """RFC 8461, 2: MTA-STS makes nothing good that DANE found wrong; and DANE needs nobody's authority."""
    with ScriptedServer(Script(tls=True, certificate=LEAF.context())) as server:
        signed(world, server, OTHER.tlsa(3))
        await world.anew(port=server.port, https_port=web.port)
        await world.send("a@example.test")
        assert "DANE" in (await world.settled("a@example.test")).diagnostic
    with ScriptedServer(Script(tls=True, certificate=OTHER.context())) as server:
        signed(world, server, OTHER.tlsa(3))
        await world.anew(port=server.port, https_port=web.port)
        await world.send("b@example.test")
        assert words(await tls_of(world, "b@example.test")) == "dane"


async def test_a_policy_holds_whatever_becomes_of_its_record_and_server(world: World, web: HttpsServer) -> None:
    """RFC 8461, 10.2: who takes the record or the server away must not take the policy away; a restart neither."""
    with ScriptedServer(Script(tls=True, certificate=LEAF.context())) as server:
        await world.anew(port=server.port, https_port=web.port)
        await world.send("a@example.test")
        assert words(await tls_of(world, "a@example.test")) == "mta-sts"
        world.dns.forget("_mta-sts.example.test")
        await world.anew(port=server.port, https_port=web.port)
        await world.send("b@example.test")
        assert words(await tls_of(world, "b@example.test")) == "mta-sts"
        assert len(web.asked) == 1
        # Its record names another policy, which cannot be had.
        world.dns.add("_mta-sts.example.test", "TXT", '"v=STSv1; id=2;"')
        web.text("gone", "text/html")
        for address in ("c@example.test", "d@example.test"):
            await world.anew(port=server.port, https_port=web.port)
            await world.send(address)
            assert words(await tls_of(world, address)) == "mta-sts"
        # Its time is over.
        world.jump(86_401)
        await world.anew(port=server.port, https_port=web.port)
        await world.send("e@example.test")
        assert words(await tls_of(world, "e@example.test")) == "unverified"


async def test_a_newer_policy_takes_the_place_of_the_last(world: World, web: HttpsServer) -> None:
    with ScriptedServer(Script(tls=True)) as server:
        await world.anew(port=server.port, https_port=web.port)
        await world.send("a@example.test")
        assert (await world.settled("a@example.test")).status is Status.SOFT_BOUNCED
        publish(web, "none")
        world.dns.add("_mta-sts.example.test", "TXT", '"v=STSv1; id=2;"')
        await world.anew(port=server.port, https_port=web.port)
        await world.send("b@example.test")
        assert words(await tls_of(world, "b@example.test")) == "unverified"


async def test_policies_are_fetched_anew_before_their_time_is_over(world: World, web: HttpsServer) -> None:
    with ScriptedServer(Script(tls=True, certificate=LEAF.context())) as server:
        await world.anew(port=server.port, https_port=web.port)
        await world.send("a@example.test")
        await tls_of(world, "a@example.test")
        await world.delivery.refresh_policies()
        assert len(web.asked) == 1
        world.jump(50_000)
        publish(web, "testing")
        await world.delivery.refresh_policies()
        assert len(web.asked) == 2
        kept = await world.store.tls.sts("example.test")
        assert kept is not None
        assert kept.mode == "testing"
        assert kept.expires_ms > world.now_ms() + 80_000_000
        world.jump(70_000)
        await world.anew(port=server.port, https_port=web.port)
        await world.send("b@example.test")
        await tls_of(world, "b@example.test")
        assert len(web.asked) == 3  # mail that finds it past its half fetches it too
        world.jump(61 * 86_400)
        await world.delivery.refresh_policies()
        assert await world.store.tls.sts("example.test") is None


async def test_a_policy_that_cannot_be_fetched_is_not_asked_for_at_once_again(world: World, web: HttpsServer) -> None:
    web.text("version: STSv2")
    with ScriptedServer(Script(tls=True)) as server:
        world.dns.mx("example.test", "peer.test", ttl=1)
        await world.anew(port=server.port, https_port=web.port)
        for number, asked in ((0, 1), (100, 1), (250, 2)):
            world.jump(number)
            await world.send(f"{number}@example.test")
            assert words(await tls_of(world, f"{number}@example.test")) == "unverified"
            assert len(web.asked) == asked


async def test_mta_sts_can_be_switched_off(world: World, web: HttpsServer) -> None:
    with ScriptedServer(Script(tls=True)) as server:
        await world.anew(port=server.port, https_port=web.port, mta_sts=False)
        await world.send("a@example.test")
        assert words(await tls_of(world, "a@example.test")) == "unverified"
        assert web.asked == []


# What is counted for reports.

type_of = "policy-type"
TODAY_MS = 86_400_000


async def counted(world: World, domain: str = "example.test") -> dict[tuple[str, str], int]:
    """Return the sessions of today by type of policy and failure."""
    await world.delivery.drain(0)
    counts = await world.store.tls.counts(world.now_ms() // TODAY_MS, domain)
    found: dict[tuple[str, str], int] = {}
    for each in counts:
        kind = json.loads(each.key.policy)[type_of], each.key.failure
        found[kind] = found.get(kind, 0) + each.sessions
    return found


@pytest.fixture
def reporting(dns: DnsServer) -> None:
    for domain in ("example.test", "strict.test"):
        dns.add(f"_smtp._tls.{domain}", "TXT", '"v=TLSRPTv1; rua=mailto:tls@reports.test"')


@pytest.mark.parametrize(
    ("script", "mode", "records", "expected"),
    [
        (Script(tls=True), None, (), {("no-policy-found", ""): 1}),
        (Script(), None, (), {("no-policy-found", "starttls-not-supported"): 1}),
        (Script(tls=True, starttls="454 no"), None, (), {("no-policy-found", "starttls-not-supported"): 1}),
        (Script(tls=True, handshake=DROP), None, (), {("no-policy-found", "validation-failure"): 1}),
        (Script(tls=True, certificate=LEAF.context()), "enforce", (), {("sts", ""): 1}),
        (Script(tls=True, certificate=LEAF.context()), "none", (), {("no-policy-found", ""): 1}),
        (Script(tls=True, certificate=OTHER.context()), "enforce", (), {("sts", "certificate-not-trusted"): 1}),
        (Script(tls=True, certificate=MISNAMED.context()), "testing", (), {("sts", "certificate-host-mismatch"): 1}),
        (Script(), "testing", (), {("sts", "starttls-not-supported"): 1}),
        (Script(tls=True), "bad", (), {("sts", "sts-policy-invalid"): 1, ("no-policy-found", ""): 1}),
        (Script(tls=True, certificate=LEAF.context()), "enforce", (LEAF.tlsa(3),), {("tlsa", ""): 1}),
        (Script(tls=True, certificate=OTHER.context()), None, (LEAF.tlsa(3),), {("tlsa", "validation-failure"): 1}),
        (Script(tls=True), None, None, {("tlsa", "dnssec-invalid"): 1}),
    ],
)
async def test_each_outcome_is_counted_by_policy_and_failure(
    world: World,
    web: HttpsServer,
    reporting: None,
    script: Script,
    mode: str | None,
    records: tuple[str, ...] | None,
    expected: dict[tuple[str, str], int],
) -> None:
    if mode is None:
        world.dns.forget("_mta-sts.example.test")
    else:
        publish(web, mode)
    with ScriptedServer(script) as server:
        if records:
            signed(world, server, *records)
        if records is None:
            world.dns.secure("test")
            world.dns.servfail(f"_{server.port}._tcp.peer.test")
        await world.anew(port=server.port, https_port=web.port, tls_reports=True)
        await world.send("a@example.test")
        await world.settled("a@example.test")
        assert await counted(world) == expected


async def test_a_connection_counts_once_for_each_domain_that_asks(world: World, reporting: None) -> None:
    with ScriptedServer(Script(tls=True)) as server:
        await world.anew(port=server.port, tls_reports=True, max_connections_per_site=1)
        await world.send("a@example.test", "b@example.test", "c@strict.test", "d@a.clear.test")
        for address in ("a@example.test", "b@example.test", "c@strict.test", "d@a.clear.test"):
            await tls_of(world, address)
        assert await counted(world) == {("no-policy-found", ""): 1}
        assert await counted(world, "strict.test") == {("no-policy-found", ""): 1}
        assert await counted(world, "a.clear.test") == {}


async def test_a_report_on_tls_goes_whatever_tls_comes_to_and_is_not_counted(
    world: World, web: HttpsServer, reporting: None
) -> None:
    """RFC 8460, 3: or a domain would never hear what is wrong with its certificates."""
    with ScriptedServer(Script(tls=True, certificate=OTHER.context())) as server:
        await world.anew(port=server.port, https_port=web.port, tls_reports=True)
        await world.send("a@example.test")
        await world.send("tls@example.test", message_id="<tlsrpt.1@relay.test>", untracked_reason="report")
        # What others submit under such a Message-ID is mail as any other.
        await world.send("b@example.test", message_id="<tlsrpt.1@relay.test>", untracked_reason="report", client="::1")
        assert words(await tls_of(world, "tls@example.test")) == "unverified"
        for address in ("a@example.test", "b@example.test"):
            assert (await world.settled(address)).status is Status.SOFT_BOUNCED
        assert set(await counted(world)) == {("sts", "certificate-not-trusted")}

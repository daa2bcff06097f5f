from typing import Any

import pytest

from relay.deliver.dane import Tlsa
from relay.deliver.demand import Demand, Proof, Refusal, Tlsas, demand
from relay.deliver.destination import Destination
from relay.deliver.levels import Level, Levels
from relay.deliver.mx import Hosts
from relay.deliver.settings import DeliverySettings, TlsPolicy
from relay.deliver.sts import Mode, StsPolicy

RECORDS = (Tlsa(3, 1, 1, bytes(32)),)
ENFORCED = StsPolicy(Mode.ENFORCE, ("mx.test",))
TESTED = StsPolicy(Mode.TESTING, ("mx.test",))


def to(tls: TlsPolicy, sts: StsPolicy | None = None, **changes: Any) -> Destination:
    return Destination(Hosts((("mx.test",),)), 25, tls, final_hop=True, sts=sts, **changes)


def asked(tls: TlsPolicy, sts: StsPolicy | None = None, tlsas: Tlsas | None = None, host: str = "mx.test") -> list[str]:
    """Return the chain of demands in words."""
    words: list[str] = []
    each: Demand | Refusal | None = demand(to(tls, sts), host, tlsas)
    while isinstance(each, Demand):
        words.append(each.proof or "clear")
        each = each.otherwise
    return words + ([each.text] if each else [])


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        (TlsPolicy.NONE, ["clear"]),
        (TlsPolicy.MAY, ["unverified", "clear"]),
        (TlsPolicy.ENCRYPT, ["unverified"]),
        (TlsPolicy.VERIFY, ["verified"]),
        (TlsPolicy.DANE, ["unverified", "clear"]),
        (TlsPolicy.DANE_ONLY, ["DANE is required, but mx.test has no TLSA records that came securely"]),
    ],
)
def test_what_each_level_asks_for(tls: TlsPolicy, expected: list[str]) -> None:
    assert asked(tls) == expected
    assert asked(tls, StsPolicy(Mode.NONE, ())) == expected


def test_mta_sts_stands_above_the_default() -> None:
    for tls in (TlsPolicy.NONE, TlsPolicy.MAY, TlsPolicy.ENCRYPT, TlsPolicy.VERIFY):
        assert asked(tls, ENFORCED) == ["mta-sts"]
    assert asked(TlsPolicy.MAY, ENFORCED, host="other.test") == [
        "the MTA-STS policy of the domain does not name other.test"
    ]


def test_mta_sts_in_testing_stops_nothing() -> None:
    assert asked(TlsPolicy.MAY, TESTED) == ["mta-sts", "unverified", "clear"]
    assert asked(TlsPolicy.ENCRYPT, TESTED) == ["mta-sts", "unverified"]
    assert asked(TlsPolicy.MAY, TESTED, host="other.test") == ["unverified", "clear"]


def test_dane_stands_above_mta_sts() -> None:
    """RFC 8461, 2: a policy of MTA-STS must never make good what DANE found wrong."""
    for sts in (None, ENFORCED, TESTED):
        assert asked(TlsPolicy.MAY, sts, Tlsas("mx.test", RECORDS)) == ["dane"]
        assert asked(TlsPolicy.DANE_ONLY, sts, Tlsas("mx.test", RECORDS)) == ["dane"]
    found = demand(to(TlsPolicy.MAY, ENFORCED), "alias.test", Tlsas("mx.test", RECORDS))
    assert found == Demand(Proof.DANE, "mx.test", RECORDS, ("mx.test", "alias.test"))


def test_records_that_cannot_be_used_still_ask_for_tls() -> None:
    """RFC 7672, 2.2: and DANE alone does not take them for a proof."""
    assert asked(TlsPolicy.MAY, None, Tlsas("mx.test", ())) == ["unverified"]
    assert asked(TlsPolicy.MAY, ENFORCED, Tlsas("mx.test", ())) == ["mta-sts"]
    assert asked(TlsPolicy.VERIFY, None, Tlsas("mx.test", ())) == ["verified"]
    assert asked(TlsPolicy.NONE, TESTED, Tlsas("mx.test", ())) == ["mta-sts", "unverified"]
    assert asked(TlsPolicy.DANE_ONLY, None, Tlsas("mx.test", ())) == [
        "DANE is required, but mx.test has no TLSA records that can be used"
    ]


def test_tls_from_the_first_byte_cannot_become_clear() -> None:
    found = demand(to(TlsPolicy.MAY, implicit_tls=True), "mx.test", None)
    assert found == Demand(Proof.NONE, "mx.test")


def test_the_policy_of_the_operator_stands_above_what_a_domain_asks_for() -> None:
    settings = DeliverySettings(tls=TlsPolicy.ENCRYPT, tls_policies={"a.test": "verify", "*.b.test": "dane-only"})
    levels = Levels(settings)
    assert levels.of("a.test") == Level(TlsPolicy.VERIFY, dane=False, sts=False)
    assert levels.of("x.b.test") == Level(TlsPolicy.DANE_ONLY, dane=True, sts=False)
    assert levels.of("c.test") == Level(TlsPolicy.ENCRYPT, dane=True, sts=True)
    quiet = Levels(DeliverySettings(dane=False, mta_sts=False))
    assert quiet.of("c.test") == Level(TlsPolicy.MAY, dane=False, sts=False)
    assert Levels(DeliverySettings(dane=False, tls=TlsPolicy.DANE)).of("c.test").dane
    assert levels.of("x.b.test").dane_on_route
    assert not levels.of("c.test").dane_on_route

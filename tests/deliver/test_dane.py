import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver import dane
from relay.deliver.dane import DANE_EE, DANE_TA, Mismatch, Tlsa, mismatch, usable
from tests.peers.certificates import NOW, Certificate, make

ROOT = make("Root", authority=True)
MIDDLE = make("Middle", ROOT, authority=True, path_length=0)
LEAF = make("mx.example.test", MIDDLE, names=("mx.example.test", "*.wild.test"))
OLD = make("mx.example.test", MIDDLE, days=(-9, -1))
STRANGER = make("Stranger", authority=True)
CHAIN = [each.der for each in LEAF.chain()]
HOST = ("mx.example.test",)


def tlsa(certificate: Certificate, usage: int, selector: int = 1, matching: int = 1) -> Tlsa:
    return Tlsa(usage, selector, matching, certificate.association(selector, matching))


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_each_selector_and_matching_type_names_a_certificate(selector: int, matching: int) -> None:
    for usage, certificate in ((DANE_EE, LEAF), (DANE_TA, ROOT), (DANE_TA, MIDDLE)):
        right, wrong = tlsa(certificate, usage, selector, matching), tlsa(STRANGER, usage, selector, matching)
        assert mismatch(CHAIN, [wrong, right], HOST, NOW) is None
        assert mismatch(CHAIN, [wrong], HOST, NOW) is Mismatch.NOT_THEIRS


def test_dane_ee_asks_for_no_name_and_no_date() -> None:
    chain = [each.der for each in OLD.chain()]
    assert mismatch(chain, [tlsa(OLD, DANE_EE)], ("another.test",), NOW) is None
    # It names the server's own certificate, not one further up.
    assert mismatch(chain, [tlsa(MIDDLE, DANE_EE)], HOST, NOW) is Mismatch.NOT_THEIRS


def test_dane_ta_asks_for_names_and_dates() -> None:
    records = [tlsa(ROOT, DANE_TA)]
    assert mismatch(CHAIN, records, ("another.test", "mx.example.test"), NOW) is None
    assert mismatch(CHAIN, records, ("a.wild.test",), NOW) is None
    assert mismatch(CHAIN, records, ("a.b.wild.test",), NOW) is Mismatch.NAME
    assert mismatch(CHAIN, records, ("wild.test",), NOW) is Mismatch.NAME
    assert mismatch([each.der for each in OLD.chain()], records, HOST, NOW) is Mismatch.EXPIRED
    assert mismatch(CHAIN, records, HOST, NOW - dt.timedelta(days=2)) is Mismatch.EXPIRED
    nameless = make("mx.example.test", ROOT, names=())
    assert mismatch([nameless.der, ROOT.der], records, HOST, NOW) is None  # RFC 7672, 3.2.3: then its CN
    assert mismatch([nameless.der, ROOT.der], records, ("a.test",), NOW) is Mismatch.NAME


def test_an_authority_in_the_record_need_not_be_sent() -> None:
    assert mismatch(CHAIN[:2], [tlsa(ROOT, DANE_TA, 0, 0)], HOST, NOW) is None
    assert mismatch(CHAIN[:2], [tlsa(ROOT, DANE_TA, 0, 1)], HOST, NOW) is Mismatch.NOT_THEIRS
    assert mismatch([LEAF.der], [tlsa(LEAF, DANE_TA)], HOST, NOW) is None  # its own authority


def test_only_an_authority_can_have_signed() -> None:
    forged = {
        "no authority": make("Root", ROOT, authority=False),
        "one level too many": make("Middle", MIDDLE, authority=True),
        "not for signing": make("Middle", ROOT, authority=True, extensions=((_usage(signs=False), True),)),
        "critical and unknown": make(
            "Middle", ROOT, authority=True, extensions=((x509.UnrecognizedExtension(_OID, b"\x05\x00"), True),)
        ),
        "names constrained": make(
            "Middle",
            ROOT,
            authority=True,
            extensions=((x509.NameConstraints([x509.DNSName("other.test")], None), True),),
        ),
    }
    for why, issuer in forged.items():
        leaf = make("mx.example.test", issuer)
        chain = [each.der for each in leaf.chain()]
        assert mismatch(chain, [tlsa(ROOT, DANE_TA)], HOST, NOW) is Mismatch.NOT_THEIRS, why
    good = make("Middle", ROOT, authority=True, extensions=((_usage(signs=True), True),))
    chain = [each.der for each in make("mx.example.test", good).chain()]
    assert mismatch(chain, [tlsa(ROOT, DANE_TA)], HOST, NOW) is None


def test_a_name_alone_makes_no_issuer() -> None:
    other = make("Root", authority=True)
    assert mismatch([LEAF.der, MIDDLE.der, other.der], [tlsa(other, DANE_TA)], HOST, NOW) is Mismatch.NOT_THEIRS


_OID = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, signs, False, False, False)


def test_what_cannot_be_read_is_not_theirs() -> None:
    records = [tlsa(ROOT, DANE_TA), tlsa(LEAF, DANE_EE)]
    assert mismatch([], records, HOST, NOW) is Mismatch.NOT_THEIRS
    assert mismatch([b"x"], records, HOST, NOW) is Mismatch.NOT_THEIRS
    assert mismatch([LEAF.der, b"x"], records, HOST, NOW) is None
    assert mismatch([LEAF.der, b"x"], records[:1], HOST, NOW) is Mismatch.NOT_THEIRS
    assert mismatch(CHAIN[:2], [Tlsa(DANE_TA, 0, 0, b"x")], HOST, NOW) is Mismatch.NOT_THEIRS
    assert mismatch([LEAF.der] + [MIDDLE.der] * 500, records[:1], HOST, NOW) is Mismatch.NOT_THEIRS


def test_a_long_chain_is_cut() -> None:
    top = make("A", authority=True)
    lowest = top
    for n in range(14):
        lowest = make(f"A{n}", lowest, authority=True)
    chain = [each.der for each in make("mx.example.test", lowest).chain()]
    assert mismatch(chain, [tlsa(top, DANE_TA)], HOST, NOW) is Mismatch.NOT_THEIRS
    assert mismatch(chain, [tlsa(lowest, DANE_TA)], HOST, NOW) is None


def test_records_in_full_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone may hold a hundred authorities of one name: each signature that is checked is everybody's time."""
    checked: list[int] = []
    issued = dane._issued

    def counted(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
        checked.append(below)
        return issued(issuer, certificate, below)

    monkeypatch.setattr(dane, "_issued", counted)
    namesakes = [make("Middle", authority=True) for _ in range(40)]
    records = [tlsa(each, DANE_TA, 0, 0) for each in namesakes]
    assert mismatch(CHAIN, records, HOST, NOW) is Mismatch.NOT_THEIRS
    assert 0 < len(checked) <= 3 * 12


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (Tlsa(0, 0, 1, bytes(32)), False),
        (Tlsa(1, 1, 1, bytes(32)), False),
        (Tlsa(2, 0, 1, bytes(32)), True),
        (Tlsa(3, 1, 2, bytes(64)), True),
        (Tlsa(3, 1, 0, b"x"), True),
        (Tlsa(3, 1, 0, b""), False),
        (Tlsa(3, 1, 1, bytes(31)), False),
        (Tlsa(3, 1, 2, bytes(32)), False),
        (Tlsa(3, 1, 3, bytes(32)), False),
        (Tlsa(3, 2, 1, bytes(32)), False),
        (Tlsa(255, 255, 255, b"x"), False),
    ],
)
def test_which_records_can_be_used(record: Tlsa, counts: bool) -> None:
    assert usable([record]) == ((record,) if counts else ())


def test_of_digests_alike_the_strongest_counts() -> None:
    """RFC 7671, 9: a weaker digest beside a stronger one of the same kind must not be the one that is broken."""
    weak, strong, full = Tlsa(3, 1, 1, bytes(32)), Tlsa(3, 1, 2, bytes(64)), Tlsa(3, 1, 0, b"x")
    other = Tlsa(3, 0, 1, bytes(32))
    assert usable([weak, strong, full, other, weak]) == (other, full, strong)


@given(st.lists(st.binary(max_size=200), max_size=4), st.binary(max_size=200))
def test_whatever_comes_raises_nothing(chain: list[bytes], data: bytes) -> None:
    for record in (Tlsa(2, 0, 0, data), Tlsa(3, 1, 0, data)):
        assert mismatch([*chain, LEAF.certificate.public_bytes(Encoding.DER)], [record], HOST, NOW) is not None or chain

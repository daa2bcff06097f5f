"""storage/address.py: what is let in is harmless, and the rest is refused with its reason."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.address import MAX_ADDRESS_BYTES, Address, Fault, address_key, parse_domain, parse_mailbox, split_path


@pytest.mark.parametrize(
    ("path", "local", "domain"),
    [
        ("a@b.example", "a", "b.example"),
        ("Ann.Lee+tag@Example.ORG", "Ann.Lee+tag", "example.org"),
        ("!#$%&'*+/=?^_`{|}~-@x", "!#$%&'*+/=?^_`{|}~-", "x"),
        ('"a b"@x.example', '"a b"', "x.example"),
        (r'"a\"b\\"@x.example', r'"a\"b\\"', "x.example"),
        ('"a@b"@x.example', '"a@b"', "x.example"),
        ("@one.example,@two.example:a@b.example", "a", "b.example"),
        ("a@_dmarc.example", "a", "_dmarc.example"),
        ("a@xn--strae-oqa.example", "a", "xn--strae-oqa.example"),
        ("Postmaster", "Postmaster", ""),
        ("l" * 64 + "@b.example", "l" * 64, "b.example"),
        ("a@" + ".".join(["d" * 63] * 3) + ".example", "a", ".".join(["d" * 63] * 3) + ".example"),
    ],
)
def test_an_address_keeps_its_local_part_and_folds_its_domain(path: str, local: str, domain: str) -> None:
    assert parse_mailbox(path, utf8=False) == Address(local, domain)


@pytest.mark.parametrize(
    ("path", "local", "domain"),
    [
        ("jörg@straße.example", "jörg", "xn--strae-oqa.example"),
        ("用户@例え.テスト", "用户", "xn--r8jz45g.xn--zckzah"),
        ("a@BÜCHER.example", "a", "xn--bcher-kva.example"),
        ("a@bücher。example", "a", "xn--bcher-kva.example"),
    ],
)
def test_with_smtputf8_the_domain_becomes_a_labels(path: str, local: str, domain: str) -> None:
    """IDNA 2008, not the codec of the standard library: straße is not strasse."""
    assert parse_mailbox(path, utf8=True) == Address(local, domain)
    assert parse_mailbox(path, utf8=False) is Fault.NOT_ASCII


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("", Fault.SYNTAX),
        ("@", Fault.SYNTAX),
        ("a", Fault.NO_DOMAIN),
        ("a@", Fault.NO_DOMAIN),
        ("@b.example", Fault.SYNTAX),
        ("@a b:c@d", Fault.SYNTAX),
        ("a..b@c.example", Fault.SYNTAX),
        (".a@c.example", Fault.SYNTAX),
        ("a.@c.example", Fault.SYNTAX),
        ("a b@c.example", Fault.SYNTAX),
        ("a(b)c@d.example", Fault.SYNTAX),
        ('""@c.example', Fault.SYNTAX),
        ('"a@c.example', Fault.SYNTAX),
        ('"a"b@c.example', Fault.SYNTAX),
        ('a"b"@c.example', Fault.SYNTAX),
        ("a@b@c.example", Fault.DOMAIN),
        ("a@b..example", Fault.DOMAIN),
        ("a@.example", Fault.DOMAIN),
        ("a@example.", Fault.DOMAIN),
        ("a@-b.example", Fault.DOMAIN),
        ("a@b-.example", Fault.DOMAIN),
        ("a@b c", Fault.DOMAIN),
        ("a@=?utf-8?q?evil.example?=", Fault.DOMAIN),
        ("a@" + "d" * 64 + ".example", Fault.DOMAIN),
        ("a@\ufdfd", Fault.DOMAIN),
        ("a@a\u2e2e.example", Fault.DOMAIN),
        ("a@[192.0.2.1]", Fault.LITERAL),
        ("a@[IPv6:::1]", Fault.LITERAL),
        ("a@192.0.2.1", Fault.LITERAL),
        ("a@127.0.0.1".translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0127"}), Fault.LITERAL),
        ("l" * 65 + "@b.example", Fault.TOO_LONG),
        ("ö" * 33 + "@b.example", Fault.TOO_LONG),
        ("l" * 64 + "@" + ".".join(["d" * 60] * 3) + ".example", Fault.TOO_LONG),
        ("a@" + "d." * 127 + "example", Fault.TOO_LONG),
        ("a@" + ".".join(["ü" * 40] * 6), Fault.DOMAIN),
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(path: str, fault: Fault) -> None:
    assert parse_mailbox(path, utf8=True) is fault


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("<a@b>", ("a@b", "")),
        (" <a@b>", ("a@b", "")),
        ("<>", ("", "")),
        ("<a@b> SIZE=3  BODY=7BIT", ("a@b", "SIZE=3  BODY=7BIT")),
        ('<"a>b"@c> X=1', ('"a>b"@c', "X=1")),
        ("a@b", None),
        ("", None),
        ("<", None),
        ("<a@b", None),
        ("a@b>", None),
        ("<a@b>SIZE=3", None),
        ("<<a@b>>", None),
        ('<"a>b@c>', None),
        ("<a\x00b@c>", None),
        ("<a@b>\r\nRCPT TO:<c@d>", None),
        ("<a@b\udcff>", None),
        ("<a\u202eb@c>", None),
    ],
)
def test_a_path_stands_in_brackets_and_holds_nothing_unprintable(argument: str, parts: tuple[str, str] | None) -> None:
    assert split_path(argument) == parts


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a@B.example", "a@b.EXAMPLE", True),
        ('"a"@b.example', "a@b.example", True),
        (r'"\a"@b.example', "a@b.example", True),
        ("A@b.example", "a@b.example", False),
        ('"a b"@b.example', '"ab"@b.example', False),
    ],
)
def test_the_same_mailbox_has_one_key(one: str, other: str, same: bool) -> None:
    keys = [parse_mailbox(path, utf8=False) for path in (one, other)]
    assert all(isinstance(key, Address) for key in keys)
    assert (address_key(str(keys[0])) == address_key(str(keys[1]))) is same


@given(st.text(max_size=300))
def test_whatever_comes_in_only_clean_addresses_come_out(text: str) -> None:
    parts = split_path(text)
    address = parse_mailbox(parts[0] if parts else text, utf8=True) if text.isprintable() else None
    if isinstance(address, Address):
        written = str(address)
        assert written.isprintable()
        assert len(written.encode()) <= MAX_ADDRESS_BYTES
        assert address.domain == address.domain.lower()
        assert address.domain.isascii()


LOCAL = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z]{1,10}){0,3}", fullmatch=True)
DOMAIN = st.from_regex(r"([a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\.){1,4}[a-z]{2,8}", fullmatch=True)


@given(LOCAL, DOMAIN)
def test_every_plain_address_is_taken_as_it_is(local: str, domain: str) -> None:
    assert str(parse_mailbox(f"{local}@{domain}", utf8=False)) == f"{local}@{domain}"


@given(st.text(alphabet=st.characters(max_codepoint=0x3000), min_size=1, max_size=80))
def test_a_domain_read_again_is_the_same(text: str) -> None:
    domain = parse_domain(text)
    if not isinstance(domain, Fault):
        assert parse_domain(domain) == domain


@pytest.mark.parametrize("piece", ["a", ".a", '"', '"\\', "\\", "@a,", "@a:", "<", "a@", "ü", "xn--", "("])
def test_hostile_paths_cost_linear_time(piece: str) -> None:
    """A megabyte of anything is over in the time of a few copies."""
    text = piece * (1_000_000 // len(piece))
    begun = time.perf_counter()
    for argument in (f"<{text}>", f'<"{text}', text):
        split_path(argument)
        parse_mailbox(argument, utf8=True)
        parse_mailbox(text + "@x", utf8=True)
        parse_mailbox("@" + text, utf8=True)
    assert time.perf_counter() - begun < 2

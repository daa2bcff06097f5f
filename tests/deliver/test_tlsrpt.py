import email
import gzip
import json
from email import policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.dane import Mismatch
from relay.deliver.failure import FailureType, of_mismatch, of_verify_code
from relay.deliver.tlsrpt import NO_POLICY, Author, Report, Wanted, policy_of_sts, policy_of_tlsa, wanted
from storage.tls_model import StoredSts, TlsCount, TlsKey

AUTHOR = Author("Example Relay", "postmaster@relay.test", "mx.relay.test")
DAY = 20_000  # 2024-10-04
STS = policy_of_sts(StoredSts("example.test", "1", "enforce", ("*.mx.test",), 86400, 0, 0, 0))
FAILED = TlsKey(DAY, "example.test", STS, "certificate-expired", "a.mx.test", "192.0.2.1", "192.0.2.9", "it expired")


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (["v=TLSRPTv1; rua=mailto:reports@example.test"], Wanted(("reports@example.test",), ())),
        (["v=TLSRPTv1;rua=https://r.test/v1"], Wanted((), ("https://r.test/v1",))),
        (
            ["v=TLSRPTv1 ; rua = mailto:a%2Bb@x.test?subject=x , https://r.test:8443/ ;"],
            Wanted(("a+b@x.test",), ("https://r.test:8443/",)),
        ),
        (["v=TLSRPTv1; x=y; rua=mailto:a@x.test", "v=spf1 -all"], Wanted(("a@x.test",), ())),
        (["v=TLSRPTv1; rua=mailto:a@x.test,mailto:a@x.test"], Wanted(("a@x.test",), ())),
        (["v=TLSRPTv1; rua=mailto:a@x.test", "v=TLSRPTv1; rua=mailto:b@x.test"], Wanted((), ())),
        (["v=TLSRPTv1; rua=http://r.test/,ftp://x,mailto:,mailto:a,mailto:%0d%0a@x.test"], Wanted((), ())),
        (
            ["v=TLSRPTv1; rua=https://,https://[x/,https://r.test:99999/,https://r.test:0/,https://r. test/"],
            Wanted((), ()),
        ),
        (["v=TLSRPTv1; rua=https://ü.test/"], Wanted((), ())),
        (["v=TLSRPTv12; rua=mailto:a@x.test"], Wanted((), ())),
        (["v=TLSRPTv1"], Wanted((), ())),
        ([], Wanted((), ())),
    ],
)
def test_who_wants_reports(records: list[str], found: Wanted) -> None:
    assert wanted(records) == found
    assert bool(wanted(records)) is bool(found.addresses or found.urls)


def test_not_more_than_some_get_them() -> None:
    many = ",".join(f"mailto:a{n}@x.test" for n in range(50))
    assert len(wanted([f"v=TLSRPTv1; rua={many}"]).addresses) == 5


@given(st.text())
def test_whatever_a_record_says_no_line_ends_in_an_address(text: str) -> None:
    found = wanted([f"v=TLSRPTv1; rua=mailto:{text}"])
    assert all(address.isprintable() and " " not in address for address in found.addresses)


def report() -> Report:
    counts = [
        TlsCount(TlsKey(DAY, "example.test", STS), 5),
        TlsCount(FAILED, 2),
        TlsCount(TlsKey(DAY, "example.test", NO_POLICY), 3),
        TlsCount(TlsKey(DAY, "example.test", policy_of_tlsa(["3 1 1 ab"], "a.mx.test")), 1),
        TlsCount(TlsKey(DAY, "example.test", policy_of_tlsa([], ""), "dnssec-invalid"), 1),
        TlsCount(TlsKey(DAY, "example.test", policy_of_sts(None), "sts-policy-fetch-error"), 1),
    ]
    return Report("example.test", DAY, AUTHOR, counts)


def test_the_report_is_the_rfcs_object() -> None:
    found = report().as_json()
    assert found["date-range"] == {
        "start-datetime": "2024-10-04T00:00:00Z",
        "end-datetime": "2024-10-04T23:59:59Z",
    }
    assert (found["organization-name"], found["contact-info"]) == ("Example Relay", "postmaster@relay.test")
    by_type = {json.dumps(each["policy"], sort_keys=True): each for each in found["policies"]}
    assert len(by_type) == len(found["policies"]) == 5
    sts = next(each for each in found["policies"] if each["policy"].get("mx-host") == ["*.mx.test"])
    assert sts["policy"] == {
        "policy-type": "sts",
        "policy-string": ["version: STSv1", "mode: enforce", "mx: *.mx.test", "max_age: 86400"],
        "mx-host": ["*.mx.test"],
        "policy-domain": "example.test",
    }
    assert sts["summary"] == {"total-successful-session-count": 5, "total-failure-session-count": 2}
    assert sts["failure-details"] == [
        {
            "result-type": "certificate-expired",
            "sending-mta-ip": "192.0.2.9",
            "receiving-mx-hostname": "a.mx.test",
            "receiving-ip": "192.0.2.1",
            "failed-session-count": 2,
            "failure-reason-code": "it expired",
        }
    ]
    plain = next(each for each in found["policies"] if each["policy"]["policy-type"] == "no-policy-found")
    assert plain == {
        "policy": {"policy-type": "no-policy-found", "policy-domain": "example.test"},
        "summary": {"total-successful-session-count": 3, "total-failure-session-count": 0},
    }


def test_the_report_as_a_message() -> None:
    raw = report().mail(["a@x.test", "b@x.test"], "Fri, 04 Oct 2024 01:00:00 +0000", "tlsrpt.1@mx.relay.test")
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 200
    message = email.message_from_bytes(raw, policy=policy.default)
    assert message["TLS-Report-Domain"] == "example.test"
    assert message["TLS-Report-Submitter"] == "mx.relay.test"
    assert message["TLS-Required"] == "No"
    assert "Report Domain: example.test" in message["Subject"]
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "tlsrpt"
    words, attached = message.iter_parts()
    assert "did not: 4" in words.get_content()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    name = f"mx.relay.test!example.test!{DAY * 86400}!{DAY * 86400 + 86399}.json.gz"
    assert attached.get_filename() == name
    assert json.loads(gzip.decompress(attached.get_content())) == report().as_json()


def test_the_words_of_failures() -> None:
    assert of_verify_code(10) is FailureType.EXPIRED
    assert of_verify_code(62) is FailureType.NAME
    assert of_verify_code(20) is FailureType.NOT_TRUSTED
    assert of_verify_code(7) is FailureType.VALIDATION
    assert of_mismatch(Mismatch.NAME) is FailureType.NAME
    assert of_mismatch(Mismatch.NOT_THEIRS) is FailureType.VALIDATION

"""Reports on TLS (RFC 8460): who wants them, and how they are written.

Rule: pure. What stands in a report are counts, and names and addresses of servers: nothing of messages or people.
"""

import base64
import datetime as dt
import gzip
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from storage.tls_model import StoredSts, TlsCount

ID_PREFIX: Final = "tlsrpt."
"""Message-IDs of reports begin so."""
GZIPPED: Final = "application/tlsrpt+gzip"
_VERSION: Final = re.compile(r"v=TLSRPTv1[ \t]*(?:;|$)")
_RUA: Final = re.compile(r"rua[ \t]*=[ \t]*(.*)", re.DOTALL)
# Who asks for more is not sent more.
_MOST_URIS: Final = 5
_MOST_DETAILS: Final = 1000
_ADDRESS: Final = re.compile(r"[!#$%&'*+/=?^_`{|}~A-Za-z0-9.-]{1,64}@[A-Za-z0-9.-]{1,253}")
_LINE: Final = 76
DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where a domain wants its reports."""

    addresses: tuple[str, ...]
    urls: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether it wants any."""
        return bool(self.addresses or self.urls)


NOT_WANTED: Final = Wanted((), ())


def wanted(records: Iterable[str]) -> Wanted:
    """Read the TXT records of `_smtp._tls.` (RFC 8460, 3); more than one TLSRPT record is as none."""
    ours = [record for record in records if _VERSION.match(record)]
    if len(ours) != 1:
        return NOT_WANTED
    fields = [_RUA.fullmatch(field.strip(" \t")) for field in ours[0].split(";")[1:]]
    uris = next((found[1].split(",") for found in fields if found), [])[:_MOST_URIS]
    addresses = dict.fromkeys(address for uri in uris if (address := _address(uri.strip(" \t"))))
    urls = dict.fromkeys(url for uri in uris if (url := _url(uri.strip(" \t"))))
    return Wanted(tuple(addresses), tuple(urls))


def _address(uri: str) -> str | None:
    scheme, _, rest = uri.partition(":")
    # RFC 6068: header fields may follow; they are not for us.
    address = unquote(rest.partition("?")[0])
    return address if scheme.lower() == "mailto" and _ADDRESS.fullmatch(address) else None


def _url(uri: str) -> str | None:
    if not uri.isascii() or not uri.isprintable() or " " in uri:
        return None
    try:
        parts = urlsplit(uri)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return uri if good else None


# What was asked of sessions, as it is kept with the counts.


def policy_of_tlsa(records: Iterable[str], mx: str) -> str:
    """Return the policy of sessions that TLSA records were asked for."""
    return _policy("tlsa", list(records), [mx] if mx else [])


def policy_of_sts(policy: StoredSts | None) -> str:
    """Return the policy of sessions with a domain of this MTA-STS policy; None: it could not be had."""
    if policy is None:
        return _policy("sts", [], [])
    lines = ["version: STSv1", f"mode: {policy.mode}", *(f"mx: {name}" for name in policy.mx)]
    return _policy("sts", [*lines, f"max_age: {policy.max_age}"], list(policy.mx))


NO_POLICY: Final = json.dumps({"policy-type": "no-policy-found"})


def _policy(kind: str, text: list[str], hosts: list[str]) -> str:
    given: dict[str, Any] = {"policy-type": kind}
    if text:
        given["policy-string"] = text
    if hosts:
        given["mx-host"] = hosts
    return json.dumps(given)


# The report.


@dataclass(frozen=True, slots=True)
class Author:
    """Who reports."""

    organization: str
    contact: str
    """An address; the report comes from it."""
    hostname: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report of a day on a domain."""

    domain: str
    day: int
    """Days since the Unix epoch, UTC."""
    author: Author
    counts: Sequence[TlsCount]

    @property
    def id(self) -> str:
        """The same each time: a report that comes twice is known as one."""
        return f"{self._begin:%Y-%m-%d}.{self.domain}@{self.author.hostname}"

    @property
    def _begin(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.day * DAY_SECONDS, dt.UTC)

    @property
    def file_name(self) -> str:
        """RFC 8460, 5.1."""
        begin = self.day * DAY_SECONDS
        return f"{self.author.hostname}!{self.domain}!{begin}!{begin + DAY_SECONDS - 1}.json.gz"

    def gzipped(self) -> bytes:
        """Return it as JSON (RFC 8460, 4.4), compressed."""
        return gzip.compress(json.dumps(self.as_json(), indent=1).encode(), mtime=0)

    def as_json(self) -> dict[str, Any]:
        """Return it as the RFC's JSON object."""
        end = self._begin + dt.timedelta(seconds=DAY_SECONDS - 1)
        by_policy = groupby(sorted(self.counts, key=lambda each: each.key.policy), key=lambda each: each.key.policy)
        return {
            "organization-name": self.author.organization,
            "date-range": {
                "start-datetime": f"{self._begin:%Y-%m-%dT%H:%M:%SZ}",
                "end-datetime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            },
            "contact-info": self.author.contact,
            "report-id": self.id,
            "policies": [_of_policy(self.domain, policy, list(counts)) for policy, counts in by_policy],
        }

    def mail(self, to: Sequence[str], date: str, message_id: str) -> bytes:
        """Return it as a message (RFC 8460, 5.3); `date` is as in RFC 5322, 3.3, `message_id` without brackets."""
        boundary = f"=_{self.day}.{len(self.counts)}"
        kind = f'{GZIPPED}; name="{self.file_name}"'
        encoded = base64.b64encode(self.gzipped()).decode()
        head = {
            "From": f"<{self.author.contact}>",
            "To": ",\r\n ".join(f"<{address}>" for address in to),
            "Subject": f"Report Domain: {self.domain}\r\n Submitter: {self.author.hostname}\r\n Report-ID: <{self.id}>",
            "Date": date,
            "Message-ID": f"<{message_id}>",
            "TLS-Report-Domain": self.domain,
            "TLS-Report-Submitter": self.author.hostname,
            # RFC 8460, 3: a report is delivered whatever becomes of TLS (RFC 8689, 5).
            "TLS-Required": "No",
            "Auto-Submitted": "auto-generated",
            "MIME-Version": "1.0",
            "Content-Type": f'multipart/report; report-type="tlsrpt";\r\n boundary="{boundary}"',
        }
        lines = [
            *(f"{name}: {value}" for name, value in head.items()),
            "",
            f"--{boundary}",
            "Content-Type: text/plain; charset=us-ascii",
            "",
            *self._words(),
            "",
            f"--{boundary}",
            f"Content-Type: {kind}".replace("; name=", ";\r\n name="),
            "Content-Transfer-Encoding: base64",
            f'Content-Disposition: attachment;\r\n filename="{self.file_name}"',
            "",
            *(encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)),
            "",
            f"--{boundary}--",
            "",
        ]
        return "\r\n".join(lines).encode("ascii", "replace")

    def _words(self) -> list[str]:
        failed = sum(each.sessions for each in self.counts if each.key.failure)
        good = sum(each.sessions for each in self.counts if not each.key.failure)
        return [
            f"This is a report on TLS (RFC 8460) from {self.author.hostname} on mail",
            f"to {self.domain}, for {self._begin:%Y-%m-%d} (UTC).",
            "",
            f"Sessions that came to what was asked for: {good}",
            f"Sessions that did not: {failed}",
        ]


def _of_policy(domain: str, policy: str, counts: Sequence[TlsCount]) -> dict[str, Any]:
    failures = [each for each in counts if each.key.failure]
    found = {
        "policy": json.loads(policy) | {"policy-domain": domain},
        "summary": {
            "total-successful-session-count": sum(each.sessions for each in counts if not each.key.failure),
            "total-failure-session-count": sum(each.sessions for each in failures),
        },
    }
    if failures:
        worst = sorted(failures, key=lambda each: -each.sessions)[:_MOST_DETAILS]
        found["failure-details"] = [_detail(each) for each in worst]
    return found


def _detail(count: TlsCount) -> dict[str, Any]:
    key = count.key
    given = {
        "result-type": key.failure,
        "sending-mta-ip": key.source,
        "receiving-mx-hostname": key.mx,
        "receiving-ip": key.address,
        "failed-session-count": count.sessions,
        "failure-reason-code": key.reason,
    }
    return {name: value for name, value in given.items() if value != ""}

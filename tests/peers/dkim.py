"""Verifiers of DKIM of other hands, with records at hand instead of DNS: dkimpy, and the plain words of the RFC."""

import hashlib
import re
from collections.abc import Iterable, Mapping

import dkim

from relay.deliver.dkim import Key
from relay.deliver.keys import record

Records = Mapping[str, str]


def records_of(keys: Iterable[Key]) -> Records:
    """Return what DNS says of these keys: values of TXT records by name."""
    return {found.name: found.value for found in map(record, keys)}


def verified(message: bytes, records: Records) -> list[bool]:
    """Return of each signature, from the top, whether dkimpy verifies it."""
    count = len(re.findall(rb"^dkim-signature:", message, re.IGNORECASE | re.MULTILINE))

    def answer(name: bytes, timeout: float = 5) -> bytes | None:
        value = records.get(name.decode().rstrip("."))
        return None if value is None else value.encode()

    def verify(index: int) -> bool:
        try:
            return bool(dkim.DKIM(message).verify(idx=index, dnsfunc=answer))
        except dkim.DKIMException:
            return False

    return [verify(index) for index in range(count)]


def plain_body_hash(body: bytes) -> bytes:
    """Return the hash of the relaxed body, line by line as RFC 6376, 3.4.4 tells it."""
    lines = body.split(b"\r\n")
    lines = [re.sub(rb"[ \t]+", b" ", line.rstrip(b" \t")) for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return hashlib.sha256(b"".join(line + b"\r\n" for line in lines)).digest()

"""TLS to other servers: contexts by policy, what a connection came to, and which hosts fail at it."""

import ssl
from collections import OrderedDict
from functools import cached_property
from typing import Final

from relay.deliver.settings import TlsPolicy

# A server whose TLS is broken stays so for hours, and each try costs it and us a connection; one that is
# mended should not be spoken to in clear for long.
CLEAR_SECONDS: Final = 600.0
_HOSTS_KEPT: Final = 5000


class TlsClient:
    """The contexts, and the memory of hosts whose handshake failed under `may`."""

    def __init__(self) -> None:
        # RFC 7435: without a policy, an unproven key is still better than none.
        self._unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._unverified.check_hostname = False
        self._unverified.verify_mode = ssl.CERT_NONE
        self._clear_until: OrderedDict[str, float] = OrderedDict()

    @cached_property
    def _verifying(self) -> ssl.SSLContext:
        # Made when first asked for: reading the system's certificates takes some 30 ms.
        return ssl.create_default_context()

    def context(self, policy: TlsPolicy) -> ssl.SSLContext:
        """Return the context to shake hands with under `policy`."""
        return self._verifying if policy is TlsPolicy.VERIFY else self._unverified

    def trust(self, ca_file: str) -> None:
        """Trust the certificates in a PEM file besides the system's."""
        self._verifying.load_verify_locations(ca_file)

    def remember_failure(self, host: str, now: float) -> None:
        """Speak to `host` in clear for a while, where the policy is `may`."""
        self._clear_until[host] = now + CLEAR_SECONDS
        self._clear_until.move_to_end(host)
        if len(self._clear_until) > _HOSTS_KEPT:
            self._clear_until.popitem(last=False)

    def wanted(self, policy: TlsPolicy, host: str, now: float) -> bool:
        """Return whether to ask `host` for TLS."""
        if policy is TlsPolicy.MAY:
            return self._clear_until.get(host, 0.0) <= now
        return policy is not TlsPolicy.NONE


def facts(connection: ssl.SSLObject, policy: TlsPolicy) -> str:
    """Return what a handshake came to: "TLSv1.3 TLS_AES_256_GCM_SHA384 unverified"."""
    cipher = connection.cipher()
    verified = "verified" if policy is TlsPolicy.VERIFY else "unverified"
    return f"{connection.version()} {cipher[0] if cipher else '?'} {verified}"

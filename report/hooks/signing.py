"""Standard Webhooks 1.0 (standardwebhooks.com): what is signed, how, and when it is tried again.

Rule: pure; time and chance are arguments.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Final

SECRET_MARK: Final = "whsec_"  # noqa: S105 - no secret, but what marks one
SECRET_BYTES: Final = 32
"""The specification asks for 24 to 64."""
SCHEDULE: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The specification's waits between tries, in seconds; they add up to some three days."""
_SPREAD: Final = 0.1


def new_secret(chance: bytes) -> str:
    """Return the secret of an endpoint."""
    return SECRET_MARK + b64encode(chance).decode()


def headers(secrets: tuple[str, ...], id_: str, at_seconds: int, body: bytes) -> dict[str, str]:
    """Return the header fields that say which message it is, when it was sent, and that it is ours.

    There is a signature for each secret: who verifies takes it where one of them is right.
    """
    signed = b".".join((id_.encode(), str(at_seconds).encode(), body))
    signatures = " ".join([_signature(secret, signed) for secret in secrets])
    return {"webhook-id": id_, "webhook-timestamp": str(at_seconds), "webhook-signature": signatures}


def _signature(secret: str, signed: bytes) -> str:
    key = b64decode(secret.removeprefix(SECRET_MARK))
    return f"v1,{b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"


def wait_ms(tries: int, spread: float) -> int | None:
    """Return how long to wait after so many tries; None: that was the last. `spread` is from 0 to 1."""
    if tries > len(SCHEDULE):
        return None
    return int(SCHEDULE[tries - 1] * 1000 * (1 + _SPREAD * spread))

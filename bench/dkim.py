"""The cost of DKIM a message and a recipient, against dkimpy in the same run.

    python bench/dkim.py [--recipients 200]

Each kind of message goes to many recipients, each with an image of its own. "first" is the first recipient of a
message, whose template is made; "further" each one after it; "unsigned" a further recipient of a domain without keys.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

# A script's own folder comes first on the path, and a file in this one bears a package's name.
sys.path[0] = str(Path(__file__).parent.parent)

import dkim  # noqa: E402 - see above
from cryptography.hazmat.primitives import serialization  # noqa: E402 - see above

from relay.compose import Composer  # noqa: E402 - see above
from relay.deliver.client import Extensions  # noqa: E402 - see above
from relay.deliver.dkim import Algorithm, Key  # noqa: E402 - see above
from relay.deliver.keys import KeyRing, generate  # noqa: E402 - see above
from relay.inject.plan import InjectOptions, plan_message  # noqa: E402 - see above
from relay.sign import Signer  # noqa: E402 - see above
from storage.model import BodyType, Job, Message  # noqa: E402 - see above
from storage.status import Status  # noqa: E402 - see above
from storage.token import TOKEN_CHARS, Purpose, TokenBox  # noqa: E402 - see above
from storage.tracking import image_url  # noqa: E402 - see above

BASE = "https://t.example.net"
HEADER = (
    b"Received: from a by b; Fri, 20 Nov 2026 10:00:00 +0000\r\nFrom: News <news@example.org>\r\n"
    b"To: reader@example.net\r\nSubject: The weekly report\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nList-Unsubscribe: <https://example.org/u>\r\n"
)
LINE = b'    <td class="x"  style="color: red">Hello <b>you</b>, how are you?</td>\r\n'
HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n"
MIXED = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n' + HTML + b"<p>see there</p>\r\n--b\r\n"
PDF = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
KINDS = {
    "4 KB of HTML": HEADER + HTML + LINE * 50,
    "60 KB of HTML": HEADER + HTML + LINE * 800,
    "HTML, 1 MB attached": HEADER + MIXED + PDF + (b"JVBERi0x" * 9 + b"AAAA\r\n") * 13000 + b"--b--\r\n",
}


def composer(keys: tuple[Key, ...]) -> Composer:
    ring = KeyRing(
        {"example.org": keys} if keys else {"other.example": (generate(Algorithm.ED25519, "o.example", "s"),)}
    )
    boxes = TokenBox(b"k" * 32, Purpose.PIXEL), TokenBox(b"k" * 32, Purpose.RETURN_PATH)
    return Composer(*boxes, Signer(ring), base_url=BASE, bounce_domain="b.example")


def job(content: bytes, message: int, recipient: int) -> Job:
    plan = plan_message(content, InjectOptions(url_length=len(image_url(BASE, "a" * TOKEN_CHARS))))
    made = Message(message, 0, "news@example.org", BodyType.SEVEN_BIT, False, len(content), plan.to_bytes())
    return Job(made, recipient, "r@example.net", "example.net", Status.UNSENT, 0, 0, 0)


def microseconds(compose: Callable[[Job, bytes, Extensions], object], jobs: list[Job], content: bytes) -> float:
    start = time.perf_counter()
    for each in jobs:
        compose(each, content, Extensions())
    return (time.perf_counter() - start) / len(jobs) * 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--recipients", type=int, default=200)
    count = arguments.parse_args().recipients
    rsa, ed25519 = (generate(algorithm, "example.org", "s") for algorithm in Algorithm)
    pem = rsa.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    print(f"{'message':22} {'keys':9} {'first µs':>9} {'further µs':>10} {'DKIM µs':>9} {'dkimpy µs':>10} {'ratio':>7}")
    for name, content in KINDS.items():
        one, many = [job(content, number, 1) for number in range(20)], [job(content, 99, n) for n in range(count)]
        bare = composer(())
        microseconds(bare.compose, many[:2], content)
        unsigned = microseconds(bare.compose, many, content)
        start = time.perf_counter()
        for _ in range(3):
            dkim.sign(content, b"s", b"example.org", pem, canonicalize=(b"relaxed", b"relaxed"))
        theirs = (time.perf_counter() - start) / 3 * 1e6
        for label, keys in (("unsigned", ()), ("rsa", (rsa,)), ("ed25519", (ed25519,)), ("both", (rsa, ed25519))):
            signing = composer(keys)
            first = microseconds(signing.compose, one, content)
            microseconds(signing.compose, many[:2], content)
            further = microseconds(signing.compose, many, content)
            ours = further - unsigned
            compared = f"{theirs:10.0f} {theirs / ours:6.1f}x" if label == "rsa" else ""
            print(f"{name:22} {label:9} {first:9.0f} {further:10.0f} {ours:9.0f} {compared}")


if __name__ == "__main__":
    main()

"""Time of planning and rendering against the size of the message, on growing hostile and ordinary inputs.

    python bench/inject.py [--largest 400000]

Each kind of input is built at doubling sizes; the last column says how time grew when size doubled: about 2
is linear. A plan is made once a message, a render once a recipient.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

# A script's own folder comes first on the path, and a file in this one bears the package's name.
sys.path[0] = str(Path(__file__).parent.parent)

from relay.inject.plan import InjectOptions, plan_message  # noqa: E402 - see above
from relay.inject.render import render  # noqa: E402 - see above

URL = "https://track.example.net/o/abcdefghijklmnopqrstuvwxyz.gif"
HEADER = b"From: a@example.com\r\nTo: b@example.net\r\nMIME-Version: 1.0\r\n"
HTML = HEADER + b"Content-Type: text/html; charset=utf-8\r\n\r\n"
MIXED = HEADER + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
TEXT = HEADER + b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
QP = HEADER + b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"


def _fill(piece: bytes, size: int) -> bytes:
    return piece * (size // len(piece))


KINDS: dict[str, Callable[[int], bytes]] = {
    "ordinary HTML": lambda n: HTML + b"<html><body>" + _fill(b"<p class=x>Hello <b>you</b></p>\r\n", n) + b"</body>",
    "hidden elements, every tag read": lambda n: (
        HTML + b"<div style='display:none'>x</div>" + _fill(b"<td><b>y</b></td>\r\n", n)
    ),
    "quoted-printable escapes": lambda n: QP + _fill(b"=C3=A9=C3=A9=C3=A9=\r\n", n) + b"</body>",
    "unclosed comments": lambda n: HTML + b"<body>" + _fill(b"<!-- ", n),
    "unclosed quotes": lambda n: HTML + b"<body>" + _fill(b'<a b="', n + 6),
    "tags never closed": lambda n: HTML + b"<body>" + _fill(b"<a ", n),
    "less-than signs": lambda n: HTML + b"<body>" + _fill(b"<", n),
    "attributes": lambda n: HTML + b"<body><a " + _fill(b"a = ", n) + b">x</body>",
    "hidden in hidden": lambda n: (
        HTML + b"<body>" + _fill(b"<i hidden><b hidden>", n // 2) + _fill(b"</b></i>", n // 2) + b"</body>"
    ),
    "misnested hidden": lambda n: HTML + b"<body><i hidden><p></i>" + _fill(b"<i></i>", n) + b"</body>",
    "script in script": lambda n: HTML + b"<body><script><!--" + _fill(b"<script></script>", n) + b"</body>",
    "open conditions": lambda n: HTML + b"<body>" + _fill(b"<![if x]>", n),
    "dash lines": lambda n: MIXED + b"--b\r\n\r\n" + _fill(b"--x\r\n", n) + b"--b--\r\n",
    "parts": lambda n: MIXED + _fill(b"--b\r\nContent-Type: a/b\r\n\r\nx\r\n", n) + b"--b--\r\n",
    "levels": lambda n: b"".join(
        b"Content-Type: multipart/mixed; boundary=%06d_\r\n\r\n--%06d_\r\n" % (i, i) for i in range(n // 64)
    ),
    "one header field": lambda n: HEADER + b"Content-Type: text/html" + _fill(b"; a=(", n) + b"\r\n\r\n<p>x</p>",
    "header fields": lambda n: HEADER + _fill(b"A: b\r\n", n) + b"\r\nx",
    "parameters": lambda n: HEADER + b"Content-Type: text/html" + _fill(b";a*1*=%41", n) + b"\r\n\r\n<p>x</p>",
    "one line of base64": lambda n: (
        HEADER + b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n" + _fill(b"PHA+", n)
    ),
    "text: quotes": lambda n: TEXT + _fill(b">> > x\r\n> ", n),
    "text: addresses": lambda n: TEXT + _fill(b"a.b-c+", n) + b"@x",
    "text: brackets": lambda n: TEXT + b"http://x/" + _fill(b")", n),
    "text: blanks": lambda n: TEXT + b"x" + _fill(b" ", n) + b"x",
}


def measure(content: bytes) -> tuple[float, float]:
    """Return the milliseconds of a plan and of a render: the best of three."""
    plans, renders = [], []
    for _ in range(3):
        start = time.perf_counter()
        plan = plan_message(content, InjectOptions(url_length=len(URL)))
        planned = time.perf_counter()
        render(content, plan, URL)
        plans.append(planned - start)
        renders.append(time.perf_counter() - planned)
    return min(plans) * 1000, min(renders) * 1000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--largest", type=int, default=400_000, help="bytes of the largest input")
    largest = arguments.parse_args().largest
    print(f"{'input':34} {'bytes':>8} {'plan ms':>9} {'render ms':>9} {'growth':>7}  outcome")
    for name, build in KINDS.items():
        before = 0.0
        for size in (largest // 8, largest // 4, largest // 2, largest):
            content = build(size)
            plan_ms, render_ms = measure(content)
            reason = plan_message(content, InjectOptions(url_length=len(URL))).untracked_reason or "tracked"
            growth = f"x{plan_ms / before:.1f}" if before else ""
            print(f"{name:34} {len(content):8} {plan_ms:9.2f} {render_ms:9.3f} {growth:>7}  {reason}")
            before = plan_ms


if __name__ == "__main__":
    main()

"""Look for mail that the injection harms: mutated real mail and tag soup, judged by other readers.

    CORPORA=… python bench/fuzz_inject.py --seconds 600 [--seed 1] [--keep FOLDER]

`$CORPORA/mail` is the unpacked corpus; the judge is `check_inject.py` in ../shared/tools: an own scanner, Python's
`email`, and lexbor, a browser's parser. Three trials by turns: a mutated message with its HTML, the same with an HTML
alternative for its text, and the place alone in tag soup. What is found is printed, and kept as `find-N.eml`.
"""

import argparse
import email
import email.policy
import importlib
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

from selectolax.lexbor import LexborHTMLParser

# A script's own folder comes first on the path, and a file in this one bears the package's name.
sys.path[0] = str(Path(__file__).parent.parent)

from relay.inject.command import inject_add_html, inject_left  # noqa: E402 - see above
from relay.inject.markup import find_place  # noqa: E402 - see above

URL = "https://track.example.net/o/abcdefghijklmnopqrstuvwxyz.gif"
IMAGE = f'<img src="{URL}" alt="" width="1" height="1" style="position:absolute">'
LARGEST = 40_000
# A line each; "\\" and a letter as in Python.
FIELDS = rb"""
Content-Type: text/html; charset=utf-8
Content-Type: text/html;\r\n\tcharset*=us-ascii'en'utf-8
Content-Type: TEXT/HTML (a; b=c); charset=(x)iso-8859-1
Content-Type: text/html; charset=gb18030
Content-Type: text/html; charset=iso-2022-jp
Content-Type: text/html; charset="utf-16"
Content-Type: multipart/mixed; boundary=b
Content-Type: multipart/alternative;\r\n boundary="b c"
Content-Type: multipart/related; boundary=b; start="<r>"; type="text/html"
Content-Type: multipart/mixed; boundary*=us-ascii''b
Content-Type: multipart/signed; boundary=b
Content-Type: text/calendar; method=REPLY
Content-Type: message/rfc822
Content-Type: text/x-amp-html
Content-Type: text/plain; format=flowed; delsp=yes
Content-Type:
Content-Type: text
Content-type : text/html
Content-Transfer-Encoding: BASE64
Content-Transfer-Encoding: quoted-printable
Content-Transfer-Encoding: 8bit (x)
Content-Transfer-Encoding: "base64"
Content-Transfer-Encoding: uuencode
Content-Transfer-Encoding: 7bit;
Content-Disposition: inline; filename=a.html
Content-Disposition: attachment
Content-Disposition: ATTACHMENT; filename*0*=x''a
Content-Disposition: "attachment"
Content-Disposition: attachment (x)
Content-ID: <r>
MIME-Version: 1.0
DKIM-Signature: v=1; d=x
""".split(b"\n")[1:-1]
BYTES = rb"""
\r\n \n \r \r\n\r\n \n\n \x20 \t \0 \xff \x1b$B \x1b(B ~{ = =\r\n =\x20\r\n =3D =3d == -- --b --b-- \r\n--b\r\n
\r--b\r\n \r\n--b\x20\x20\r\n < > <!-- --> " ( ) ; : </body> </html> </BODY\x20> <body> <script> <style> <div\x20hidden>
<template> -----BEGIN\x20PGP\x20MESSAGE----- PGh0bWw+ \xef\xbb\xbf \xc3\xa9 <!--[if\x20mso]> <![endif]-->
""".split()
BYTES = [piece.decode("unicode-escape").encode("latin-1") for piece in [*BYTES, b"x" * 1200]]
FIELDS = [field.decode("unicode-escape").encode("latin-1") for field in FIELDS]
SOUP = """
<p> </p> <div> </div> <b> </b> <i> </i> <a> </a> <font> </font> <span> </span> <table> </table> <tr> </tr> <td> </td>
<tbody> <th> <caption> <col> <select> </select> <option> <template> </template> <noscript> </noscript> <svg> </svg>
<math> </math> <mi> <object> </object> <video> </video> <title> </title> <textarea> </textarea> <style> </style>
<script> </script> <iframe> </iframe> <ul> <li> </ul> <h1> </h1> <form> </form> <button> </button> <pre> </pre> <br>
<hr> <img> <input> <body> </body> <html> </html> <head> </head> <meta> <link> <center> </center> <details> </details>
<dialog> </dialog> <nobr> </nobr> <foreignObject> <desc> <mtext> <annotation-xml> <desc/> <svg/> <plaintext>
<frameset> <marquee> </marquee> <ruby> <rt> <!-- --> <!--> <!---> --!> <!doctype> <?x> </> </1> <1> <![CDATA[ ]]>
<![endif]> text x &amp; &lt < <div~style='display:none'> <td~style="visibility:~hidden"> <p~hidden> <a~b=' <a~b="
<!--[if~mso]> <![endif]--> <!--[if~!mso]><!--> <!--<![endif]--> <![if~!mso]> ~ ~~ <div~title='</body>'> <p/x=<y>
<span~hidden=''> <input~type=hidden> <b~style='mso-hide:all;display:none'>
"""
SOUP_PIECES = [piece.replace("~~", "\r\n").replace("~", " ") for piece in SOUP.split()]
HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
ODD = {"template", "noscript", "select", "svg", "math", "object", "video", "audio", "canvas", "iframe"}


def mutated(chance: random.Random, content: bytes, other: bytes) -> bytes:
    """Return the message with up to five changes: bytes, lines, fields, pieces of another message."""
    for _ in range(chance.randint(0, 5)):
        at = _somewhere(chance, content)
        change = _of_bytes if chance.random() < 0.5 else _of_lines
        content = change(chance, content, at, other)
    ends = chance.randrange(12)
    if ends > 1:
        return content
    return re.sub(rb"\r?\n", b"\r\n", content) if ends else content.replace(b"\r\n", b"\n")


def _somewhere(chance: random.Random, content: bytes) -> int:
    if chance.random() < 0.6:
        return chance.randrange(len(content) + 1)
    # Near a field, a delimiter or the end of the HTML: that is where decisions are made.
    marks = [m.start() for m in re.finditer(rb"(?i)content-|boundary|\n--|</body|</html|\r?\n\r?\n", content)]
    return min(len(content), max(0, chance.choice(marks or [0]) + chance.randint(-4, 24)))


def _of_bytes(chance: random.Random, content: bytes, at: int, other: bytes) -> bytes:
    start, length = chance.randrange(len(other) + 1), chance.randint(1, 400)
    put, removed = chance.choice(
        (
            (chance.choice(BYTES), 0),
            (b"", chance.randint(1, 9)),
            (bytes((chance.randrange(256),)), 1),
            (other[start : start + length], 0),
            (b"", len(content) if chance.random() < 0.3 else 0),
        )
    )
    return content[:at] + put + content[at + removed :]


def _of_lines(chance: random.Random, content: bytes, at: int, _: bytes) -> bytes:
    line, after = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at) + 1 or len(content)
    field = chance.choice(FIELDS) + b"\r\n"
    put, rest = chance.choice(((field, line), (field, after), (b"", after), (content[line:after], line)))
    return content[:line] + put + content[rest:]


def judged(judge: Any, content: bytes, out: bytes) -> Iterator[str]:
    """Yield what the checker says of a message and what became of it."""
    name, doubts, root, eligible, _ = judge.classify(content)
    findings, _ = judge.verify("fuzz", content, out, URL, name, doubts, root, eligible)
    # Where its own scanner and `email` differ, only damage counts, not what it would have chosen.
    yield from (f"{kind} {detail}" for kind, detail in findings if kind.startswith("H-") or kind == "S-pixel-in-hidden")


def alternative_faults(content: bytes, out: bytes) -> Iterator[str]:
    """Yield what is wrong with an HTML alternative, as Python's `email` reads it."""
    before = _leaves(email.message_from_bytes(content, policy=email.policy.compat32))
    after_root = email.message_from_bytes(out, policy=email.policy.compat32)
    after = _leaves(after_root)
    if len(after) != len(before) + 1:
        yield f"A-leaves {len(before)} -> {len(after)}"
        return
    # A message that ends without a line end gets none in its part, and the other way round.
    texts = [(part.get_content_type(), _payload(part)) for part in before]
    kept = [(part.get_content_type(), _payload(part)) for part in after]
    if [*kept[:1], *kept[2:]] != texts:
        yield "A-text-changed"
    root_before = [
        item for item in email.message_from_bytes(content).items() if not item[0].lower().startswith("content-")
    ]
    root_after = [item for item in after_root.items() if not item[0].lower().startswith("content-")]
    if [i for i in root_after if i[0].lower() != "mime-version"] != [
        i for i in root_before if i[0].lower() != "mime-version"
    ]:
        yield "A-headers"
    html = after[1].get_payload(decode=True)
    if after[1].get_content_type() != "text/html" or not isinstance(html, bytes):
        yield "A-no-html"
        return
    page = LexborHTMLParser(html.decode())
    if sum(image.attributes.get("src") == URL for image in page.css("img")) != 1:
        yield "A-image"
    shown, said = _letters(page.text()), _letters(_text(after[0]) or page.text())
    if shown != said:
        at = next((at for at, (one, two) in enumerate(zip(shown, said, strict=False)) if one != two), 0)
        yield f"A-shows-otherwise {shown[at : at + 20]!r} for {said[at : at + 20]!r}"


def _leaves(message: Message) -> list[Message]:
    return [part for part in message.walk() if not part.is_multipart()]


def _payload(part: Message) -> str:
    return str(part.get_payload()).replace("\r\n", "\n").removesuffix("\n")


def _text(part: Message) -> str | None:
    """Return the text that `email` reads; None where it repairs, and others may repair otherwise."""
    source, body = part.get_payload(decode=True), str(part.get_payload())
    if re.search(r"=(?![0-9A-F]{2}|\r?\n)", body) or not isinstance(source, bytes):
        return None
    try:
        return source.decode(part.get_content_charset() or "ascii")
    except (UnicodeDecodeError, LookupError):
        return None


def _letters(text: str) -> str:
    # Quote marks become elements; blanks of all kinds may differ.
    return re.sub(r"[\s>\0\ufeff\x85\xa0]+", "", text)


def soup_faults(markup: bytes) -> Iterator[str]:
    """Yield what is wrong with the place that is found in a document."""
    place = find_place(markup)
    if not isinstance(place, int):
        return
    before = LexborHTMLParser(markup.decode("latin-1"))
    after = LexborHTMLParser((markup[:place] + IMAGE.encode() + markup[place:]).decode("latin-1"))
    images = [image for image in after.css("img") if image.attributes.get("src") == URL]
    if len(images) != 1:
        yield f"P-images {len(images)}"
        return
    parent, tags = images[0].parent, set()
    while parent is not None:
        tags.add(parent.tag)
        attributes = parent.attributes or {}
        if parent.tag not in ("html", "body") and (
            HIDDEN_STYLE.search(attributes.get("style") or "") or "hidden" in attributes
        ):
            yield "P-hidden"
        parent = parent.parent
    if "body" not in tags or tags & ODD:
        yield f"P-odd {sorted(tag for tag in tags if tag)}"
    images[0].decompose()
    if re.sub(r"\s+", "", after.html or "") != re.sub(r"\s+", "", before.html or ""):
        yield "P-shifted"


def trial(chance: random.Random, judge: Any, mail: list[bytes]) -> tuple[bytes, list[str]]:
    """Make one input; return it and what is wrong."""
    kind = chance.randrange(4)
    if kind == 0:
        markup = "".join(chance.choices(SOUP_PIECES, k=chance.randint(1, 24))).encode()
        return markup, list(soup_faults(markup))
    content = mutated(chance, chance.choice(mail), chance.choice(mail))
    started = time.process_time()
    out = inject_left(content, URL) if kind < 3 else inject_add_html(content, URL)
    spent = time.process_time() - started
    faults = [f"slow {spent:.2f} s"] if spent > 0.2 else []
    if out == content:
        return content, faults
    added = b"=_telltale_" in out and b"=_telltale_" not in content
    try:
        return content, [*faults, *(alternative_faults(content, out) if added else judged(judge, content, out))]
    except (ValueError, LookupError, TypeError):
        return content, faults  # Python's `email` raises on much: it says nothing then


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--keep", type=Path, help="a folder for what is found")
    arguments.add_argument("--tools", type=Path, default=Path(__file__).parents[2] / "shared" / "tools")
    given = arguments.parse_args()
    corpora = Path(os.environ.get("CORPORA", "corpora")) / "mail"
    files = sorted(path for path in corpora.rglob("*") if path.suffix == ".eml" and path.stat().st_size < LARGEST)
    if not files or not (given.tools / "check_inject.py").is_file():
        sys.exit(f"no mail below {corpora}, or no check_inject.py in {given.tools}")
    sys.path.append(str(given.tools))
    judge = importlib.import_module("check_inject")
    mail = [path.read_bytes() for path in files]
    chance, found, trials = random.Random(given.seed), Counter[str](), 0
    until = time.monotonic() + given.seconds
    while time.monotonic() < until:
        trials += 1
        content, faults = trial(chance, judge, mail)
        for fault in faults:
            found[fault.split()[0]] += 1
            print(f"{sum(found.values()):5} trial {trials}: {fault}", flush=True)
            if given.keep:
                given.keep.mkdir(parents=True, exist_ok=True)
                (given.keep / f"find-{sum(found.values())}.eml").write_bytes(content)
    print(f"{trials} trials of seed {given.seed}: {dict(found) or 'nothing found'}")


if __name__ == "__main__":
    main()

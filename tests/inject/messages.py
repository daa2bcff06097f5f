"""Small messages for the tests of this room."""

import base64
import quopri

URL = "https://track.example.net/o/abcdefghijklmnopqrstuvwxyz.gif"
PAGE = "<!DOCTYPE html>\r\n<html><head><title>t</title></head>\r\n<body>\r\n<p>Hello café</p>\r\n</body>\r\n</html>\r\n"


def message(body: bytes, *fields: str, mime: bool = True) -> bytes:
    """Return a message with these further header fields."""
    header = [
        "From: a@example.com",
        "To: b@example.net",
        "Subject: x",
        *(["MIME-Version: 1.0"] if mime else []),
        *fields,
    ]
    return "\r\n".join([*header, "", ""]).encode() + body


def html(body: bytes, encoding: str = "8bit", charset: str = "utf-8", kind: str = "text/html") -> bytes:
    """Return a message that is one part."""
    return message(body, f"Content-Type: {kind}; charset={charset}", f"Content-Transfer-Encoding: {encoding}")


def encoded(page: bytes, encoding: str) -> bytes:
    """Return decoded bytes as they stand in a part of this encoding."""
    if encoding == "base64":
        return base64.encodebytes(page).replace(b"\n", b"\r\n")
    if encoding == "quoted-printable":
        return quopri.encodestring(page.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return page


def part(body: bytes, *fields: str) -> bytes:
    """Return a part: header fields and body."""
    return "\r\n".join([*fields, "", ""]).encode() + body


def multipart(kind: str, *parts: bytes, boundary: str = "=_b", fields: tuple[str, ...] = ()) -> bytes:
    """Return a message of parts."""
    return message(joined(*parts, boundary=boundary), f'Content-Type: multipart/{kind}; boundary="{boundary}"', *fields)


def joined(*parts: bytes, boundary: str = "=_b") -> bytes:
    """Return the body of a multipart."""
    mark = boundary.encode()
    return b"".join(b"--" + mark + b"\r\n" + each + b"\r\n" for each in parts) + b"--" + mark + b"--\r\n"


HTML_PART = part(b"<p>shown</p>", "Content-Type: text/html")
TEXT_PART = part(b"shown", "Content-Type: text/plain")

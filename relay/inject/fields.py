"""Header fields that more servers take: 8-bit text as RFC 2047 and RFC 2231 write it, long lines folded. Pure, linear.

Rule: a reader sees the same text, names and addresses as before. What has no form in ASCII, such as the local part
of an address or a Message-ID, is not changed: None says so.
"""

import re
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from typing import Final

import idna

from relay.inject.bodies import MAX_LINE_BYTES

_ADDRESSES: Final = frozenset(
    {
        *(b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"mail-followup-to", b"mail-reply-to"),
        *(b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-bcc", b"resent-reply-to"),
        *(b"disposition-notification-to", b"return-receipt-to", b"errors-to", b"apparently-to"),
        # No addresses, but with comments as these have.
        *(b"date", b"resent-date"),
    }
)
_PARAMETERS: Final = frozenset({b"content-type", b"content-disposition"})
# Their syntax has no place for encoded words (RFC 2047, 5), or they are evidence of others.
_FIXED: Final = frozenset(
    {
        *(b"message-id", b"in-reply-to", b"references", b"content-id", b"resent-message-id", b"supersedes"),
        *(b"mime-version", b"content-transfer-encoding", b"received", b"return-path"),
        *(b"dkim-signature", b"arc-seal", b"arc-message-signature", b"arc-authentication-results", b"autocrypt"),
        *(b"authentication-results", b"received-spf", b"list-unsubscribe", b"list-unsubscribe-post", b"list-help"),
        *(b"list-post", b"list-archive", b"list-owner", b"list-subscribe", b"delivered-to", b"domainkey-signature"),
    }
)

_UTF8: Final = b"utf-8"
_UNKNOWN: Final = b"unknown-8bit"  # RFC 1428, 3
_WORD_BYTES: Final = 75  # RFC 2047, 2
_FOLD_BYTES: Final = 76
_MOST_DOMAIN_BYTES: Final = 1000
_MOST_PARAMETER_BYTES: Final = 700

_BLANK: Final = re.compile(rb"[ \t]")
_BLANKS: Final = re.compile(rb"([ \t]+)")
# Where no line is broken: a name, and the blanks before the first word.
_INDENT: Final = re.compile(rb"(?:[!-9;-~]++:)?+[ \t]*+")
_FOLDS: Final = re.compile(rb"\r?\n(?=[ \t])")
# Words that are not ASCII, and the blanks between them.
_RUN: Final = re.compile(
    rb"(?<![^ \t])[^ \t\x80-\xff]*+[\x80-\xff][^ \t]*+(?:[ \t]++[^ \t\x80-\xff]*+[\x80-\xff][^ \t]*+)*+"
)
# RFC 2047, 5 (3): what an encoded word of a name may hold as it is; in text and comments it may hold no less.
_Q_SAFE: Final = re.compile(rb"[A-Za-z0-9!*+/-]")
_Q_CODES: Final = tuple(
    octet if _Q_SAFE.match(octet) else b"_" if octet == b" " else b"=%02X" % octet[0]
    for octet in (bytes((number,)) for number in range(256))
)
_Q_COSTS: Final = tuple(map(len, _Q_CODES))
_B_COSTS: Final = (1,) * 256
_QUOTED: Final = rb"\"(?:[^\"\\]|\\.)*+\"|"
_COMMENT: Final = rb"\((?:[^()\\]|\\.)*+\)|"
_TOKENS: Final = {
    (quoted, comment): re.compile(quoted + comment + rb"<[^<>]*+>|[,;:]|[ \t]++|[^\"(<,;: \t]++|.", re.DOTALL)
    for quoted in (_QUOTED, b"")
    for comment in (_COMMENT, b"")
}
_OPEN_COMMENT: Final = re.compile(rb"\((?:[^()\\]|\\.)*+", re.DOTALL)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_PARAMETER: Final = re.compile(
    rb"((?:(?<![ \t])[ \t]++)?+;[ \t]*+)([^\s=;\"*]++)([ \t]*+=[ \t]*+)(?:\"((?:[^\"\\]|\\.)*+)\"|([^;\s\"]*+))",
    re.DOTALL,
)
_ATTRIBUTE_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9._~!#$&+^`{}|-]")  # RFC 2231, 7: attribute-char


def in_ascii(name: bytes, body: bytes, *, any_charset: bool) -> bytes | None:
    """Return a field's body, line end included, in ASCII; None where that cannot be done.

    `name` is in lower case. Text that is not UTF-8 is named unknown-8bit (RFC 1428) if `any_charset`, else left.
    """
    charset = charset_of(body)
    if name in _FIXED or (charset is _UNKNOWN and not any_charset):
        return None
    line_end = b"\r\n" if body.endswith(b"\r\n") else b"\n"
    value = _FOLDS.sub(b"", body.rstrip(b"\r\n"))
    if name in _PARAMETERS:
        changed = _PARAMETER.sub(lambda found: _parameter(found, charset), value)
    elif name in _ADDRESSES:
        changed = b"".join(_addresses(value, charset))
    else:
        changed = _text(value, charset)
    return _folded(changed, len(name) + 1, line_end) if changed.isascii() else None


def charset_of(text: bytes) -> bytes:
    """Return what 8-bit text is to be called: UTF-8 where it can be read so, else unknown-8bit (RFC 1428, 3)."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return _UNKNOWN
    return _UTF8


# Unstructured text, and the words of names (RFC 2047).


def _text(value: bytes, charset: bytes) -> bytes:
    """Return text with each run of words that are not ASCII in encoded words; all others stay as they are."""
    return _RUN.sub(lambda found: _words(found[0], charset), value)


def _words(text: bytes, charset: bytes) -> bytes:
    """Return `text` as encoded words with blanks between them, in Q where half can be read; no character is divided."""
    room = _WORD_BYTES - len(charset) - len("=??Q??=")
    if sum(map(len, map(_Q_CODES.__getitem__, text))) <= 2 * len(text):
        bodies = [b"".join(map(_Q_CODES.__getitem__, piece)) for piece in _pieces(text, charset, _Q_COSTS, room)]
        return b" ".join([b"=?%b?Q?%b?=" % (charset, body) for body in bodies])
    pieces = _pieces(text, charset, _B_COSTS, room // 4 * 3)
    return b" ".join([b"=?%b?B?%b?=" % (charset, b2a_base64(piece, newline=False)) for piece in pieces])


def _pieces(text: bytes, charset: bytes, costs: Sequence[int], room: int) -> Iterator[bytes]:
    """Yield `text` in pieces that cost no more than `room`; in UTF-8 none begins inside a character."""
    start = spent = 0
    for at, octet in enumerate(text):
        begins = charset != _UTF8 or octet & 0xC0 != 0x80  # noqa: PLR2004 - RFC 3629, 3: no continuation octet
        # A character of UTF-8 has four octets at most.
        if begins and spent + 4 * costs[octet] > room:
            yield text[start:at]
            start, spent = at, 0
        spent += costs[octet]
    yield text[start:]


# Addresses (RFC 5322, 3.4).


def _addresses(value: bytes, charset: bytes) -> Iterator[bytes]:
    """Yield the pieces of an address list, names and comments in encoded words, domains as A-labels."""
    words: list[bytes] = []
    for token in (*_tokens(value), b""):
        if token[:1] not in (b"<", b":", b",", b";", b""):
            words.append(token)
            continue
        named = token[:1] in (b"<", b":") or b"@" not in b"".join([word for word in words if word[:1] != b"("])
        yield from _names(words, charset) if named else [_bare(word, charset) for word in words]
        yield _address(token)
        words = []


def _tokens(value: bytes) -> Iterator[bytes]:
    """Yield the tokens of an address list.

    Where a quote or a comment has no end, none that follows has one either: what was escaped in the first would
    begin it. They are not looked for any more, or many of them would each be read to the end of the field.
    """
    at, quoted, comment = 0, _QUOTED, _COMMENT
    while found := _TOKENS[quoted, comment].match(value, at):
        token = found[0]
        if token == b'"':
            quoted = b""
        elif token == b"(" and comment and (left := _OPEN_COMMENT.match(value, at)) and left.end() >= len(value) - 1:
            comment = b""
        yield token
        at = found.end()


def _names(words: list[bytes], charset: bytes) -> Iterator[bytes]:
    """Yield a name: as it is in ASCII, else in encoded words, quotes undone, comments apart."""
    name: list[bytes] = []
    for word in (*words, b"("):
        if word[:1] != b"(":
            name.append(word)
            continue
        yield _name(name, charset)
        yield _bare(word, charset) if word != b"(" else b""
        name = []


def _name(words: list[bytes], charset: bytes) -> bytes:
    name = b"".join(words)
    if name.isascii():
        return name
    if b'"' not in name:
        return _text(name, charset)
    spoken = b"".join([_QUOTED_PAIR.sub(rb"\1", word[1:-1]) if word[:1] == b'"' else word for word in words])
    lead = name[: len(name) - len(name.lstrip(b" \t"))]
    return lead + _words(spoken.strip(b" \t"), charset) + name[len(name.rstrip(b" \t")) :]


def _bare(word: bytes, charset: bytes) -> bytes:
    """Return a word that is no name: an address or a comment."""
    if word[:1] == b"(" and word[-1:] == b")" and not word.isascii():
        return b"(" + _text(_QUOTED_PAIR.sub(rb"\1", word[1:-1]), charset) + b")"
    return _address(word)


def _address(word: bytes) -> bytes:
    """Return an address with its domain in A-labels, where that is all that is not ASCII."""
    local, at, domain = word.rpartition(b"@")
    if domain.isascii() or not at or len(domain) > _MOST_DOMAIN_BYTES:
        return word
    close = b">" if domain.endswith(b">") else b""
    try:
        return local + at + idna.encode(domain.removesuffix(b">").decode(), uts46=True) + close
    except UnicodeError:
        return word


# Parameters (RFC 2231).


def _parameter(found: re.Match[bytes], charset: bytes) -> bytes:
    lead, name, equals, quoted, token = found.groups()
    value = token if quoted is None else _QUOTED_PAIR.sub(rb"\1", quoted)
    if value.isascii() or name.lower() in (b"boundary", b"charset"):
        return found[0]
    text = _ATTRIBUTE_UNSAFE.sub(lambda octet: b"%%%02X" % octet[0][0], value)
    if len(text) > _MOST_PARAMETER_BYTES:
        return found[0]
    return b"%b%b*%b%b''%b" % (lead, name, equals, charset, text)


# Folding (RFC 5322, 2.2.3).


def _folded(value: bytes, column: int, line_end: bytes) -> bytes:
    """Return a value in lines of a good length, broken before blanks only, and not before the first word."""
    pieces = _BLANKS.split(value)
    out = [pieces[0]]
    column, began = column + len(pieces[0]), bool(pieces[0])
    for blank, word in zip(pieces[1::2], pieces[2::2], strict=True):
        if began and word and column + len(blank) + len(word) > _FOLD_BYTES:
            out.append(line_end)
            column = 0
        out += (blank, word)
        column += len(blank) + len(word)
        began = True
    return b"".join((*out, line_end))


def with_short_lines(section: bytes) -> bytes:
    """Return header lines, those that are too long broken before blanks; a longer word stays as it is."""
    return b"\n".join([line if len(line) <= MAX_LINE_BYTES else _broken(line) for line in section.split(b"\n")])


def _broken(line: bytes) -> bytes:
    pieces: list[bytes] = []
    at, size = 0, len(line.rstrip(b" \t\r"))
    while size - at > MAX_LINE_BYTES:
        # The blanks that a line begins with are no place to break it: a blank line would end the header for some.
        word = next(_INDENT.finditer(line, at)).end()
        most = at + MAX_LINE_BYTES + 1
        cut = max(line.rfind(b" ", word, most), line.rfind(b"\t", word, most))
        if cut < 0:
            found = _BLANK.search(line, max(word, most), size)
            cut = found.start() if found else size
        pieces.append(line[at:cut])
        at = cut
    return b"\r\n".join((*pieces, line[at:])) if line[at:].strip() else b"\r\n".join(pieces) + line[at:]

"""relay/receive/association.py: which broadcast a message says it belongs to."""

import pytest

from relay.receive.association import NONE, Association, associate
from relay.receive.headers import Headers, mend, scan
from storage.broadcast_settings import BroadcastHeader as By
from tests.receive.test_headers import TRACE


@pytest.mark.parametrize(
    ("values", "association"),
    [
        ({b"subject": b"Hello"}, NONE),
        ({b"x-broadcast": b"Spring"}, Association("Spring", None, By.BROADCAST)),
        ({b"x-broadcast": b"  ", b"x-pm-tag": b""}, NONE),
        ({b"x-broadcast": b"=?utf-8?q?Fr=C3=BChling?="}, Association("Frühling", None, By.BROADCAST)),
        ({b"x-broadcast": b"A", b"x-broadcast-type": b" General "}, Association("A", "general", By.BROADCAST)),
        ({b"x-broadcast-type": b"emergency"}, Association(None, "emergency")),
        ({b"x-listmonk-campaign": b"5f0c"}, Association("5f0c", None, By.LISTMONK)),
        ({b"x-mailgun-tag": b"news", b"x-pm-tag": b"p"}, Association("news", None, By.MAILGUN)),
        ({b"x-pm-tag": b"reset"}, Association("reset", None, By.POSTMARK)),
        ({b"x-ses-message-tags": b"campaign=May, broadcast-type=General"}, Association("May", "general", By.SES)),
        ({b"x-ses-message-tags": b"broadcast=One,campaign=Two"}, Association("One", None, By.SES)),
        ({b"x-ses-message-tags": b"colour=red, =, x"}, NONE),
        ({b"list-id": b"Our News <news.sender.example>"}, Association("news.sender.example", None, By.LIST_ID)),
        ({b"list-id": b"news.sender.example"}, Association("news.sender.example", None, By.LIST_ID)),
        ({b"x-broadcast": b"B", b"list-id": b"<l.example>"}, Association("B", None, By.BROADCAST)),
    ],
)
def test_the_first_field_that_says_something_names_the_broadcast(
    values: dict[bytes, bytes], association: Association
) -> None:
    assert associate(values) == association


def test_what_steers_is_stripped_and_the_list_id_stays() -> None:
    """RFC 2919: a List-ID is what recipients sort their mail by."""
    content = (
        b"List-ID: <news.sender.example>\r\nX-Mailgun-Tag: a\r\nX-PM-Tag: b\r\nX-SES-MESSAGE-TAGS: c=d,\r\n e=f\r\n"
        b"X-Listmonk-Campaign: g\r\nX-Broadcast: h\r\nX-Broadcast-Type: i\r\nX-Broadcaster: j\r\n\r\nText\r\n"
    )
    headers = scan(content)
    assert isinstance(headers, Headers)
    left = mend(content, headers, TRACE).partition(b"+0000\r\n")[2]
    assert b"List-ID: <news.sender.example>\r\nX-Broadcaster: j\r\n\r\nText\r\n" in left
    assert b"X-PM-Tag" not in left
    assert b"e=f" not in left

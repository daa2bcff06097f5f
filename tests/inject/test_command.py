import io

import pytest

from relay.inject.command import inject_add_html, inject_left, inject_stream
from tests.inject.messages import PAGE, URL, html, message


def test_a_message_that_is_left_alone_keeps_its_very_bytes() -> None:
    text = message(b"text")
    assert inject_left(text, URL) is text
    assert inject_add_html(text, URL) != text


def test_a_stream_gets_its_image() -> None:
    target = io.BytesIO()
    inject_stream(io.BytesIO(html(PAGE.encode())), target, URL, "leave")
    assert target.getvalue() == inject_left(html(PAGE.encode()), URL)
    assert URL.encode() in target.getvalue()


@pytest.mark.parametrize("call", [inject_left, inject_add_html])
def test_a_second_pass_changes_nothing(call: type) -> None:
    for content in (html(PAGE.encode()), message(b"text http://x.org\r\n")):
        once = call(content, URL)
        assert call(once, URL) == once


def test_what_is_no_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="no-such"):
        inject_stream(io.BytesIO(b""), io.BytesIO(), URL, "no-such")

import json
from http import HTTPStatus

import pytest

from pixel.answer import BAD_REQUEST, HEALTHY, IMAGE, IMAGE_ANSWER, NOT_FOUND, problem

DATE = "Mon, 23 Nov 2026 14:00:00 GMT"


def test_the_image_is_the_transparent_pixel_of_43_bytes() -> None:
    assert len(IMAGE) == 43
    assert IMAGE.startswith(b"GIF89a\x01\x00\x01\x00")
    assert IMAGE.endswith(b"\x3b")


def test_the_answer_forbids_caches_and_tells_nothing_of_the_software() -> None:
    head, _, body = IMAGE_ANSWER.wire(DATE, head=False, keep_alive=True).partition(b"\r\n\r\n")
    assert body == IMAGE
    assert head.decode().split("\r\n") == [
        "HTTP/1.1 200 OK",
        "Content-Type: image/gif",
        "Content-Length: 43",
        "Cache-Control: no-store, no-cache, must-revalidate, private, max-age=0",
        f"Date: {DATE}",
        "Connection: keep-alive",
    ]


@pytest.mark.parametrize("answer", [IMAGE_ANSWER, NOT_FOUND, HEALTHY, BAD_REQUEST])
@pytest.mark.parametrize("keep_alive", [True, False])
def test_head_gets_the_same_headers_without_the_body(answer: object, *, keep_alive: bool) -> None:
    assert isinstance(answer, type(IMAGE_ANSWER))
    whole = answer.wire(DATE, head=False, keep_alive=keep_alive)
    assert answer.wire(DATE, head=True, keep_alive=keep_alive) + answer.body == whole


def test_a_problem_is_one_of_rfc_9457() -> None:
    answer = problem(HTTPStatus.NOT_FOUND, "Nothing is here.")
    assert answer.content_type == "application/problem+json"
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Nothing is here.",
    }

"""What went wrong, for who asked: a JSON problem (RFC 9457) for programs, a page for people.

Rule: a page or an API that cannot go on raises ProblemError; nothing else makes answers of errors.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

JSON: Final = "application/problem+json"


class ProblemError(Exception):
    """The request cannot be answered; the text is a sentence for who asked."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        """Take the status and a sentence; `more` are further members of the JSON problem."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def as_json(self, request: str) -> str:
        """Return the body of RFC 9457, with the name of the request."""
        return json.dumps(self.as_object(request))

    def as_object(self, request: str) -> dict[str, Any]:
        """Return the members of that."""
        known = {"type": "about:blank", "title": self.status.phrase, "status": self.status.value, "detail": self.detail}
        return known | self.more | {"request_id": request}

"""The models that all of the API is made of: strict in what comes in, and said in the OpenAPI document.

Rule: a field that is not known is refused; texts that end up in headers or lines hold no control characters.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from report.words import LAST_MS, rfc3339

CODE: Final = r"^[0-9A-Za-z]{1,20}$"


@dataclass(frozen=True, slots=True)
class Format:
    """The name of a text's form, for the document; whoever reads the text holds it to that."""

    name: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Say it in the schema."""
        return {**handler(schema), "format": self.name}


class Taken(BaseModel):
    """What a request brings."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Given(BaseModel):
    """What an answer brings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Cause(Given):
    """One thing that is wrong with a request."""

    pointer: Annotated[str | None, Field(description="Where in the body: a JSON pointer (RFC 6901).")] = None
    parameter: Annotated[str | None, Field(description="Or which parameter.")] = None
    detail: str


class Problem(Given):
    """Why a request was not answered (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: Annotated[tuple[Cause, ...], Field(description="Each thing that is wrong, twenty at most.")] = ()
    next: Annotated[str | None, Field(description="Of 410: where to go on.")] = None
    code: Annotated[int | None, Field(description="What submission would have answered (RFC 5321).")] = None
    enhanced_status: Annotated[str | None, Field(description="The same by RFC 3463.")] = None
    request_id: Annotated[str, Field(description="Tell it to the operator, whose log names it.")]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected one line without control characters")
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=998), AfterValidator(_printable)]
"""One line of text."""
Code = Annotated[str, StringConstraints(pattern=CODE)]
"""The name of a message, recipient or bounce."""
Limit = Annotated[int, Field(ge=1, le=200, description="How many at most.")]


def _zoned(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError('expected a time with its zone, such as "2026-11-23T14:05:00Z"')
    if at.timestamp() * 1000 >= LAST_MS:
        raise ValueError("expected a time before the year 9000")
    return at


Time = Annotated[datetime, AfterValidator(_zoned)]
"""A point in time (RFC 3339)."""


At = Annotated[
    datetime,
    PlainSerializer(lambda at: rfc3339(ms_of(at)), str, "json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A point in time of an answer: in UTC, with its milliseconds (RFC 3339)."""


def ms_of(at: datetime) -> int:
    """Return a time as the store has it."""
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def time_of(at_ms: int) -> datetime:
    """Return a time of the store."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at_ms)

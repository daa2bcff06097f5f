"""What is wrong with a configuration, in sentences: section, key, what was expected, the nearest known name.

Rule: pure; the reader of a sentence has the file at hand, but not the code.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from storage.typed import nearest

M = TypeVar("M", bound=BaseModel)
Where = tuple[int | str, ...]
_Sections = Mapping[str, Mapping[str, FieldInfo]]

_EXPECTED: Final = {
    "string_type": 'a text in quotes, such as "…"',
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "tuple_type": 'a list, such as ["…", "…"]',
    "dict_type": 'a table, such as {"…" = "…"}',
    "path_type": "a path in quotes",
}
_EXACT: Final = {int: "a whole number", bool: "true or false"}
_VALUE_CHARS: Final = 60
_IN_TABLE: Final = 2
# Where values may hold passwords they are not repeated: sentences end up in logs.
_SECRET: Final = frozenset({"routes"})


def validated(model: type[M], raw: Mapping[str, Any]) -> tuple[M | None, dict[Where, str]]:
    """Return the model made of `raw` (sections of keys), or None and a sentence for each place that is wrong."""
    wrong = dict(_loose(model, raw))
    try:
        made = model.model_validate(raw)
    except ValidationError as error:
        sections = _sections(model)
        return None, {each["loc"]: _sentence(sections, each) for each in error.errors(include_url=False)} | wrong
    return (None if wrong else made), wrong


def validated_section(model: type[M], name: str, raw: Any) -> tuple[M | None, dict[Where, str]]:
    """Return the section `name` made of `raw`, or None and a sentence for each place that is wrong."""
    sections = {name: model.model_fields}
    wrong = dict(_loose_in(name, model.model_fields, raw))
    try:
        made = model.model_validate(raw)
    except ValidationError as error:
        told: list[dict[str, Any]] = [{**each, "loc": (name, *each["loc"])} for each in error.errors(include_url=False)]
        found: dict[Where, str] = {each["loc"]: _sentence(sections, each) for each in told}
        return None, found | wrong
    return (None if wrong else made), wrong


def without(raw: Mapping[str, Any], wrong: Iterable[Where]) -> dict[str, Any]:
    """Return `raw` without the keys (or whole sections) at the places that are wrong."""
    gone = {where[:2] for where in wrong}
    return {
        section: {key: value for key, value in keys.items() if (section, key) not in gone}
        for section, keys in raw.items()
        if (section,) not in gone
    }


def _loose(model: type[BaseModel], raw: Mapping[str, Any]) -> Iterator[tuple[Where, str]]:
    """Find numbers and truths of the wrong kind that pydantic would convert: `workers = true` is no number."""
    for section, fields in _sections(model).items():
        yield from _loose_in(section, fields, raw.get(section))


def _loose_in(section: str, fields: Mapping[str, FieldInfo], keys: Any) -> Iterator[tuple[Where, str]]:
    for key, value in _table(keys).items():
        wanted = fields[key].annotation if key in fields and not fields[key].metadata else None
        if wanted in _EXACT and type(value) is not wanted:
            where = (section, key)
            yield where, _unexpected(where, value, _EXACT[wanted])


def _sections(model: type[BaseModel]) -> _Sections:
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: getattr(kind, "model_fields", {}) for name, kind in kinds.items()}


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sentence(sections: _Sections, error: Mapping[str, Any]) -> str:
    where, kind, value = error["loc"], error["type"], error["input"]
    if kind == "extra_forbidden":
        return _unknown(sections, where)
    if len(where) == 1:
        return f"{where[0]} is a section: write [{where[0]}] on a line of its own, and its keys below"
    if kind == "enum":
        return _unexpected(where, value, _choice(str(value), error["ctx"]["expected"]))
    if kind in _EXPECTED:
        return _unexpected(where, value, _EXPECTED[kind])
    return _said(where, value, error["msg"].removeprefix("Value error, "))


def _said(where: Where, value: Any, message: str) -> str:
    """Join a validator's own words ("expected …", "must …", or a whole sentence) to the key."""
    if message.startswith("expected "):
        return _unexpected(where, value, message.removeprefix("expected "))
    if message.startswith("must be "):
        return _unexpected(where, value, message.removeprefix("must be "))
    return f"{_key(where)} {message}" if message.startswith("must ") else f"{_key(where)}: {message}"


def _unexpected(where: Where, value: Any, expected: str) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if len(shown) > _VALUE_CHARS:
        shown = shown[:_VALUE_CHARS] + "…"
    given = "" if where[1] in _SECRET else f" is {shown}, but"
    return f"{_key(where)}{given} must be {expected}"


def _choice(value: str, expected: str) -> str:
    choices = expected.replace("'", '"')
    meant = nearest(value, [part.strip('"') for part in choices.replace(" or ", ", ").split(", ")])
    return f'{choices}; did you mean "{meant}"?' if meant else choices


def _key(where: Where) -> str:
    section, key, *inner = where
    return f"[{section}] {key}" + "".join([f"[{json.dumps(part, ensure_ascii=False)}]" for part in inner])


def _unknown(sections: _Sections, where: Where) -> str:
    if len(where) == 1:
        return _unknown_section(sections, str(where[0]))
    if len(where) > _IN_TABLE:
        return f"{_key(where[:-1])} has an unknown key, {where[-1]}"
    section, key = str(where[0]), str(where[1])
    start = f"[{section}] {key} is not a known key"
    if meant := nearest(key, sections[section]):
        return f"{start}; did you mean {meant}?"
    if elsewhere := [other for other, keys in sections.items() if key in keys]:
        return f"{start}; did you mean the one of [{elsewhere[0]}]?"
    return f"{start}; the keys of [{section}] are {', '.join(sections[section])}"


def _unknown_section(sections: _Sections, name: str) -> str:
    start = f"[{name}] is not a known section"
    if meant := nearest(name, sections):
        return f"{start}; did you mean [{meant}]?"
    if home := [section for section, keys in sections.items() if name in keys]:
        return f"{start}; did you mean the key {name} of [{home[0]}]?"
    return f"{start}; the sections are {', '.join(sections)}"

"""Which limits and rules each site has: `shaping.toml` as shipped, with the operator's own file laid over it.

Rule: a key that the operator gives replaces that key alone; all else stays as shipped. What a file may hold is said
by the models here; how mistakes are told is `telltale.config_shaping`'s.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, field_validator

from relay.deliver.bucket import Rate
from relay.deliver.mx import Hosts
from relay.deliver.shape import DEFAULT, Action, Rule, Shape, suffixes
from storage.settings import DomainOf, Seconds, Section

Raw = Mapping[str, Any]
_RULES: Final = "rules"
_WHO: Final = ("mx", "domains")
_MOST_PATTERN: Final = 1000
_ALL: Final = Shape()


def _parse_rate(value: Any) -> Rate | None:
    if value is None or isinstance(value, Rate):
        return value
    if not isinstance(value, str):
        raise ValueError('expected a text such as "10/s", "100/m" or "500/h", or "" for no limit')  # noqa: TRY004 - pydantic's way
    return Rate.parse(value) if value.strip() else None


class EntrySettings(Section):
    """`[NAME]`: the sites that it speaks of, and their limits, all workers of the host together."""

    mx: tuple[DomainOf, ...] = ()
    """Sites with an MX host of one of these names, or below it."""
    domains: tuple[DomainOf, ...] = ()
    """Recipient domains; they become sites of their own."""
    connections: int = _ALL.connections
    provider_connections: int = _ALL.provider_connections
    first_connections: int = _ALL.first_connections
    messages_per_connection: int = _ALL.messages_per_connection
    rate: Annotated[Rate | None, BeforeValidator(_parse_rate)] = None

    @field_validator("connections", "first_connections", "messages_per_connection")
    @classmethod
    def _one_at_least(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be 1 or more")
        return value

    @field_validator("provider_connections")
    @classmethod
    def _none_at_least(cls, value: int) -> int:
        if value < 0:
            raise ValueError("must be 0 (no limit) or more")
        return value


class RuleSettings(Section):
    """`[NAME.rules.RULE]`: what is done when a server's reply matches."""

    match: str = ""
    """A regular expression, found anywhere in "421 4.7.0 text of the reply"; upper and lower case are the same."""
    actions: tuple[Action, ...] = ()
    duration: Seconds = 900

    @field_validator("match")
    @classmethod
    def _compiles(cls, match: str) -> str:
        if len(match) > _MOST_PATTERN:
            raise ValueError(f"must be at most {_MOST_PATTERN} characters long")
        try:
            re.compile(match)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"must be a regular expression: {error}") from None
        return match


def parts(raw: Raw) -> Iterator[tuple[str, type[Section], Any]]:
    """Yield (name of the section, its model, its keys) for all that a file says, rules apart from their entries."""
    for name, table in raw.items():
        if not isinstance(table, Mapping):
            yield name, EntrySettings, table
            continue
        yield name, EntrySettings, {key: value for key, value in table.items() if key != _RULES}
        rules = table.get(_RULES, {})
        if not isinstance(rules, Mapping):
            yield f"{name}.{_RULES}", RuleSettings, rules
            continue
        for rule, keys in rules.items():
            yield f"{name}.{_RULES}.{rule}", RuleSettings, keys


def laid_over(shipped: Raw, own: Raw) -> dict[str, Any]:
    """Return `shipped` with the keys of `own` in the place of its own, table by table."""
    joined = dict(shipped)
    for key, value in own.items():
        known = joined.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        joined[key] = laid_over(known, value) if both else value  # type: ignore[arg-type]
    return joined


def problems(own: Raw, joined: Raw) -> Iterator[tuple[str, str]]:
    """Yield (section, what is wrong) for what an operator's file `own` misses; each value is right by itself."""
    taken: dict[tuple[str, str], str] = {}
    for name, table in own.items():
        entry = joined[name]
        if name == DEFAULT:
            if any(key in table for key in _WHO):
                yield name, "speaks of all sites that no other entry names: it has no mx and no domains"
        elif not any(key in entry for key in _WHO):
            yield name, 'is a new entry, and names no sites: give it mx = ["…"] or domains = ["…"]'
        for key in _WHO:
            for each in EntrySettings.model_validate({key: table.get(key, ())}).model_dump()[key]:
                if (key, each) in taken:
                    yield name, f'names "{each}" in {key}, as [{taken[key, each]}] does; one site has one entry'
                taken[key, each] = name
        for rule in table.get(_RULES, {}):
            if not entry[_RULES][rule].get("match"):
                yield f"{name}.{_RULES}.{rule}", "needs match, a regular expression for replies"


@dataclass(frozen=True, slots=True)
class Shaping:
    """Finds the shape of each site."""

    default: Shape
    by_domain: Mapping[str, Shape]
    by_mx: Mapping[str, Shape]

    def of(self, domain: str, hosts: Hosts) -> Shape:
        """Return the shape of the site that serves `domain`: by the domain's own name, else by its best MX hosts."""
        found = self.by_domain.get(domain)
        if found is None and self.by_mx:
            names = (suffix for host in hosts.groups[0] for suffix in suffixes(host))
            found = next((self.by_mx[name] for name in names if name in self.by_mx), None)
        return found or self.default


def build(joined: Raw, order: Iterable[str] = ()) -> Shaping:
    """Return the shaping that a right file says; where entries name the same site, those of `order` win."""
    default = joined.get(DEFAULT, {})
    shapes = {name: _shape(name, table, default) for name, table in joined.items()}
    by_domain: dict[str, Shape] = {}
    by_mx: dict[str, Shape] = {}
    last = dict.fromkeys(order)
    for name in [*(name for name in joined if name not in last), *last]:
        entry = EntrySettings.model_validate({key: joined[name][key] for key in _WHO if key in joined[name]})
        by_domain |= dict.fromkeys(entry.domains, shapes[name])
        by_mx |= dict.fromkeys(entry.mx, shapes[name])
    return Shaping(shapes.get(DEFAULT, Shape()), by_domain, by_mx)


def _shape(name: str, table: Raw, default: Raw) -> Shape:
    entry = EntrySettings.model_validate(
        {key: value for key, value in {**default, **table}.items() if key not in {*_WHO, _RULES}}
    )
    own = table.get(_RULES, {})
    general = {} if table is default else default.get(_RULES, {})
    return Shape(
        name,
        entry.connections,
        entry.provider_connections,
        entry.first_connections,
        entry.messages_per_connection,
        entry.rate,
        tuple(
            [_rule(rule, keys) for rule, keys in {**own, **{k: v for k, v in general.items() if k not in own}}.items()]
        ),
    )


def _rule(name: str, keys: Raw) -> Rule:
    read = RuleSettings.model_validate(keys)
    return Rule(name, re.compile(read.match, re.IGNORECASE), frozenset(read.actions), read.duration)


@cache
def shipped_raw() -> Raw:
    """Return what the file that comes with Telltale says."""
    return tomllib.loads(files("relay.deliver").joinpath("shaping.toml").read_text(encoding="utf-8"))


@cache
def shipped() -> Shaping:
    """Return the shaping that comes with Telltale."""
    return build(shipped_raw())

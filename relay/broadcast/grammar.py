"""Templates as people write them: Jinja2's placeholders, conditions and some filters, and nothing that could run long.

Rules: pure. A template is checked before it is used: what is not in the lists below is refused with its line, so
that a text costs a time that is linear in its length and in that of the fields. There are no loops, no assignments, no
calls, no arithmetic. A field that the contact lacks is an error, unless the template says what then, or asks only
whether it is there.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, nodes
from jinja2.sandbox import SandboxedEnvironment

MAX_SOURCE_CHARS: Final = 2_000_000
MAX_TOKENS: Final = 20_000
"""Of the placeholders of a text: each takes a kilobyte or two of memory until the text is compiled, and 60 µs."""
CONTACT: Final = "contact"
"""`contact["First name"]` reads fields whose names are no words."""

FILTERS: Final = frozenset(
    {"capitalize", "d", "default", "e", "escape", "first", "int", "last", "length", "lower", "title", "trim", "upper"}
    | {"urlencode"}
)
TESTS: Final = frozenset({"defined", "undefined", "eq", "ne", "in", "lower", "upper"})
_URLENCODE: Final = "urlencode"
_DEFAULTS: Final = frozenset({"default", "d"})
_ALLOWED: Final = (
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Concat,
    nodes.List,
    nodes.Tuple,
)
_MOST_DEEP: Final = 40


class TemplateError(ValueError):
    """A template cannot be used; the text says where, and what was expected."""


@dataclass(frozen=True, slots=True)
class Text:
    """A checked text with placeholders."""

    template: Template
    needs: frozenset[str]
    """Fields that a contact must have."""
    knows: frozenset[str]
    """All fields that it mentions."""
    uses: Mapping[str, int]
    """How often it reads each: what a contact's fields make of it cannot be told by its own length."""
    tokens: int
    """How many words and signs its placeholders are made of."""

    def render(self, fields: Mapping[str, str]) -> str:
        """Return the text for a contact; raises TemplateError where a field is missing after all, or is no number."""
        try:
            return self.template.render({**fields, CONTACT: fields})
        except UndefinedError as error:
            raise TemplateError(f"{self.template.name}: {error.message}") from None
        except (TypeError, ValueError, ArithmeticError) as error:
            # Such as {% if age > 18 %}: all fields are texts.
            told = f"{self.template.name}: {error}; fields are texts: {{{{ field|int }}}} is a number"
            raise TemplateError(told) from None


class _Absent(StrictUndefined):
    """A field that the contact lacks: false where it is asked for, an error wherever its text is needed."""

    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override]  # the library's says that it never returns
        return False


class _Environment(SandboxedEnvironment):
    """Looks a contact's fields up, and nothing else: whatever a field is called, no method of a dict is shown."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`contact.city`."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`contact["city"]`."""
        return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)


def _environment(*, html: bool) -> SandboxedEnvironment:
    environment = _Environment(undefined=_Absent, autoescape=html, keep_trailing_newline=True, newline_sequence="\n")
    environment.globals.clear()
    return environment


_HTML: Final = _environment(html=True)
_PLAIN: Final = _environment(html=False)


def read(source: str, name: str, *, html: bool) -> Text:
    """Check a template; `name` is where it comes from, for people. Raises TemplateError."""
    if len(source) > MAX_SOURCE_CHARS:
        raise TemplateError(f"{name}: is longer than {MAX_SOURCE_CHARS} characters")
    environment = _HTML if html else _PLAIN
    try:
        tokens = sum(1 for _ in islice(environment.lex(source), MAX_TOKENS + 1))
        if tokens > MAX_TOKENS:
            raise TemplateError(
                f"{name}: has too many placeholders: expected at most {MAX_TOKENS} words and signs in them"
            )
        tree = environment.parse(source)
        for node, deep in _walk(tree, 0):
            _check(node, deep, name)
        needs = frozenset(_needed(tree, frozenset()))
        uses = Counter(field for node, _ in _walk(tree, 0) if (field := _field(node)) is not None)
        template = environment.from_string(tree)
    except TemplateSyntaxError as error:
        raise TemplateError(f"{name}, line {error.lineno}: {_sentence(error.message or 'is no template')}") from None
    except RecursionError:
        raise TemplateError(f"{name}: its expressions are nested too deeply") from None
    template.name = name
    return Text(template, needs, frozenset(uses), uses, tokens)


def _sentence(message: str) -> str:
    return message.rstrip(".")


def _walk(node: nodes.Node, deep: int) -> Iterator[tuple[nodes.Node, int]]:
    for child in node.iter_child_nodes():
        yield child, deep
        if not _is_field(child):
            yield from _walk(child, deep + 1)


def _is_field(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Getattr | nodes.Getitem)


def _field(node: nodes.Node) -> str | None:
    """Return the name of the field that a node reads; None where it reads none."""
    if isinstance(node, nodes.Name):
        return node.name if node.name != CONTACT else None
    if isinstance(node, nodes.Getattr) and _is_contact(node.node):
        return node.attr
    if isinstance(node, nodes.Getitem) and _is_contact(node.node) and isinstance(node.arg, nodes.Const):
        return str(node.arg.value)
    return None


def _is_contact(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == CONTACT


def _check(node: nodes.Node, deep: int, name: str) -> None:
    where = f"{name}, line {node.lineno}"
    if deep > _MOST_DEEP:
        raise TemplateError(f"{where}: its expressions are nested too deeply")
    if isinstance(node, nodes.Filter):
        if node.name not in FILTERS:
            raise TemplateError(f"{where}: there is no filter {node.name} here; there are {', '.join(sorted(FILTERS))}")
        _check_urlencode(node, where)
    elif isinstance(node, nodes.Test):
        if node.name not in TESTS:
            raise TemplateError(f"{where}: there is no test {node.name} here; there are {', '.join(sorted(TESTS))}")
    elif isinstance(node, nodes.Name) and node.name in {CONTACT, "self"}:  # the latter is the library's own
        raise TemplateError(f'{where}: expected the name of a field: contact["…"]')
    elif _is_field(node):
        if _field(node) is None:
            raise TemplateError(f'{where}: expected a field of the contact, such as {{{{ city }}}} or contact["City"]')
    elif not isinstance(node, (*_ALLOWED, nodes.Keyword)):
        raise TemplateError(
            f"{where}: {_word(node)} cannot be used here; expected {{{{ field }}}}, a filter such as default, or an if"
        )


def _check_urlencode(node: nodes.Filter, where: str) -> None:
    # Each makes two characters more of every "%" of the one before: forty made 300 characters of one.
    if _is_urlencode(node) and any(_is_urlencode(inner) for inner, _ in _walk(node, 0)):
        raise TemplateError(f"{where}: {_URLENCODE} is done once")


def _is_urlencode(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Filter) and node.name == _URLENCODE


def _word(node: nodes.Node) -> str:
    words = {
        nodes.For: "a for loop",
        nodes.Call: "a call",
        nodes.Assign: "set",
        nodes.AssignBlock: "set",
        nodes.Include: "include",
        nodes.Import: "import",
        nodes.FromImport: "import",
        nodes.Extends: "extends",
        nodes.Macro: "a macro",
    }
    return words.get(type(node), f"“{type(node).__name__.lower()}”")


def _needed(node: nodes.Node, granted: frozenset[str]) -> Iterator[str]:
    """Yield the fields that are read where nothing grants that they are there."""
    field = _field(node)
    if field is not None:
        if field not in granted:
            yield field
        return
    if isinstance(node, nodes.Test) and node.name in {"defined", "undefined"}:
        return
    if isinstance(node, nodes.Filter) and node.name in _DEFAULTS:
        yield from _of_default(node, granted)
    elif isinstance(node, nodes.If):
        yield from _of_if(node, granted)
    elif isinstance(node, nodes.CondExpr | nodes.And | nodes.Or | nodes.Not):
        yield from _of_condition(node, granted)
    else:
        for child in node.iter_child_nodes():
            yield from _needed(child, granted)


def _of_condition(node: nodes.CondExpr | nodes.And | nodes.Or | nodes.Not, granted: frozenset[str]) -> Iterator[str]:
    if isinstance(node, nodes.CondExpr):
        yield from _of_test(node.test, granted)
        yield from _needed(node.expr1, granted | _granted(node.test))
        if node.expr2 is not None:
            yield from _needed(node.expr2, granted | _granted_by_not(node.test))
    elif isinstance(node, nodes.And):
        # What is written of `a and b` is `a` where that is false.
        yield from _needed(node.left, granted)
        yield from _needed(node.right, granted | _granted(node.left))
    elif isinstance(node, nodes.Or):
        yield from _of_test(node.left, granted)
        yield from _needed(node.right, granted | _granted_by_not(node.left))
    else:
        yield from _of_test(node.node, granted)


def _of_test(node: nodes.Node, granted: frozenset[str]) -> Iterator[str]:
    """Yield the fields that are needed to tell whether `node` is true: a field that is not there is not."""
    if _field(node) is not None:
        return
    if isinstance(node, nodes.And):
        yield from _of_test(node.left, granted)
        yield from _of_test(node.right, granted | _granted(node.left))
    elif isinstance(node, nodes.Or):
        yield from _of_test(node.left, granted)
        yield from _of_test(node.right, granted | _granted_by_not(node.left))
    else:
        yield from _needed(node, granted)


def _of_default(node: nodes.Filter, granted: frozenset[str]) -> Iterator[str]:
    if node.node is not None and _field(node.node) is None:
        yield from _needed(node.node, granted)
    for argument in node.args:
        yield from _needed(argument, granted)


def _of_if(node: nodes.If, granted: frozenset[str]) -> Iterator[str]:
    yield from _of_test(node.test, granted)
    for child in node.body:
        yield from _needed(child, granted | _granted(node.test))
    otherwise = granted | _granted_by_not(node.test)
    for branch in node.elif_:
        yield from _of_if(branch, otherwise)
        otherwise |= _granted_by_not(branch.test)
    for child in node.else_:
        yield from _needed(child, otherwise)


def _granted(test: nodes.Node) -> frozenset[str]:
    """Return the fields that are there where `test` is true."""
    if isinstance(test, nodes.And):
        return _granted(test.left) | _granted(test.right)
    if isinstance(test, nodes.Or):
        return _granted(test.left) & _granted(test.right)
    if isinstance(test, nodes.Not):
        return _granted_by_not(test.node)
    field = _field(test)
    return _tested(test, "defined") if field is None else frozenset({field})


def _granted_by_not(test: nodes.Node) -> frozenset[str]:
    """Return the fields that are there where `test` is false."""
    if isinstance(test, nodes.Or):
        return _granted_by_not(test.left) | _granted_by_not(test.right)
    if isinstance(test, nodes.And):
        return _granted_by_not(test.left) & _granted_by_not(test.right)
    if isinstance(test, nodes.Not):
        return _granted(test.node)
    return _tested(test, "undefined")


def _tested(test: nodes.Node, name: str) -> frozenset[str]:
    if isinstance(test, nodes.Test) and test.name == name:
        field = _field(test.node)
        return frozenset() if field is None else frozenset({field})
    return frozenset()

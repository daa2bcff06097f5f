"""relay/broadcast/grammar.py: what a template may hold, which fields it needs, and what a mistake is told as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.broadcast.grammar import FILTERS, TemplateError, read


@pytest.mark.parametrize(
    ("source", "needs", "knows"),
    [
        ("Hello", "", ""),
        ("{{ a }}", "a", "a"),
        ('{{ contact["a"] }} {{ contact.b }}', "ab", "ab"),
        ("{{ a|default('x') }} {{ b|d(c) }}", "c", "abc"),
        ("{{ a|upper|default('x') }}", "a", "a"),
        ("{% if a %}{{ b }}{% else %}{{ c }}{% endif %}", "bc", "abc"),
        ("{% if a %}{{ a }}{% endif %}", "", "a"),
        ("{% if not a %}x{% else %}{{ a }}{% endif %}", "", "a"),
        ("{% if a and b %}{{ a ~ b }}{% elif c %}{{ c }}{% endif %}", "", "abc"),
        ("{% if a or b %}{{ a }}{% endif %}", "a", "ab"),
        ("{% if (a and b) or a %}{{ a }}{% endif %}", "", "ab"),
        ("{% if not (a is undefined and b is undefined) %}{{ a }}{% endif %}", "a", "ab"),
        ("{% if a is undefined and a is undefined %}x{% else %}{{ a }}{% endif %}", "", "a"),
        ("{% if a and a == 'x' %}{{ b if b else a }}{% endif %}", "", "ab"),
        ("{% if a == 'x' %}y{% endif %}{{ b if not c }}", "ab", "abc"),
        ("{{ a or 'x' }}{{ b and 'x' }}{{ not c }}", "b", "abc"),
        ("{{ a or b }}", "b", "ab"),
        ("{% if a is defined %}{{ a }}{{ b }}{% else %}{{ a }}{% endif %}", "ab", "ab"),
        ("{% if a is defined %}{{ a }}{% endif %}", "", "a"),
        ("{% if a is undefined %}x{% else %}{{ a }}{% endif %}", "", "a"),
        ("{% if a is undefined or b is undefined %}x{% else %}{{ a }}{{ b }}{% endif %}", "", "ab"),
        ("{% if a is defined and a == 'x' %}{{ a }}{% endif %}", "", "a"),
        ("{% if a is defined or b %}{{ a }}{% endif %}", "a", "ab"),
        ("{% if not a is undefined %}{{ a }}{% endif %}", "", "a"),
        ("{% if not a is defined %}x{% else %}{{ a }}{% endif %}", "", "a"),
        ("{% if a is undefined %}x{% elif b is undefined %}{{ a }}{% else %}{{ a ~ b }}{% endif %}", "", "ab"),
        ("{{ a if a is defined else 'x' }}{{ b if a is undefined }}", "b", "ab"),
        ("{{ 'x' if a is undefined else a }}", "", "a"),
        ("{{ 'x' if a in ['p', b] }}{% if a is eq(c) %}{% endif %}", "abc", "abc"),
        ("{# {{ a }} #}{% raw %}{{ b }}{% endraw %}", "", ""),
    ],
)
def test_which_fields_it_needs_and_which_it_knows(source: str, needs: str, knows: str) -> None:
    text = read(source, "m", html=False)
    assert (text.needs, text.knows) == (frozenset(needs), frozenset(knows))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x\n{{ a ", "m, line 2: unexpected end of template"),
        ("{% if a %}", "m, line 1: Unexpected end of template"),
        ("{{ a|replace('a', 'aa') }}", "there is no filter replace here; there are capitalize"),
        ("{{ a|nothing }}", "there is no filter nothing here"),
        ("{{ a is divisibleby 3 }}", "there is no test divisibleby here"),
        ("{% for x in a %}{% endfor %}", "a for loop cannot be used here; expected {{ field }}"),
        ("{% set a = 1 %}", "set cannot be used here"),
        ("{{ range(9) }}", "a call cannot be used here"),
        ("{{ a.upper() }}", "a call cannot be used here"),
        ("{{ 'a' * 10 ** 9 }}", "cannot be used here"),
        ("{% include 'x' %}", "include cannot be used here"),
        ("{% macro m() %}{% endmacro %}", "a macro cannot be used here"),
        ("{{ a.__class__ }}", "expected a field of the contact"),
        ("{{ contact.a.b }}", "expected a field of the contact"),
        ("{{ contact[a] }}", "expected a field of the contact"),
        ("{{ contact }}", "expected the name of a field"),
        ("{{ " + "(a ~ " * 60 + "a" + ")" * 60 + " }}", "nested too deeply"),
        ("{{ " + "(" * 9000 + "a" + ")" * 9000 + " }}", "nested too deeply"),
        ("x" * 2_000_001, "is longer than"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(source: str, told: str) -> None:
    with pytest.raises(TemplateError, match=r"^m") as caught:
        read(source, "m", html=True)
    assert told in str(caught.value)


def test_html_escapes_and_text_does_not() -> None:
    fields = {"a": "<b> & 'c'"}
    assert read("{{ a }}", "m", html=True).render(fields) == "&lt;b&gt; &amp; &#39;c&#39;"
    assert read("{{ a }}", "m", html=False).render(fields) == "<b> & 'c'"


def test_a_field_is_text_and_never_a_template() -> None:
    assert read("{{ a }}", "m", html=False).render({"a": "{{ b }}"}) == "{{ b }}"


def test_a_field_that_is_missing_is_false_where_it_is_asked_for() -> None:
    text = read("{% if a %}yes{% else %}no{% endif %}{{ a or '!' }}{{ '?' if not a }}", "m", html=True)
    assert text.render({}) == "no!?"
    assert text.render({"a": "1"}) == "yes1"


def test_a_missing_field_is_an_error() -> None:
    with pytest.raises(TemplateError, match="m: 'a' is undefined"):
        read("{{ a }}", "m", html=False).render({})


_PIECES = ["{{ a }}", "{{ b|d('') }}", "{% if a is defined %}", "{% else %}", "{% endif %}", "{{ b }}", "x", "{{", "%}"]
_PIECES += ["{% if b is undefined %}", "{% elif a %}", "{{ a if b is defined else b }}", "{% if a and b is defined %}"]
_PIECES += ["{% if a or b %}", "{{ a or b }}", "{{ a and b }}", "{% if not (a and b) %}", "{% if a == 'v' and b %}"]


@given(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join), st.sets(st.sampled_from("ab")))
def test_who_has_all_that_is_needed_is_never_missing_a_field(source: str, has: set[str]) -> None:
    """The pre-flight asks for `needs` alone, and its promise holds for every copy."""
    try:
        text = read(source, "m", html=False)
    except TemplateError:
        return
    if text.needs <= has:
        text.render(dict.fromkeys(has, "v"))


@pytest.mark.parametrize("source", ["{% if age > 18 %}x{% endif %}", "{{ 3 in age }}", "{{ 'a' in age|int }}"])
def test_a_text_that_is_taken_for_a_number_is_told(source: str) -> None:
    with pytest.raises(TemplateError, match="fields are texts"):
        read(source, "m", html=False).render({"age": "20"})
    assert read("{% if age|int > 18 %}x{% endif %}", "m", html=False).render({"age": "20"}) == "x"


@pytest.mark.parametrize("name", ["items", "keys", "__class__", "__init__", "update", "format"])
@pytest.mark.parametrize("source", ["{{{{ contact.{} }}}}", '{{{{ contact["{}"] }}}}', "{{{{ {} }}}}"])
def test_a_field_of_any_name_is_a_field_and_nothing_of_the_program(name: str, source: str) -> None:
    """A method would be shown with its place in memory, and some names end the rendering."""
    text = read(source.format(name), "m", html=False)
    assert text.render({name: "value"}) == "value"
    with pytest.raises(TemplateError):
        text.render({})
    assert read(f"{{{{ contact.{name}|d('none') }}}}", "m", html=False).render({}) == "none"


def test_the_librarys_own_name_is_no_field() -> None:
    with pytest.raises(TemplateError, match="expected the name of a field"):
        read("{{ self }}", "m", html=False)
    assert read('{{ contact["self"] }}', "m", html=False).render({"self": "value"}) == "value"


@pytest.mark.parametrize(
    "source", ["{{ a }}" * 5000, "{{ a" + " ~ a" * 7000 + " }}", "{% if a %}" * 5000, "{{" * 50_000]
)
def test_a_text_of_placeholders_alone_is_refused_before_it_takes_memory(source: str) -> None:
    """Compiled, two million characters of them took 2.4 GB."""
    with pytest.raises(TemplateError, match="too many placeholders"):
        read(source, "m", html=False)


@pytest.mark.parametrize(
    "source",
    [
        "{{ a|urlencode|urlencode }}",
        "{{ (a|urlencode ~ 'x')|upper|urlencode }}",
        "{{ (b if b else a|urlencode)|urlencode }}",
    ],
)
def test_no_filter_makes_much_of_little(source: str) -> None:
    """Forty times urlencode made 300 characters of each, and a copy kept the relay for minutes."""
    with pytest.raises(TemplateError, match="urlencode is done once"):
        read(source, "m", html=True)
    assert read("{{ a|urlencode }}{{ a|urlencode }}", "m", html=True).render({"a": "%"}) == "%25%25"


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize("name", sorted(FILTERS - {"first", "int", "last", "length"}))
def test_no_chain_of_a_filter_grows(name: str, html: bool) -> None:
    fields = {"a": "%<&\u00df\u0390\U0001f600" * 10}
    lengths = []
    for times in (2, 20):
        try:
            lengths.append(len(read("{{ a" + f"|{name}" * times + " }}", "m", html=html).render(fields)))
        except TemplateError:
            return
    assert lengths[0] == lengths[1]

"""Prompt templates: strict, sandboxed, and silent about the row's text."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from batchkit.errors import RowError, UsageError
from batchkit.template import Template


def render(user: str, **values: Any) -> str:
    (message,) = Template(None, user).render(values)
    assert message["role"] == "user"
    content: str = message["content"]
    return content


def refusal(user: str, **values: Any) -> str:
    with pytest.raises(RowError) as error:
        Template(None, user).render(values)
    return str(error.value)


def test_system_and_user_become_messages_in_this_order() -> None:
    template = Template("You speak {{ language }}.", "Say: {{ text }}\n")
    assert template.render({"language": "French", "text": "hi"}) == [
        {"role": "system", "content": "You speak French."},
        {"role": "user", "content": "Say: hi"},
    ]


def test_a_template_without_expressions_is_its_own_text() -> None:
    assert Template("Be brief.\n", "Hello {# a note #}there").render({}) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello there"},
    ]


def test_a_system_prompt_of_nothing_is_left_out_and_a_user_prompt_of_nothing_is_a_fault() -> None:
    template = Template("{% if formal %}Be formal.{% endif %}", "{{ text }}")
    assert template.render({"formal": False, "text": "hi"}) == [{"role": "user", "content": "hi"}]
    assert refusal("{{ text }}\n", text=" \n") == "prompt.user: renders to nothing"


def test_one_row_leaves_nothing_behind_for_the_next() -> None:
    template = Template(None, "{% if a %}{% set b = a %}{% endif %}{{ b }}")
    assert template.render({"a": 1}) == [{"role": "user", "content": "1"}]
    with pytest.raises(RowError):
        template.render({"a": 0})


def test_a_value_is_never_a_template() -> None:
    evil = "{{ 7 * 7 }}{% for x in range(9) %}"
    assert render("{{ text }}!", text=evil) == f"{evil}!"


def test_values_print_plainly() -> None:
    values = {
        "at": dt.datetime(2026, 5, 4, 3, 2, 1, tzinfo=dt.UTC),
        "day": dt.date(2026, 5, 4),
        "money": Decimal("1E+2"),
        "none": None,
        "html": "<b> & 'x'",
    }
    assert (
        render("{{ at }}|{{ day }}|{{ money }}|{{ none }}|{{ html }}", **values)
        == "2026-05-04 03:02:01+00:00|2026-05-04|100||<b> & 'x'"
    )


def test_bytes_are_not_printed_as_python_writes_them() -> None:
    assert refusal("{{ b }}", b=b"\xff") == (
        "prompt.user:1: TypeError: a column of bytes cannot be printed; store it as text"
    )


def test_tojson_is_readable_and_knows_every_value() -> None:
    values = {"text": "中文 <b>", "day": dt.date(2026, 5, 4), "none": None}
    assert render("{{ v | tojson }}", v=values) == (
        '{"text": "中文 <b>", "day": "2026-05-04", "none": null}'
    )
    assert render("{{ v | tojson(indent=1) }}", v=[1]) == "[\n 1\n]"


def test_the_filters_for_prompts_are_there() -> None:
    assert render("{{ v | join(', ') }}", v=["a", "b"]) == "a, b"
    assert render("{{ v | trim | truncate(5, true, '…', 0) }}", v="  abcdefgh ") == "abcd…"


def test_row_holds_columns_whose_names_are_no_identifiers() -> None:
    template = Template(None, "{{ row['zh-CN'] }} {{ 中文 }}")
    assert template.render({"zh-CN": "甲", "中文": "乙"}) == [{"role": "user", "content": "甲 乙"}]
    assert render("{{ row }}", row="a column of this name wins") == "a column of this name wins"


def test_the_columns_it_looks_at_are_known() -> None:
    assert Template("{{ a }}", "{% if b is defined %}{{ c.d }}{% endif %}").columns == frozenset(
        "abc"
    )
    assert Template(None, "{{ row['x-y'] }}").columns is None
    assert Template(None, "static").columns == frozenset()


def test_a_missing_column_is_named_with_its_place_and_the_columns_there_are() -> None:
    assert refusal("a\nb {{ text }}", id=1, label="x") == (
        "prompt.user:2: column 'text' is missing; the row has id, label"
    )
    many = {f"column {n}": n for n in range(50)}
    assert refusal("{{ text }}", **many).endswith("column 19, …")
    assert refusal("{{ text | tojson }}", id=1).startswith(
        "prompt.user:1: column 'text' is missing"
    )


@pytest.mark.parametrize(
    "template",
    ["{{ v.secret }}", "{{ v['secret'] }}", "{{ v[text] }}", "{{ v[text].x }}"],
)
def test_a_missing_part_of_a_value_is_a_fault_that_does_not_tell_the_text(template: str) -> None:
    assert refusal(template, v={}, text="prompt text") == "prompt.user:1: a value has no such part"


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{{ text | int + 'x' }}", "TypeError: unsupported operand type(s) for +: 'int' and 'str'"),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ {}.pop(text) }}", "the sandbox refuses what is asked here"),
        ("{{ text.index('zzz') }}", "ValueError"),
        ("{% include text %}", "TypeError: no loader for this environment specified"),
    ],
)
def test_whatever_an_expression_raises_is_the_fault_of_its_row(template: str, fault: str) -> None:
    assert refusal(template, text="secret") == f"prompt.user:1: {fault}"


def test_a_huge_range_is_refused() -> None:
    fault = refusal("{% for n in range(10 ** 9) %}x{% endfor %}")
    assert fault.startswith("prompt.user:1: OverflowError: range too big.")


@pytest.mark.parametrize(
    "template",
    [
        "{{ text.__class__ }}",
        "{{ text.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ text | attr('__class__') }}",
        "{{ '{0.__class__}'.format(text) }}",
        "{{ '{x.__class__}'.format_map({'x': text}) }}",
        "{{ range.__self__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ values.append(1) }}",
        "{{ mapping.update(a=1) }}",
    ],
)
def test_python_internals_and_changes_are_refused(template: str) -> None:
    values = {"text": "x", "values": [1], "mapping": {}}
    with pytest.raises(RowError, match=r"^prompt\.user:1: (the sandbox refuses|a value has no)"):
        Template(None, template).render(values)
    assert values == {"text": "x", "values": [1], "mapping": {}}


@pytest.mark.parametrize("template", ["{{ lipsum() }}", "{{ cycler('a') }}", "{{ self._x }}"])
def test_nothing_else_is_global(template: str) -> None:
    assert refusal(template, a=1).startswith("prompt.user:1: ")


@pytest.mark.parametrize(
    ("system", "user", "message"),
    [
        (None, "a\n{{ text", "prompt.user:2: unexpected end of template, expected 'end of print"),
        ("{% if %}", "x", "prompt.system:1: expected an expression, got 'end of statement block'"),
        (None, "{{ text | nosuch }}", "prompt.user:1: no filter named 'nosuch'."),
        (None, "{{ [1, 2] | random }}", "prompt.user:1: no filter named 'random'."),
    ],
)
def test_a_template_that_is_none_is_refused_with_its_line(
    system: str | None, user: str, message: str
) -> None:
    with pytest.raises(UsageError) as error:
        Template(system, user)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)

"""Prompts from the columns of a row: Jinja2, sandboxed, strict.

A job's templates are its author's; the values are not. A value is only ever data: it is never
compiled, and what it could reach inside Python is refused. A missing column is an error, a null
prints nothing, times and decimals print plainly. `row` holds all columns, for names that are no
identifiers: `{{ row["zh-CN"] }}`.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from batchkit.errors import RowError, UsageError
from batchkit.records import Message
from batchkit.wording import reason, shown_names

_ROW = "row"
_COMPILED = "<template>"  # the file name that Jinja2 gives its code
_GLOBALS = ("range", "dict", "namespace")  # the sandbox bounds `range` to 100,000 steps
_UNDEFINED = re.compile(r"'(\w+)' is undefined")
_OWN_WORDS = (TypeError, ZeroDivisionError, OverflowError)  # these name kinds, not values


class Template:
    """The templates of a section, compiled once; raises `UsageError` if they are not Jinja2."""

    def __init__(
        self, system: str | None, user: str, *, section: str = "prompt", place: str | None = None
    ) -> None:
        """`place` is what a person calls the user's template, if it is not in `section`."""
        self._names: set[str] = set()
        self._parts_used: set[tuple[str, str]] = set()
        environment = _environment()
        self._parts = [
            (role, where, self._compile(environment, text, where))
            for role, where, text in (
                ("system", f"{section}.system", system),
                ("user", place or f"{section}.user", user),
            )
            if text is not None
        ]
        self._globals = environment.globals

    @property
    def columns(self) -> frozenset[str] | None:
        """The columns that rendering can look at; None for all of them."""
        return None if _ROW in self._names else frozenset(self._names)

    def mentions(self, name: str) -> bool:
        """Whether a template looks at the value `name`."""
        return name in self._names

    def uses(self, name: str, part: str) -> bool:
        """Whether a template names `part` of the value `name`, as in `{{ name.part }}`."""
        return (name, part) in self._parts_used

    def render(self, values: Mapping[str, Any]) -> list[Message]:
        """The messages for one row; raises `RowError`. A system prompt of nothing is left out."""
        names = {**self._globals, _ROW: values, **values}
        messages: list[Message] = []
        for role, place, template in self._parts:
            text = (
                template if isinstance(template, str) else _render(template, place, names, values)
            )
            if text and not text.isspace():
                messages.append({"role": role, "content": text})
            elif role == "user":
                raise RowError(f"{place}: renders to nothing")
        return messages

    def _compile(
        self, environment: ImmutableSandboxedEnvironment, text: str, place: str
    ) -> jinja2.Template | str:
        """A template, or the text it always renders to."""
        try:
            tree = environment.parse(text)
            self._names |= jinja2.meta.find_undeclared_variables(tree)
            self._parts_used |= set(_parts_used(tree))
            template = environment.from_string(text)
            return template.render() if _is_constant(tree) else template
        except jinja2.TemplateSyntaxError as error:
            raise UsageError(f"{place}:{error.lineno}: {reason(error.message)}") from error


def _render(
    template: jinja2.Template, place: str, names: dict[str, Any], values: Mapping[str, Any]
) -> str:
    try:
        # What `template.render` does, without merging globals for each row, which costs several
        # times the rendering of a short prompt.
        return "".join(template.root_render_func(template.new_context(names, shared=True)))
    except Exception as error:
        # An expression over a row's values can raise anything; it concerns this row alone.
        raise RowError(f"{place}{_line(template, error)}: {_why(error, values)}") from error


def _parts_used(tree: jinja2.nodes.Template) -> Iterator[tuple[str, str]]:
    for node in tree.find_all((jinja2.nodes.Getattr, jinja2.nodes.Getitem)):
        if isinstance(node, jinja2.nodes.Getattr):
            part = node.attr
        elif isinstance(node, jinja2.nodes.Getitem) and isinstance(node.arg, jinja2.nodes.Const):
            part = str(node.arg.value)
        else:
            continue
        if isinstance(node.node, jinja2.nodes.Name):
            yield node.node.name, part


def _is_constant(tree: jinja2.nodes.Template) -> bool:
    return all(
        isinstance(node, jinja2.nodes.Output)
        and all(isinstance(part, jinja2.nodes.TemplateData) for part in node.nodes)
        for node in tree.body
    )


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # prompts are not HTML
        finalize=_printed,
        cache_size=0,
    )
    environment.globals = {name: environment.globals[name] for name in _GLOBALS}
    environment.filters["tojson"] = _to_json
    del environment.filters["random"]  # a row must ask the same after a kill
    return environment


def _printed(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        raise TypeError("a column of bytes cannot be printed; store it as text")
    return value


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON that a model reads as people do: no escapes for what is not ASCII, nor for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _line(template: jinja2.Template, error: Exception) -> str:
    line = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == _COMPILED:
            line = f":{template.get_corresponding_lineno(number)}"
    return line


def _why(error: Exception, values: Mapping[str, Any]) -> str:
    if isinstance(error, SecurityError):
        return "the sandbox refuses what is asked here"
    if isinstance(error, jinja2.UndefinedError):
        found = _UNDEFINED.fullmatch(error.message or "")
        if found is None:
            return "a value has no such part"
        return f"column {found[1]!r} is missing; the row has {shown_names(list(values))}"
    if isinstance(error, _OWN_WORDS):
        return f"{type(error).__name__}: {reason(error)}"
    return type(error).__name__

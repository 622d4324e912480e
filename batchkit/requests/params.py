"""The ranges of chat parameters, per dialect.

glm: docs.bigmodel.cn, chat completions and concept-param. Parameters that are not named here are
passed on as given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from batchkit.errors import RowError
from batchkit.models import Model
from batchkit.strict_json import NotJsonError, decode_json
from batchkit.wording import kind_of, shown

Check: TypeAlias = Callable[[str, Any, Model], Any]  # name, value, model -> value to be sent

TOOLS_MOST = 128
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOOL_TYPES = ("function", "retrieval", "web_search", "mcp")


def check_params(params: dict[str, Any], model: Model, checks: Mapping[str, Check]) -> None:
    """Check `params` in place; whole numbers given as fractions become integers."""
    for name, value in params.items():
        check = checks.get(name)
        if check is not None:
            params[name] = check(name, value, model)
        elif type(value) is not str and not _is_json(value):
            raise RowError(f"{name}: {kind_of(value)} cannot be sent; drop the column or keep it")


def _fault(name: str, expected: str, value: Any) -> RowError:
    return RowError(f"{name}: expected {expected}, got {shown(value)}")


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)  # bool is an int


def _number(low: float, high: float, *, is_open: bool = False) -> Check:
    expected = (
        f"a number {'above' if is_open else 'from'} {low} {'up ' if is_open else ''}to {high}"
    )

    def check(name: str, value: Any, _model: Model) -> Any:
        if (
            type(value) not in {int, float}
            or not low <= value <= high
            or (is_open and value == low)
        ):
            raise _fault(name, expected, value)
        return value

    return check


def _whole(value: Any) -> int | None:
    """An integer, also one that a column of floats made a fraction of; None if it is none."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _integer(name: str, value: Any, _model: Model) -> int:
    whole = _whole(value)
    if whole is None:
        raise _fault(name, "an integer", value)
    return whole


def _positive(name: str, value: Any, _model: Model) -> int:
    whole = _whole(value)
    if whole is None or whole < 1:
        raise _fault(name, "an integer of at least 1", value)
    return whole


def _max_tokens(name: str, value: Any, model: Model) -> int:
    most = model.max_output
    whole = _whole(value)
    if whole is None or whole < 1 or (most is not None and whole > most):
        expected = "an integer of at least 1" if most is None else f"an integer from 1 to {most}"
        raise _fault(name, f"{expected} ({model.name})", value)
    return whole


def _one(name: str, value: Any, _model: Model) -> int:
    if _whole(value) != 1:
        raise _fault(name, "1, one answer a request", value)
    return 1


def _boolean(name: str, value: Any, _model: Model) -> bool:
    if type(value) is not bool:
        raise _fault(name, "true or false", value)
    return value


def _no_stream(name: str, value: Any, _model: Model) -> bool:
    if value is not False:
        raise _fault(name, "false, since answers are read whole", value)
    return value


def _length(low: int, high: int) -> Check:
    def check(name: str, value: Any, _model: Model) -> Any:
        if not isinstance(value, str) or not low <= len(value) <= high:
            raise _fault(name, f"a string of {low} to {high} characters", value)
        return value

    return check


def _stop(name: str, value: Any, _model: Model) -> Any:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise RowError(f"{name}: expected a string or a list of one string")
    if len(words) > 1:
        raise RowError(f"{name}: has {len(words)} strings; the service takes one")
    return value


def _from_json_text(name: str, value: Any) -> Any:
    """`value`, decoded if it is JSON text, as columnar files may have it."""
    if isinstance(value, str):
        try:
            value = decode_json(value.encode())
        except NotJsonError as error:
            raise RowError(f"{name}: expected JSON, got text that is {error}") from error
    if not _is_json(value):
        raise RowError(f"{name}: holds a value that JSON has no form for")
    return value


def _tools(name: str, value: Any, _model: Model) -> Any:
    tools = _from_json_text(name, value)
    if not isinstance(tools, list):
        raise RowError(f"{name}: expected a list, got {kind_of(tools)}")
    if len(tools) > TOOLS_MOST:
        raise RowError(f"{name}: has {len(tools)} tools; the service takes {TOOLS_MOST}")
    for index, tool in enumerate(tools):
        _check_tool(f"{name}[{index}]", tool)
    return tools


def _check_tool(place: str, tool: Any) -> None:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in _TOOL_TYPES:
        raise _fault(f"{place}.type", f"one of {', '.join(_TOOL_TYPES)}", kind)
    if kind == "function":
        function = tool.get("function")
        called = function.get("name") if isinstance(function, dict) else None
        if not isinstance(called, str) or not _FUNCTION_NAME.fullmatch(called):
            raise _fault(f"{place}.function.name", "1 to 64 of A-Z a-z 0-9 _ -", called)


def _glm_response_format(name: str, value: Any, _model: Model) -> Any:
    given = _from_json_text(name, value)
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "json_schema":
        raise RowError(
            f"{name}: the service ignores json_schema; use [output] schema in a job file"
        )
    if kind not in {"text", "json_object"}:
        raise _fault(f"{name}.type", "text or json_object", kind)
    return given


def _json_object(name: str, value: Any, _model: Model) -> Any:
    given = _from_json_text(name, value)
    if not isinstance(given, dict):
        raise _fault(name, "an object", given)
    return given


GLM_CHECKS: Mapping[str, Check] = {
    "temperature": _number(0, 1),  # more than two decimals are the wire codec's to round
    "top_p": _number(0, 1, is_open=True),
    "max_tokens": _max_tokens,
    "do_sample": _boolean,
    "stop": _stop,
    "tools": _tools,
    "response_format": _glm_response_format,
    "request_id": _length(6, 64),
    "user_id": _length(6, 128),
    "seed": _integer,
    "n": _one,
    "stream": _no_stream,
}

OPENAI_CHECKS: Mapping[str, Check] = {
    "temperature": _number(0, 2),
    "max_tokens": _positive,
    "max_completion_tokens": _positive,
    "response_format": _json_object,
    "n": _one,
    "stream": _no_stream,
}

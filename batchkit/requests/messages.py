"""The messages of a request: which roles and contents a chat may have.

Zhipu's text models (docs.bigmodel.cn, chat completions) take the roles system, user, assistant and
tool, text only, and refuse a chat that consists of system and assistant messages alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchkit import tokens
from batchkit.errors import RowError
from batchkit.records import Message
from batchkit.strict_json import NotJsonError, decode_json
from batchkit.wording import kind_of, shown

_GLM_ROLES = frozenset({"system", "user", "assistant", "tool"})
_OPENAI_ROLES = _GLM_ROLES | {"developer"}
_SIMPLE = frozenset({"system", "user", "assistant"})
_ASKING = frozenset({"user", "tool"})


def messages_of(body: Mapping[str, Any]) -> list[Message]:
    """The messages that a row's body has, or its `prompt` stands for; not yet checked."""
    given = body.get("messages")
    prompt = body.get("prompt")
    if given is not None:
        if prompt is not None:
            raise RowError("has both 'messages' and 'prompt'; keep one")
        return _listed(given)
    if prompt is None:
        raise RowError("has no 'messages' and no 'prompt'")
    if not isinstance(prompt, str):
        raise RowError(f"prompt: expected a string, got {kind_of(prompt)}")
    system = body.get("system")
    if system is None:
        return [{"role": "user", "content": prompt}]
    if not isinstance(system, str):
        raise RowError(f"system: expected a string, got {kind_of(system)}")
    return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]


def _listed(given: Any) -> list[Message]:
    if isinstance(given, str):  # JSON text, as columnar files may have it
        try:
            given = decode_json(given.encode())
        except NotJsonError as error:
            raise RowError(f"messages: expected a list, got text that is {error}") from error
    if not isinstance(given, list):
        raise RowError(f"messages: expected a list, got {kind_of(given)}")
    return given


def check_messages(messages: list[Message], *, is_glm: bool) -> list[Message]:
    """The messages as they will be sent, without nulls; raises `RowError`."""
    if not messages:
        raise RowError("messages: is empty; at least one message is needed")
    roles = _GLM_ROLES if is_glm else _OPENAI_ROLES
    is_asking = has_text = False
    is_simple = True
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise RowError(f"messages[{index}]: expected an object, got {kind_of(message)}")
        role = message.get("role")
        if type(role) is not str or role not in roles:
            raise RowError(f"messages[{index}].role: {_bad_role(role, roles)}")
        is_asking = is_asking or role in _ASKING
        content = message.get("content")
        if type(content) is not str or len(message) > 2 or role not in _SIMPLE:
            is_simple = False
        elif content and not content.isspace():
            has_text = True
    if not is_simple:
        messages = [
            _checked(without_nulls(message), f"messages[{index}]", is_glm=is_glm)
            for index, message in enumerate(messages)
        ]
        has_text = has_text or any(map(str.strip, tokens.texts(messages)))
    if is_glm and not is_asking:
        raise RowError("messages: only system and assistant; a user or tool message is needed")
    if is_glm and not has_text:
        raise RowError("messages: hold no text")
    return messages


def without_nulls(value: Any) -> Any:
    """`value` without the null members of its objects: a columnar file's unset struct fields."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    return value


def _checked(message: Message, place: str, *, is_glm: bool) -> Message:
    role = message["role"]
    content = message.get("content")
    if message.get("tool_calls") == []:  # a columnar file's way to say none
        message = {name: value for name, value in message.items() if name != "tool_calls"}
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise RowError(f"{place}.tool_call_id: a tool message needs one, a string")
    if "tool_calls" in message:
        _check_calls(message["tool_calls"], role, f"{place}.tool_calls")
    if isinstance(content, list):
        _check_parts(content, f"{place}.content", is_glm=is_glm)
    elif content is None:
        if "tool_calls" not in message:
            raise RowError(f"{place}.content: is missing")
    elif not isinstance(content, str):
        raise RowError(f"{place}.content: expected a string, got {kind_of(content)}")
    return message


def _check_calls(calls: Any, role: str, place: str) -> None:
    if role != "assistant":
        raise RowError(f"{place}: only an assistant message has them, not a {role} message")
    if not isinstance(calls, list):
        raise RowError(f"{place}: expected a list, got {kind_of(calls)}")
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowError(f"{place}[{index}]: expected a call of a named function")
        if not isinstance(function.get("arguments", ""), str):
            raise RowError(f"{place}[{index}].function.arguments: expected JSON text")


def _check_parts(parts: list[Any], place: str, *, is_glm: bool) -> None:
    if not parts:
        raise RowError(f"{place}: is an empty list")
    for index, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise RowError(f"{place}[{index}]: expected an object with a 'type'")
        if kind == "text":
            if not isinstance(part.get("text"), str):
                raise RowError(f"{place}[{index}].text: expected a string")
        elif is_glm:
            raise RowError(f"{place}[{index}]: a text model takes no part of type {shown(kind)}")


def _bad_role(role: Any, roles: frozenset[str]) -> str:
    expected = ", ".join(sorted(roles))
    return f"expected one of {expected}; got {'none' if role is None else shown(role)}"

"""JSON from outside: no NaN, no numbers beyond a float, no lone surrogates, bounded nesting.

Nesting is bounded well below Python's recursion limit, so that whatever is read here can be walked,
encoded and journaled anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from batchkit.wording import reason

DEPTH_MOST = 100  # objects and lists inside each other
_TOO_DEEP = f"not JSON that can be sent: nested deeper than {DEPTH_MOST} levels"

_decode = msgspec.json.Decoder().decode


class NotJsonError(ValueError):
    """Why a text is refused: lower case, without the text."""


def decode_json(text: bytes) -> Any:
    """The value of `text`; raises `NotJsonError`."""
    try:
        value = _decode(text)
    except UnicodeDecodeError as error:
        raise NotJsonError("not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise NotJsonError(_TOO_DEEP) from error
    except msgspec.ValidationError as error:
        raise NotJsonError("not JSON: number out of range") from error
    except msgspec.DecodeError as error:
        words = str(error).removeprefix("JSON is malformed: ")
        raise NotJsonError(f"not JSON: {reason(words)}") from error
    if text.count(b"{") + text.count(b"[") > DEPTH_MOST and _is_deep(value):
        raise NotJsonError(_TOO_DEEP)
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MOST):
        level = [inner for one in level for inner in _children(one) if type(inner) in {dict, list}]
        if not level:
            return False
    return True


def _children(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value

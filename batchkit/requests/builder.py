"""A row of the input as a request, or the reason why it is none.

Without a template a row is a request, in one of three shapes, which may be mixed: a line of an
OpenAI batch file (`body`), flat (`messages` beside the parameters), or a bare `prompt`. With a
template a row is a document: its columns go into the prompt and nothing of it is a parameter.
A parameter of the row wins over the job's; one that is null counts as not given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from batchkit import tokens
from batchkit.errors import RowError, UsageError
from batchkit.models import Model
from batchkit.records import Message, Request
from batchkit.requests.messages import check_messages, messages_of, without_nulls
from batchkit.requests.params import GLM_CHECKS, OPENAI_CHECKS, Check, check_params
from batchkit.sources.base import Raw
from batchkit.strict_json import NotJsonError, decode_json
from batchkit.template import Template
from batchkit.wording import kind_of, shown, shown_names

if TYPE_CHECKING:
    from batchkit.sources.keep import KeepColumn

ID_MOST = 512  # characters
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENVELOPE = frozenset(
    {
        "custom_id",
        "id",
        "method",
        "url",
        "body",
        "model",
        "messages",
        "prompt",
        "system",
        "metadata",
    }
)
_BESIDE_BODY = frozenset({"model", "messages", "prompt", "system", *GLM_CHECKS, *OPENAI_CHECKS})
_encode = msgspec.json.Encoder(enc_hook=str).encode


Finish: TypeAlias = Callable[[list[Message], Mapping[str, Any]], list[Message]]
"""A row's messages, and its columns, as the messages that are sent."""


class _Target(NamedTuple):
    """What there is to know of a model for every row that asks it."""

    model: Model
    is_glm: bool
    checks: Mapping[str, Check]


class RequestBuilder:
    """Builds the requests of one job.

    Args:
        table: The models that may be asked.
        default_model: For rows that name none; None if each must.
        fallback: Models that rows go on to.
        params: The job's parameters.
        template: Makes prompts of documents; None if rows are requests.
        finish: Adds to a row's messages what the job has for all of them.
        id_column: Where ids are; None for a request's own `custom_id` or `id`.
        keep: Columns that are carried along and never sent.
        keep_columns: Their types; None while a scan is still finding them.
        dialects: How each model's endpoint speaks, "glm" or "openai".

    Raises:
        UsageError: `params` are not what `default_model` and `fallback` take.
    """

    def __init__(
        self,
        *,
        table: Mapping[str, Model],
        default_model: str | None,
        fallback: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        template: Template | None = None,
        finish: Finish = lambda messages, _values: messages,
        id_column: str | None = None,
        keep: Sequence[str] = (),
        keep_columns: Sequence[KeepColumn] | None = None,
        dialects: Callable[[Model], str],
    ) -> None:
        self._targets = {name: _target(model, dialects(model)) for name, model in table.items()}
        self._default_model = default_model
        self._params = {name: value for name, value in (params or {}).items() if value is not None}
        self._template = template
        self._finish = finish
        self._id_column = id_column
        self._kept = _kept(keep_columns)
        self._not_params = _ENVELOPE | {*keep, *([id_column] if id_column else [])}
        for name in (default_model, *fallback):
            if name is not None:
                self._check_params_of(name)

    def build(self, raw: Raw, names: Mapping[str, Any] | None = None) -> Request:
        """The request of a row; raises `RowError`.

        `names` are what a template finds beside the row's columns, or instead of them.
        """
        values = raw.values
        if values is None:
            raise RowError(raw.fault or "cannot be read")
        custom_id = self._custom_id(values, raw.row)
        params = self._params.copy()
        metadata: str | None = None
        if self._template is None:
            body = _body(values)
            for name, value in body.items():
                if name not in self._not_params and value is not None:
                    params[name] = value if raw.keep is None else without_nulls(value)
            target = self._target(body.get("model"))
            messages = messages_of(body)
            metadata = _metadata(values, body)
        else:
            target = self._target(None)
            values = {**values, **names} if names else values
            messages = self._template.render(values)
        messages = check_messages(messages, is_glm=target.is_glm)
        messages = self._finish(messages, values)
        check_params(params, target.model, target.checks)
        return Request(
            row=raw.row,
            custom_id=custom_id,
            model=target.model.name,
            messages=messages,
            params=params,
            prompt_tokens=_prompt_tokens(messages, target.model),
            metadata=metadata,
            keep=None if self._kept is None else self._kept(raw),
        )

    def _check_params_of(self, model: str) -> None:
        try:
            target = self._target(model)
            check_params(dict(self._params), target.model, target.checks)
        except RowError as error:
            raise UsageError(f"params: {error}") from error

    def _custom_id(self, values: Mapping[str, Any], row: int) -> str:
        name = self._id_column
        if name is not None:
            if name not in values:
                raise RowError(
                    f"id column {shown(name)} is missing; the row has {shown_names(list(values))}"
                )
            given = values[name]
        elif self._template is not None:
            given = None
        else:
            name = "custom_id"
            given = values.get(name)
            if given is None:
                name = "id"
                given = values.get(name)
        return f"row-{row}" if given is None else _checked_id(name or "id", given)

    def _target(self, given: Any) -> _Target:
        name = self._default_model if given is None else given
        if name is None:
            raise RowError("names no model; give --model or a 'model' of its own")
        if not isinstance(name, str):
            raise RowError(f"model: expected a string, got {shown(name)}")
        target = self._targets.get(name) or self._targets.get(name.lower())
        if target is None:
            raise RowError(f"model {shown(name)} is not in the model table; add it with --models")
        return target


def fits(request: Request, model: Model, dialect: str) -> bool:
    """Whether another model than the one that was planned for takes `request` as it is."""
    try:
        target = _target(model, dialect)
        check_messages(request.messages, is_glm=target.is_glm)
        check_params(dict(request.params), model, target.checks)
    except RowError:
        return False
    return request.prompt_tokens <= model.context


def custom_id_of(raw: Raw, id_column: str | None = None) -> str:
    """The id of a row that may be bad: its own where that is one, else `row-<n>`."""
    for name in ("custom_id", "id") if id_column is None else (id_column,):
        given = (raw.values or {}).get(name)
        if given is not None:
            try:
                return _checked_id(name, given)
            except RowError:
                break
    return f"row-{raw.row}"


def _kept(columns: Sequence[KeepColumn] | None) -> Callable[[Raw], list[Any]] | None:
    if not columns:
        return None
    from batchkit.sources.keep import to_storage  # noqa: PLC0415  # imports pyarrow

    return lambda raw: to_storage(columns, raw)


def _target(model: Model, dialect: str) -> _Target:
    is_glm = dialect == "glm"
    return _Target(model, is_glm, GLM_CHECKS if is_glm else OPENAI_CHECKS)


def _checked_id(name: str, given: Any) -> str:
    if type(given) is int:
        return str(given)
    if not isinstance(given, str):
        raise RowError(f"{name}: expected a string or an integer, got {shown(given)}")
    if not given or given.isspace():
        raise RowError(f"{name}: is blank; leave it out for row-<n>")
    if len(given) > ID_MOST:
        raise RowError(f"{name}: has {len(given)} characters; at most {ID_MOST} are taken")
    if not (given.isascii() and given.isprintable()) and _CONTROL.search(given):
        raise RowError(f"{name}: {shown(given)} has control characters")
    return given


def _body(values: dict[str, Any]) -> dict[str, Any]:
    """Where a row's model, messages and parameters are: in its `body` or beside its id."""
    method, url = values.get("method"), values.get("url")
    if method is not None and (not isinstance(method, str) or method.upper() != "POST"):
        raise RowError(f"method: expected POST, got {shown(method)}")
    if url is not None and (not isinstance(url, str) or not url.endswith("/chat/completions")):
        raise RowError(f"url: expected …/chat/completions, got {shown(url)}")
    body = values.get("body")
    if body is None:
        return values
    if isinstance(body, str):  # JSON text, as columnar files may have it
        try:
            body = decode_json(body.encode())
        except NotJsonError as error:
            raise RowError(f"body: expected an object, got text that is {error}") from error
    if not isinstance(body, dict):
        raise RowError(f"body: expected an object, got {kind_of(body)}")
    for name, value in values.items():
        if name in _BESIDE_BODY and value is not None:
            raise RowError(f"{name!r} stands beside 'body'; put it inside")
    return body


def _metadata(values: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    given = values.get("metadata")
    if given is None:
        given = body.get("metadata")
    if given is None:
        return None
    if isinstance(given, str) and given[:1] in {"{", "["}:
        try:
            decode_json(given.encode())
        except NotJsonError:
            pass
        else:
            return given
    return _encode(given).decode()


def _prompt_tokens(messages: list[Message], model: Model) -> int:
    estimate = tokens.estimate_prompt(messages)
    if estimate > model.context:  # the floor is never above the estimate
        floor = sum(map(tokens.at_least, tokens.texts(messages)))
        if floor > model.context:
            raise RowError(
                f"a prompt of at least {floor} tokens cannot fit the context of {model.context} "
                f"({model.name})"
            )
    return estimate

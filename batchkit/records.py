"""The values that travel from the input to the results.

Durations are seconds, times are seconds since the epoch (UTC), money is an integer number of
`PICO` units (10^-12 of the currency), so that sums are exact.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from batchkit.errors import Billing, ErrorKind, Verdict

Message: TypeAlias = dict[str, Any]
Status: TypeAlias = Literal["ok", "failed"]


class Request(msgspec.Struct, gc=False):
    """One chat completion to ask for: a validated row of the input, or a chunk of one."""

    row: int  # 0-based position in the input
    custom_id: str
    model: str  # lower case, a key of the model table
    messages: list[Message]
    params: dict[str, Any]  # every other chat parameter, as given
    prompt_tokens: int  # estimated, see `batchkit.tokens`
    metadata: str | None = None  # JSON text
    keep: list[Any] | None = None  # values of the kept columns in storage form, see `sources.Keep`
    source: str | None = None  # the text to translate, which the answer is held against
    chunk: int | None = None  # 1-based; None: the row is one request


class Usage(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Tokens that an answer says it used; `cached` is a part of `prompt`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt - other.prompt,
            self.cached - other.cached,
            self.completion - other.completion,
        )


class Completion(msgspec.Struct, gc=False):
    """An answer: HTTP 200 with a choice whose finish reason is one to keep."""

    content: str | None
    finish_reason: str | None
    usage: Usage
    tool_calls: str | None = None  # JSON text
    response_id: str | None = None
    response_model: str | None = None
    http_status: int = 200


class Failure(msgspec.Struct, gc=False):
    """An attempt that gave no answer to keep, classified once, where the evidence is."""

    verdict: Verdict
    message: str  # the provider's or the transport's words; one line, bounded, never a key
    http_status: int | None = None
    code: str | None = None
    retry_after_s: float | None = None
    resets_at: float | None = None  # when a usage cap ends, if the answer says so
    usage: Usage | None = None  # some failures are billed
    content: str | None = None  # a partial answer that came with the failure
    finish_reason: str | None = None
    response_id: str | None = None
    response_model: str | None = None


Outcome: TypeAlias = Completion | Failure


class Prior(msgspec.Struct):
    """What earlier starts spent on a row, or a chunk, that has not settled."""

    attempts: int = 0
    usage: Usage = Usage()
    cost: int = 0  # PICO
    first_at: float | None = None  # seconds since the epoch
    chunks: dict[int, int] = {}  # attempts of each chunk that was begun
    number: int = 0  # of the last attempt, of those at the same time one may have left no record


class Attempt(msgspec.Struct, gc=False, array_like=True):
    """One HTTP exchange, as it is journaled; a row of `attempts/`."""

    row: int
    custom_id: str
    attempt: int  # 1-based, of the request: of the row or of its chunk
    model: str
    started_at: float
    latency_s: float
    in_flight: int  # when it began, itself included
    limit: int  # in force then
    http_status: int | None = None
    error_kind: ErrorKind | None = None
    error_code: str | None = None
    retry_after_s: float | None = None
    wait_s: float | None = None  # backoff that followed
    usage: Usage = Usage()
    cost: int = 0  # PICO
    billing: Billing = Billing.FREE
    bound: int = 0  # PICO; the most it may have cost, when billing is unknown
    chunk: int | None = None  # of the row's chunks, 1-based; None: the row is one request


class Result(msgspec.Struct, gc=False, array_like=True):
    """A settled row, as it is journaled; a row of `results/`. Also a settled chunk of one."""

    row: int
    custom_id: str
    model: str
    status: Status
    content: str | None
    finish_reason: str | None
    tool_calls: str | None
    output: str | None  # JSON text that validates against the schema
    usage: Usage  # over all answered attempts
    cost: int  # PICO, over all answered attempts
    currency: str
    attempts: int
    latency_s: float | None  # of the settling attempt
    total_s: float
    finished_at: float
    error_kind: ErrorKind | None = None
    error_code: str | None = None
    error_message: str | None = None
    http_status: int | None = None
    response_id: str | None = None
    response_model: str | None = None
    metadata: str | None = None
    keep: list[Any] | None = None
    agreement: float | None = None  # share of the votes that the answer got; None: no vote was held
    deduplicated: bool = False  # the answer is that of an equal row: nothing was sent

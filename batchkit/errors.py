"""The words for what goes wrong: faults that a person reads, kinds of failure, what can follow.

Which failure gets which verdict is `verdicts`' to say.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class BatchkitError(Exception):
    """A message for a person: `place: fault with value; remedy`. One line, no traceback."""

    exit_code = 2


class UsageError(BatchkitError):
    """The run cannot start as asked: bad spec, bad usage, no key. Nothing was sent."""


class StoppedError(BatchkitError):
    """The run stopped early and goes on when it is started again."""

    exit_code = 3


class RowError(Exception):
    """A row that cannot become a request: why, in one line, without the row's text."""


class InterruptedByError(BaseException):
    """A signal came while nothing was in flight."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ErrorKind(StrEnum):
    """Why a row or an attempt failed, in one word; the `error_kind` column."""

    CONCURRENCY = "concurrency"  # too many requests in flight for this account and model
    RATE = "rate"  # requests come too densely
    OVERLOADED = "overloaded"  # the platform is busy; not this account's doing
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"  # no whole answer within the attempt's time
    CONNECTION = "connection"  # refused, reset, or no route; the answer never began
    BAD_RESPONSE = "bad_response"  # cut, too large, or not a chat completion
    NETWORK_ERROR = "network_error"  # HTTP 200, but inference broke off inside the service
    INVALID_REQUEST = "invalid_request"
    CONTEXT_EXCEEDED = "context_exceeded"
    CONTENT_FILTERED = "content_filtered"
    POLICY = "policy"  # the provider's policy blocks this call
    UNKNOWN_MODEL = "unknown_model"
    OUTRUN = "outrun"  # asked a second time as well, and the other answer came first
    INVALID_OUTPUT = "invalid_output"  # the answer does not validate against the schema
    INVALID_ROW = "invalid_row"  # the row could not be sent at all
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    ACCOUNT = "account"  # inactive, locked, missing
    ARREARS = "arrears"
    USAGE_CAP = "usage_cap"  # a cap that resets at a known time


REFUSALS = frozenset({ErrorKind.CONCURRENCY, ErrorKind.RATE, ErrorKind.OVERLOADED})
"""Refused for load: not the row's fault."""


class Again(StrEnum):
    """Whether an attempt is worth repeating, and what a repetition costs the row."""

    NEVER = "never"
    COUNTED = "counted"  # uses up one of the row's attempts
    FREE = "free"  # a refusal for load is not the row's fault and uses up nothing


class Stops(StrEnum):
    """How far a failure reaches when it is not repeated."""

    ROW = "row"
    UNIFORM = "uniform"  # the model if nothing of it has been answered yet, else the row
    MODEL = "model"
    JOB = "job"


class Signal(StrEnum):
    """What the limit on requests in flight hears of an attempt's end."""

    GOOD = "good"  # answered: there was room
    REFUSED = "refused"  # ours: too much in flight or too dense
    STRAINED = "strained"  # the platform is in trouble: shrink gently
    NEUTRAL = "neutral"  # says nothing about capacity


class Billing(StrEnum):
    """Whether an attempt costs money; the `billing` column of attempts."""

    BILLED = "billed"
    FREE = "free"
    UNKNOWN = "unknown"  # sent, but no answer came: it may have been executed


class Verdict(msgspec.Struct, frozen=True):
    """What follows from one kind of failure."""

    kind: ErrorKind
    again: Again = Again.NEVER
    stops: Stops = Stops.ROW
    signal: Signal = Signal.NEUTRAL
    billing: Billing = Billing.FREE
    pause_s: float = 0.5  # first step of the backoff, doubled per failure
    words: str = ""  # the fault for a person, where the provider's own words need not be shown
    remedy: str = ""  # what a person can do; `{key}` is the variable that holds the key

"""What the command line or the caller of `batchkit.run` may say, as it was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line or the caller of `batchkit.run` may say; None means not said."""

    out: str | Path | None = None
    input: str | Path | None = None
    model: str | None = None
    tier: str | None = None
    endpoint: str | None = None
    dialect: str | None = None
    transport: str | None = None
    api_key_env: str | None = None
    concurrency: Mapping[str, int] | int | None = None  # requests in flight, per model or for each
    timeout: float | None = None
    max_attempts: int | None = None
    budget: str | Decimal | None = None
    confirm_above: str | Decimal | None = None  # ask before spending more, by the estimate
    fallback: Sequence[str] | None = None  # models that a row goes on to, in this order
    max_failed: str | int | None = None  # rows, or a share like "5%", after which a run stops
    hedge: bool | None = None  # ask stragglers a second time when slots idle at the end
    limit: int | None = None
    dedupe: bool = False  # ask equal rows once
    models: str | Path | None = None
    schema: Any = None  # a JSON Schema, the path of one, a msgspec or pydantic class
    format: str | None = None
    skip_invalid: bool = False
    eager: bool = False  # send the first rows while the others are checked
    processes: int | None = None  # that send; 0 or 1: this one
    drain: float | None = None  # seconds that requests in flight may take after a stop
    log_content: bool = False
    update: bool = False  # go on with a changed input or job
    retry_failed: Sequence[str] | None = None  # kinds of failed rows to ask again; () for all
    reask_damaged: bool = False  # ask rows again whose results were damaged
    local_model: str | Path | None = None
    simulate: Any = None  # simulator.SimulatorOptions for `endpoint="sim"`


class OptionWords(TypedDict, total=False):
    """The fields of `Options` as keyword arguments."""

    out: str | Path
    input: str | Path
    model: str
    tier: str
    endpoint: str
    dialect: str
    transport: str
    api_key_env: str
    concurrency: Mapping[str, int] | int
    timeout: float
    max_attempts: int
    budget: str | Decimal
    confirm_above: str | Decimal
    fallback: Sequence[str]
    max_failed: str | int
    hedge: bool
    limit: int
    dedupe: bool
    models: str | Path
    schema: Any
    format: str
    skip_invalid: bool
    eager: bool
    processes: int
    drain: float
    log_content: bool
    update: bool
    retry_failed: Sequence[str]
    reask_damaged: bool
    local_model: str | Path
    simulate: Any

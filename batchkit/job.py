"""The job file as it is written: its sections as values, read strictly.

An unknown key is a fault, named with the nearest known one: a key that is misspelt would otherwise
be a setting that is silently not made.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from batchkit.document_job import GroupSection, JoinSection, SplitSection
from batchkit.errors import UsageError
from batchkit.models import Positive, Tier, in_words
from batchkit.sections import ExamplesSection, LabelsSection, TranslateSection
from batchkit.wording import reason, shown

REQUEST_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".arrow")
_BUDGET_DECIMALS = 12  # of the smallest unit that is counted
_BUDGET_MOST = 10**12  # what a results column of money can hold


class PromptSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jinja2 templates over the columns of a row."""

    user: str
    system: str | None = None


class OutputSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers that are checked: a JSON Schema, by path (relative to the job file) or inline."""

    schema: str | dict[str, Any] | None = None
    repair: int = 1  # extra tries in which the model is told what was wrong
    votes: int | None = None  # how often each row is asked; the answer of most is taken


class LimitsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run may use."""

    budget: Decimal | None = None
    concurrency: Positive | dict[str, Positive] | None = None
    timeout: float | None = None  # seconds, one attempt
    max_attempts: Positive | None = None
    max_failed: int | str | None = None  # rows, or a share like "5%", after which a run stops
    hedge: bool = False  # ask stragglers a second time when slots idle at the end


class ScoreKind(StrEnum):
    """How answers are compared with gold values."""

    LABEL = "label"
    LABELS = "labels"
    FIELDS = "fields"
    TRANSLATION = "translation"
    CONTAINS = "contains"  # a right answer has the gold text in it, as words


class FieldForm(StrEnum):
    """What a field holds, and so in which form its values are compared."""

    TEXT = "text"
    DATE = "date"
    AMOUNT = "amount"


class DateOrder(StrEnum):
    """How to read a date like 04/02/2017; one that begins with four digits has its year first."""

    DMY = "dmy"
    MDY = "mdy"


class ScoreSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What answers are compared with, and how; nothing that is asked hangs on it."""

    gold: str | dict[str, str]  # a kept column, or fields of the answer, each with its column
    kind: ScoreKind | None = None
    compare: dict[str, FieldForm] = {}  # of fields whose type does not say it
    dates: DateOrder = DateOrder.DMY
    tokenizer: str | None = None  # sacrebleu's, for BLEU

    @property
    def columns(self) -> list[str]:
        return [self.gold] if isinstance(self.gold, str) else list(self.gold.values())


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job file as it is written."""

    input: str | None = None
    id: str | None = None
    keep: list[str] = []
    dedupe: bool = False
    model: str | None = None
    fallback: list[str] | None = None
    tier: Tier | None = None
    endpoint: str | None = None
    dialect: str | None = None
    transport: str | None = None  # the HTTP client, see `spec.TransportName`
    api_key_env: str | None = None
    prompt: PromptSection | None = None
    group: GroupSection | None = None
    split: SplitSection | None = None
    join: JoinSection | None = None
    params: dict[str, Any] = {}
    output: OutputSection | None = None
    score: ScoreSection | None = None
    labels: LabelsSection | None = None
    translate: TranslateSection | None = None
    examples: ExamplesSection | None = None
    limits: LimitsSection = LimitsSection()
    models: dict[str, Any] = {}


def job_for_requests(path: Path) -> Job:
    """The job that a request file stands for; raises `UsageError`."""
    if not path.name.endswith(REQUEST_SUFFIXES):
        known = ", ".join((*REQUEST_SUFFIXES, ".toml"))
        raise UsageError(f"{path}: not a spec; expected a file that ends in one of {known}")
    return Job(input=path.name)


def read_job(path: Path) -> Job:
    """The job file at `path`; raises `UsageError` with the place of what is wrong in it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {_why(error)}") from error
    try:
        values = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    _check_keys(values, path)
    models = values.pop("models", {})
    budget = values.get("limits", {}).pop("budget", None)
    try:
        job = msgspec.convert(_floats(values), Job, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {in_words(error)}") from error
    if budget is not None:
        amount = read_amount(budget, f"{path}: limits.budget")
        job = msgspec.structs.replace(
            job, limits=msgspec.structs.replace(job.limits, budget=amount)
        )
    _check_gold(job, path)
    return msgspec.structs.replace(job, models=models)


def _check_gold(job: Job, path: Path) -> None:
    for column in job.score.columns if job.score is not None else ():
        if column not in job.keep:
            raise UsageError(
                f"{path}: score.gold: {column!r} is not among keep; "
                "add it there, so that it comes back in the results"
            )


def _check_keys(values: Mapping[str, Any], path: Path) -> None:
    sections: dict[str, type[msgspec.Struct] | None] = {
        "": Job,
        "prompt": PromptSection,
        "group": GroupSection,
        "split": SplitSection,
        "join": JoinSection,
        "output": OutputSection,
        "score": ScoreSection,
        "labels": LabelsSection,
        "translate": TranslateSection,
        "examples": ExamplesSection,
        "limits": LimitsSection,
        "models": None,  # its keys are names
    }
    for name, section in sections.items():
        table = values.get(name, {}) if name else values
        if not isinstance(table, Mapping):
            raise UsageError(f"{path}: {name}: expected a table, got {shown(table)}")
        known = section.__struct_fields__ if section is not None else tuple(table)
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
                raise UsageError(
                    f"{path}: unknown key {f'{name}.{key}' if name else key!r}; {hint}"
                )


def _floats(value: Any) -> Any:
    """Decimals as floats: parameters travel as JSON numbers."""
    if isinstance(value, dict):
        return {k: _floats(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_floats(v) for v in value]
    return float(value) if isinstance(value, Decimal) else value


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return reason(error.strerror if isinstance(error, OSError) else error)


def read_amount(value: Any, place: str) -> Decimal:
    """An amount of money given as text or number; raises `UsageError`."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or not 0 <= amount <= _BUDGET_MOST:
        raise UsageError(f"{place}: expected a decimal amount, got {shown(value)}")
    if amount != round(amount, _BUDGET_DECIMALS):
        raise UsageError(f"{place}: {amount:f} has more than {_BUDGET_DECIMALS} decimals")
    return amount

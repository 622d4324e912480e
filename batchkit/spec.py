"""What is to be run, as values: the job file and the options, merged and checked.

A flag wins over the job file, the job file over the default. Nothing here reads the input or the
network; the job file, the model tables and the schema are the only files it opens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from batchkit.document_job import DocumentJob, check_documents
from batchkit.errors import UsageError
from batchkit.given_schema import given_schema
from batchkit.job import (
    REQUEST_SUFFIXES,
    Job,
    OutputSection,
    PromptSection,
    ScoreSection,
    job_for_requests,
    read_amount,
    read_job,
)
from batchkit.local.model_row import LOCAL_MODEL
from batchkit.models import ModelTable, Tier, builtin_models, read_models
from batchkit.option_checks import (
    at_least,
    ceilings_of,
    chain_of,
    check_url,
    choice,
    kinds_of,
    positive_seconds,
    process_count,
    seconds_of,
)
from batchkit.options import Options
from batchkit.patience import MostFailed, read_most_failed
from batchkit.sections import ExamplesSection, LabelsSection, TranslateSection

BIGMODEL = "https://open.bigmodel.cn/api/paas/v4"
DEFAULT_TIMEOUT_S = 300.0  # a long answer that is not streamed can take minutes
DEFAULT_DRAIN_S = 30.0  # what requests in flight may take after a stop
DEFAULT_MAX_ATTEMPTS = 8  # at 20 % faults, one row in 400,000 fails by chance

_T = TypeVar("_T")


class Format(StrEnum):
    """How sealed parts are written."""

    ARROW = "arrow"
    PARQUET = "parquet"


class TransportName(StrEnum):
    """The library that speaks HTTP."""

    AIOHTTP = "aiohttp"
    HTTPTOOLS = "httptools"  # in the extra `fast`


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was asked for, decided."""

    path: Path
    input: Path
    out: Path
    id_column: str | None
    keep: tuple[str, ...]
    model: str | None
    fallback: tuple[str, ...]
    tier: Tier
    endpoint: str  # bigmodel, local, sim or a URL
    dialect: str | None
    transport: TransportName
    api_key_env: str | None
    prompt: PromptSection | None
    documents: DocumentJob
    params: dict[str, Any]
    schema: dict[str, Any] | None
    labels: LabelsSection | None
    translate: TranslateSection | None
    examples: ExamplesSection | None
    repair: int
    score: ScoreSection | None
    budget: Decimal | None
    confirm_above: Decimal | None
    concurrency: dict[str, int]  # by model; "" for every model
    timeout_s: float
    max_attempts: int
    max_failed: MostFailed | None
    hedge: bool
    limit: int | None
    dedupe: bool
    format: Format
    skip_invalid: bool
    eager: bool  # rows are sent while those behind them are checked
    processes: int | None  # that send; None: as many as the job needs
    drain_s: float
    log_content: bool  # texts of prompts and answers may stand in the log
    update: bool
    retry_failed: frozenset[str] | None  # empty: every kind
    reask_damaged: bool
    table: ModelTable
    local_model: Path | None
    simulate: Any

    def slots(self, model: str, tier: Tier | None = None) -> int:
        """Requests of `model` that may be in flight: the table's number under the ceilings."""
        ceilings = [self.concurrency[name] for name in ("", model) if name in self.concurrency]
        return min([self.table[model].slots(tier or self.tier), *ceilings])

    def going_on(self) -> Spec:
        """This, for another start right after one: what was asked again is not asked once more."""
        return msgspec.structs.replace(self, update=False, retry_failed=None, reask_damaged=False)

    def asks(self) -> dict[str, Any]:
        """What of the job file decides the requests, and nothing else (price, tier, endpoint)."""
        sections = {"labels": self.labels, "translate": self.translate, "examples": self.examples}
        given = {name: section for name, section in sections.items() if section is not None}
        return {
            "id": self.id_column,
            "keep": list(self.keep),
            "model": self.model,
            "prompt": msgspec.to_builtins(self.prompt),
            "params": self.params,
            "schema": self.schema,
            **msgspec.to_builtins(given),
            **self.documents.asks(),
        }

    def sha256(self) -> str:
        """Identity of what the job file asks, whatever the files hold that it names."""
        return hashlib.sha256(msgspec.json.encode(self.asks(), order="sorted")).hexdigest()


def load_spec(path: str | Path, options: Options | None = None) -> Spec:
    """The spec at `path`, a request file or a job file, under `options`; raises `UsageError`."""
    path = Path(path)
    options = options or Options()
    job = read_job(path) if path.suffix == ".toml" else job_for_requests(path)
    place = str(path)
    table = effective_table(options.models, job.models, place)
    model = options.model or job.model
    if model is not None and model.lower() not in table:
        raise UsageError(
            f"{place}: model {model!r} is not in the model table; add it with --models"
        )
    concurrency = ceilings_of(job.limits.concurrency, table, f"{place}: limits.concurrency")
    concurrency |= ceilings_of(options.concurrency, table, "--concurrency")
    endpoint = options.endpoint or job.endpoint or "bigmodel"
    if endpoint not in {"bigmodel", "local", "sim"}:
        check_url(endpoint, "--endpoint" if options.endpoint else f"{place}: endpoint")
    schema = given_schema(path, job, options.schema)
    return Spec(
        path=path,
        input=_input(path, job, options),
        out=Path(options.out) if options.out is not None else Path("runs") / spec_name(path),
        id_column=job.id or (job.group.by if job.group else None),
        keep=tuple(job.keep),
        model=model.lower() if model else None,
        fallback=chain_of(
            _said(options.fallback, "--fallback", job.fallback, f"{place}: fallback"), table
        ),
        tier=choice(Tier, options.tier or job.tier or Tier.V0, "--tier"),
        endpoint=endpoint,
        dialect=options.dialect or job.dialect,
        transport=choice(
            TransportName,
            options.transport or job.transport or TransportName.AIOHTTP,
            "--transport" if options.transport else f"{place}: transport",
        ),
        api_key_env=options.api_key_env or job.api_key_env,
        prompt=job.prompt,
        documents=_documents(place, job, has_fields=schema is not None or job.labels is not None),
        params=job.params,
        schema=schema,
        labels=job.labels,
        translate=job.translate,
        examples=job.examples,
        repair=at_least((job.output or OutputSection()).repair, f"{place}: output.repair", least=0),
        score=job.score,
        budget=read_amount(options.budget, "--budget")
        if options.budget is not None
        else job.limits.budget,
        confirm_above=None
        if options.confirm_above is None
        else read_amount(options.confirm_above, "--confirm-above"),
        concurrency=concurrency,
        timeout_s=positive_seconds(
            *_said(options.timeout, "--timeout", job.limits.timeout, f"{place}: limits.timeout")
            or (DEFAULT_TIMEOUT_S, "")
        ),
        max_attempts=at_least(
            *_said(
                options.max_attempts,
                "--max-attempts",
                job.limits.max_attempts,
                f"{place}: limits.max_attempts",
            )
            or (DEFAULT_MAX_ATTEMPTS, ""),
            least=1,
        ),
        max_failed=_most_failed(options.max_failed, job.limits.max_failed, place),
        hedge=job.limits.hedge if options.hedge is None else options.hedge,
        limit=None if options.limit is None else at_least(options.limit, "--limit", least=1),
        dedupe=options.dedupe or job.dedupe,
        format=choice(Format, options.format or Format.ARROW, "--format"),
        skip_invalid=options.skip_invalid,
        eager=options.eager,
        processes=process_count(options.processes),
        log_content=options.log_content,
        drain_s=DEFAULT_DRAIN_S if options.drain is None else seconds_of(options.drain, "--drain"),
        update=options.update,
        retry_failed=kinds_of(options.retry_failed),
        reask_damaged=options.reask_damaged,
        table=table,
        local_model=Path(options.local_model) if options.local_model else None,
        simulate=options.simulate,
    )


def effective_table(
    file: str | Path | None, rows: Mapping[str, Any] | None = None, place: str = ""
) -> ModelTable:
    """The built-in table, the local model, the rows of `file` and those of a job at `place`."""
    local = {key: value for key, value in LOCAL_MODEL.items() if key != "name"}
    table = builtin_models().extended({LOCAL_MODEL["name"]: local}, "local")
    if file is not None:
        table = table.extended(read_models(Path(file)), str(file))
    return table.extended(rows or {}, place)


def spec_name(path: Path) -> str:
    """The name of a run's folder: the file's name without its suffix, or a job folder's name."""
    for suffix in (*REQUEST_SUFFIXES, ".toml"):
        if path.name.endswith(suffix):
            stem = path.name.removesuffix(suffix)
            return path.resolve().parent.name if stem == "job" else stem
    return path.stem


def _input(path: Path, job: Job, options: Options) -> Path:
    if options.input is not None:
        return Path(options.input)
    if job.input is None:
        raise UsageError(f"{path}: input is missing; name the data file here or with --input")
    return path.parent / job.input


def _documents(place: str, job: Job, *, has_fields: bool) -> DocumentJob:
    votes = job.output.votes if job.output else None
    given = DocumentJob(job.group, job.split, job.join, votes)
    try:
        return check_documents(given, has_prompt=job.prompt is not None, has_fields=has_fields)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error


def _said(flag: _T | None, name: str, key: _T | None, place: str) -> tuple[_T, str] | None:
    """What was said and where: by the flag, else by the job file."""
    if flag is not None:
        return flag, name
    return None if key is None else (key, place)


def _most_failed(flag: str | int | None, key: str | int | None, place: str) -> MostFailed | None:
    said = _said(flag, "--max-failed", key, f"{place}: limits.max_failed")
    return None if said is None else read_most_failed(*said)

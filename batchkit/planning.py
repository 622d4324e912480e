"""`batchkit plan` at work: the pass over the input, the sample that is asked, the table."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TextIO

from batchkit.duplicates import finding_duplicates
from batchkit.endpoints import resolve
from batchkit.errors import StoppedError, UsageError
from batchkit.estimate import Estimate, Interval, Source, Sums
from batchkit.execution import Console, Execution
from batchkit.folder import RunFolder
from batchkit.forecast import CountingBuilder, Forecast, Knowledge, Option, forecast
from batchkit.foreground import last_words, run_in_foreground
from batchkit.history import History
from batchkit.inputs import Input, layout_of, open_input
from batchkit.journal import Journal
from batchkit.lane_plan import LanePlan
from batchkit.learned import LearnedLimits, key_fingerprint, state_folder
from batchkit.local.model_row import LOCAL_MODEL
from batchkit.measuring import measure_sample, sample_rows
from batchkit.models import Model, Tier
from batchkit.plan import Role, decode_plan, read_entries
from batchkit.prepare import scan
from batchkit.progress import Progress, ScanBar
from batchkit.sources.context import with_rows_before
from batchkit.spec import Spec
from batchkit.terminal import console_on, plain, table
from batchkit.tokenizer import Tokenizer


def make_forecast(
    spec: Spec, *, say: Callable[[str], None], sample: int | None, tokenizer: Path | None
) -> Forecast:
    """Count the input, ask a sample if it is wanted, and estimate.

    Raises:
        UsageError: the job cannot be planned as asked.
        StoppedError: the sample was stopped before it was answered.
    """
    if sample is not None and sample < 1:
        raise UsageError(f"--sample: expected at least 1, got {sample}")
    given = open_input(spec)
    count = None if tokenizer is None else Tokenizer(tokenizer).count
    counted = _count(given, count)
    knowledge = Knowledge(spec, History(state_folder(os.environ)), now=time.time())
    if sample is not None:
        knowledge.sample = _ask_sample(spec, sample, say)
    return forecast(spec, counted, knowledge, partial(_slots, spec))


def _count(given: Input, count: Callable[..., int] | None) -> CountingBuilder:
    spec = given.spec
    rendering = given.rendering()
    builder = CountingBuilder(rendering, _offered(spec), count)
    with (
        tempfile.TemporaryDirectory(prefix="batchkit-plan-") as folder,
        closing(Journal.create(Path(folder) / "journal.db")) as journal,
        ScanBar() as bar,
        finding_duplicates(wanted=spec.dedupe) as duplicates,
    ):
        writer = scan(
            given.source,
            builder if duplicates is None else rendering,
            journal,
            limit=spec.limit,
            duplicates=duplicates,
            report=bar.show,
        )
        if duplicates is not None:  # which rows are asked is known at the end
            entries = read_entries(journal, writer.rows)
            raws = with_rows_before(given.source.scan(), builder.rows_before)
            for raw, entry in zip(raws, entries, strict=False):
                if entry.role == Role.COPY:
                    builder.copies += 1
                else:
                    builder.build(raw)
    if writer.rows == 0:
        raise UsageError(f"{given.source.path}: holds no rows; expected at least one")
    return builder


def _offered(spec: Spec) -> Mapping[str, Model]:
    """Models that a person could choose between: the small local one only where it is meant."""
    return {
        name: model
        for name, model in spec.table.items()
        if name == spec.model or name != LOCAL_MODEL["name"]
    }


def _slots(spec: Spec, lane: LanePlan) -> int:
    """What may be in flight: a lane's slots, or what earlier runs learned if that is less."""
    try:
        endpoint = resolve(spec, lane.model, os.environ, None)
    except UsageError:  # no key: nothing was learned of one
        return lane.slots
    learned = LearnedLimits(state_folder(os.environ))
    known = learned.start(endpoint.url, key_fingerprint(endpoint.key), lane.name, now=time.time())
    return lane.slots if known is None else min(lane.slots, known)


def _ask_sample(spec: Spec, size: int, say: Callable[[str], None]) -> dict[str, Sums]:
    """Ask `size` random rows in the run's own folder, and measure them."""
    rows: frozenset[int] = frozenset()

    def choose(execution: Execution) -> None:
        nonlocal rows
        rows = execution.only = sample_rows(spec, execution.opened.plan.rows, size)

    console = Console(
        say=say, tell=None, progress=lambda total, done: Progress(total, done, quiet=True)
    )
    ending = run_in_foreground(spec, console, before=choose)
    if ending.reasons:
        raise StoppedError("\n".join(last_words(ending)))
    folder = RunFolder(spec.out)
    with closing(Journal.open(folder.journal, read_only=True)) as journal:
        planned = journal.get("plan")
        assert planned is not None, "a run that was sampled has a plan"
        plan = decode_plan(planned)
        return measure_sample(journal, layout_of(folder, plan), plan, rows)


# -- for a person ----------------------------------------------------------------------------------


def show_forecast(found: Forecast, stream: TextIO) -> None:
    """One table, models by tiers, and what the job as it stands comes to."""
    console = console_on(stream)
    tiers = [tier for tier in Tier if any(tier in option.seconds for option in found.options)]
    head = ["all rows on", "prompt", "answers", "cost", "batch", "", *tiers, "unfit"]
    console.print(table(head, [_cells(option, tiers) for option in found.options]))
    console.print()
    for one in found.asked:
        console.print(plain(_asked(one)))
    if found.copies:
        console.print(plain(f"{found.copies:,} more rows ask what another row asks: not sent"))
    console.print(plain(f"time at {found.tier}: {_between(found.seconds, _duration)}"))


def _cells(option: Option, tiers: list[Tier]) -> list[str]:
    one = option.estimate
    return [
        one.model,
        _tokens(one.prompt_tokens.p50),
        _tokens(one.completion_tokens.p50),
        _amount(one.cost.p50),
        "-" if one.batch_cost is None else _amount(one.batch_cost.p50),
        one.currency,
        *(_duration(option.seconds[t].p50) if t in option.seconds else "-" for t in tiers),
        f"{one.unfit_rows:,}",
    ]


def _asked(one: Estimate) -> str:
    basis = {
        Source.ASSUMED: "nothing was measured: answers and pace are assumed; --sample measures",
        Source.EARLIER: f"as in earlier runs ({one.measured_rows:,} rows)",
        Source.SAMPLE: f"as in a sample of {one.measured_rows:,} rows",
    }[one.source]
    requests = f"{one.requests:,} requests, " if one.requests != one.rows else ""
    return (
        f"{one.model}: {one.rows:,} rows, {requests}"
        f"{_between(one.prompt_tokens, _tokens)} prompt and "
        f"{_between(one.completion_tokens, _tokens)} completion tokens "
        f"(at most {_tokens(one.completion_tokens_most)}), "
        f"{_between(one.cost, _amount)} {one.currency}, at most {_amount(one.cost_most)}; {basis}"
    )


def _between(interval: Interval, show: Callable[[float], str]) -> str:
    return f"{show(interval.p50)} ({show(interval.p10)} to {show(interval.p90)})"


def _tokens(count: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def _amount(amount: float) -> str:
    """Four significant digits, never in scientific notation."""
    if not amount:
        return "0"
    decimals = max(0, 3 - math.floor(math.log10(amount)))
    text = f"{amount:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"

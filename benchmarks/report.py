"""How long the report of a large run takes, how much memory, and how big the file is.

    python -m benchmarks.report [--rows 1000000] [--keep DIR]

Makes the folder of a finished run: three models, lognormal latencies, refusals, timeouts, repairs,
answers of about 1 KB, one of 1 MB. Then, each in a process of its own and best of three, gathers
the facts and writes the whole report. The ratio compares gathering with reading the same parts
with pyarrow alone, which no report can do without. It does not show what a slow disk adds: the
files were written a moment ago.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage

from batchkit.accounting import Rates
from batchkit.errors import Billing, ErrorKind
from batchkit.folder import RunFolder, write_json
from batchkit.inputs import layout_of
from batchkit.journal import Journal, Settled
from batchkit.models import builtin_models
from batchkit.parts import seal
from batchkit.plan import ModelShare, Plan, encode_plan
from batchkit.records import Attempt, Result, Usage
from batchkit.report.reading import read_facts
from batchkit.report.writing import write_report
from batchkit.sources.keep import dump_columns
from batchkit.spec import Format
from batchkit.tally import Tally, encode_tally
from batchkit.unseal import batches_of

MODELS = ("glm-4-flash-250414", "glm-4-plus", "glm-4-airx")
BEGAN = 1_790_000_000.0
PER_S = 120.0  # rows
PART_ROWS = 10_000
WORDS = [f"{number:x}" for number in range(0x1000, 0x8000, 7)]  # compress about as words do
TABLE = builtin_models()
RATES = {name: Rates.of(TABLE[name].price) for name in MODELS}


def make_run(folder: RunFolder, rows: int) -> None:
    """A finished run of `rows` rows."""
    folder.path.mkdir(parents=True)
    plan = Plan(
        rows=rows, invalid=0, models=list(MODELS), shares=[ModelShare(rows // 3) for _ in MODELS],
        asks={}, input={}, limit=None, part_rows=PART_ROWS, format="arrow", keep=dump_columns(()),
    )  # fmt: skip
    layout, tally, rng = layout_of(folder, plan), Tally(), Random(7)
    with closing(Journal.create(folder.journal)) as journal:
        for first in range(0, rows, PART_ROWS):
            settled, earlier = [], []
            for row in range(first, min(first + PART_ROWS, rows)):
                *before, last = _attempts(row, rng)
                earlier += before
                settled.append(Settled(_result(row, [*before, last], rng), last))
            _count(tally, settled, earlier)
            part = seal(layout, first // PART_ROWS, settled, earlier)
            journal.record_part(part, first, first + len(settled))
        tally.wall_s = rows / PER_S
        journal.finish_plan(encode_plan(plan), encode_tally(tally))
    start = {"at": BEGAN, "tier": "V0", "endpoints": {}, "models": TABLE.as_rows(list(MODELS))}
    write_json(folder.run_json, {"starts": [start]})


def _attempts(row: int, rng: Random) -> Iterator[Attempt]:
    """What came before the answer, and the answer, failed for one row in 200."""
    at = BEGAN + row / PER_S
    fate = rng.random()
    trail: list[tuple[ErrorKind | None, str | None]] = [(None, None)]
    if fate < 0.08:
        trail.insert(0, (ErrorKind.CONCURRENCY, "1302"))
    elif fate < 0.10:
        trail.insert(0, (ErrorKind.TIMEOUT, None))
    elif fate < 0.12:
        trail.insert(0, (ErrorKind.INVALID_OUTPUT, None))
    elif fate < 0.125:
        trail = [(ErrorKind.CONTENT_FILTERED, "1301")]
    model = MODELS[row % 3]
    for number, (kind, code) in enumerate(trail, 1):
        billed = kind in {None, ErrorKind.INVALID_OUTPUT}
        usage = Usage(400, 300 if row % 4 else 0, rng.randrange(20, 400)) if billed else Usage()
        latency = rng.lognormvariate(0.4, 0.6) if kind is not ErrorKind.CONCURRENCY else 0.01
        unknown = kind is ErrorKind.TIMEOUT
        yield Attempt(
            row=row, custom_id=f"q-{row}", attempt=number, model=model, started_at=at,
            latency_s=latency, in_flight=50, limit=60 + row // 1000 % 40,
            http_status=None if unknown else 200 if billed else 429, error_kind=kind,
            error_code=code, wait_s=None if number == len(trail) else 0.5, usage=usage,
            cost=RATES[model].cost(usage),
            billing=Billing.BILLED if billed else Billing.UNKNOWN if unknown else Billing.FREE,
            bound=10**9 if unknown else 0,
        )  # fmt: skip
        at += latency + 0.5


def _result(row: int, attempts: list[Attempt], rng: Random) -> Result:
    last = attempts[-1]
    ended = last.started_at + last.latency_s
    words = 200_000 if row == 0 else 200
    return Result(
        row=row, custom_id=f"q-{row}", model=last.model,
        status="ok" if last.error_kind is None else "failed",
        content=" ".join(rng.choices(WORDS, k=words)), finish_reason="stop", tool_calls=None,
        output=None, usage=sum((one.usage for one in attempts), Usage()),
        cost=sum(one.cost for one in attempts), currency="CNY", attempts=len(attempts),
        latency_s=last.latency_s, total_s=ended - attempts[0].started_at, finished_at=ended,
        error_kind=last.error_kind, error_code=last.error_code, http_status=200,
        response_id=f"{row:032}", response_model=last.model, metadata='{"label":"x"}',
    )  # fmt: skip


def _count(tally: Tally, settled: list[Settled], earlier: list[Attempt]) -> None:
    for attempt in earlier:
        tally.of(attempt.model, "CNY").add_attempt(attempt)
    for one in settled:
        assert one.attempt is not None
        model = tally.of(one.result.model, "CNY")
        model.add_attempt(one.attempt)
        model.add_result(one.result)


def read(folder: RunFolder) -> int:
    """Unpack every column of every part with pyarrow; how many rows there are."""
    paths = [*folder.results.iterdir(), *folder.attempts.iterdir()]
    return sum(batch.num_rows for path in paths for batch in batches_of(path, Format.ARROW))


def facts(folder: RunFolder) -> int:
    return read_facts(folder.path, "benchmark").summary.rows


def report(folder: RunFolder) -> int:
    return write_report(folder.path, "benchmark").stat().st_size


CASES = {"read": read, "facts": facts, "report": report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="make the run here, or take the one that is here")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        began = time.perf_counter()
        came_to = CASES[options.case](RunFolder(options.keep))
        seconds = time.perf_counter() - began
        peak = getrusage(RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rows or bytes": came_to, "seconds": seconds, "peak_mib": peak}))
        return
    with nullcontext() if options.keep else tempfile.TemporaryDirectory() as name:
        folder = RunFolder(options.keep or Path(str(name)) / "run")
        if not folder.path.exists():
            make_run(folder, options.rows)
        cases = {case: measured(case, folder) for case in CASES}
    cases["ratio"] = {"facts/read": cases["facts"]["seconds"] / cases["read"]["seconds"]}
    for case, found in cases.items():
        print(case, *(f"{word} {value:,.4g}" for word, value in found.items()))


def measured(case: str, folder: RunFolder) -> dict[str, float]:
    """The best of three, each in a fresh process."""
    words = ["-m", "benchmarks.report", "--case", case, "--keep", str(folder.path)]
    runs = [
        json.loads(subprocess.run([sys.executable, *words], check=True, capture_output=True).stdout)
        for _ in range(3)
    ]
    best: dict[str, float] = min(runs, key=lambda one: one["seconds"])
    return best


if __name__ == "__main__":
    main()

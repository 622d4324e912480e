"""The Python API: a run as a function, and its results as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

import anyio

from batchkit.errors import StoppedError, UsageError
from batchkit.execution import Console
from batchkit.launch import going_on, prepared
from batchkit.options import Options, OptionWords
from batchkit.progress import Progress
from batchkit.spec import load_spec
from batchkit.summary import RunSummary

if TYPE_CHECKING:
    import pyarrow as pa


def run(spec: str | Path, *, quiet: bool = True, **options: Unpack[OptionWords]) -> RunSummary:
    """Run `spec`, a request file or a job file, to its end or from where it stopped.

    `options` are those of `batchkit run` with underscores: `out`, `model`, `tier`, `endpoint`, …

    Raises:
        UsageError: it cannot start as asked; nothing was sent.
        StoppedError: it stopped early; calling it again goes on. Rows that failed raise nothing:
            `RunSummary.failed` counts them.
        RuntimeError: an event loop runs in this thread already (a notebook): await `run_async`.
    """
    return anyio.run(_run, spec, quiet, options, backend_options={"use_uvloop": True})


async def run_async(
    spec: str | Path, *, quiet: bool = True, **options: Unpack[OptionWords]
) -> RunSummary:
    """`run` for a thread whose event loop runs already. Cancelling it keeps what had arrived."""
    return await _run(spec, quiet, options)


async def _run(spec: str | Path, quiet: bool, options: OptionWords) -> RunSummary:
    loaded = load_spec(spec, Options(**options))
    console = Console(
        say=lambda _line: None,
        tell=None,
        progress=lambda total, done: Progress(total, done, quiet=quiet),
    )
    with prepared(loaded, console) as execution:
        ending = await execution.run()
    if ending.goes_on:
        with going_on(), prepared(loaded.going_on(), console) as execution:
            ending = await execution.run()
    if not ending.summary.complete:
        raise StoppedError("; ".join(reason.message for reason in ending.reasons))
    return ending.summary


def read_results(folder: str | Path) -> pa.Table:
    """The sealed results of a run, in input order."""
    import pyarrow.dataset as ds  # noqa: PLC0415  # heavy

    parts = Path(folder) / "results"
    files = sorted([*parts.glob("part-*.arrow"), *parts.glob("part-*.parquet")])
    if not files:
        raise UsageError(f"{folder}: holds no sealed results")
    table: pa.Table = ds.dataset([str(file) for file in files], format=_format(files[0])).to_table()
    return table


def _format(file: Path) -> Literal["parquet", "arrow"]:
    return "parquet" if file.suffix == ".parquet" else "arrow"

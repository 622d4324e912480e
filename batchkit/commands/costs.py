"""`batchkit costs`: what runs have cost, by day, model, job and key."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchkit.commands.parsing import add_command
from batchkit.commands.talk import say
from batchkit.errors import StoppedError, UsageError

if TYPE_CHECKING:
    from batchkit.costs import Group, Spent, Sums

BY = ("day", "model", "job", "key", "run")


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "costs",
        main,
        does="add up what runs have cost",
        example="batchkit costs runs --by day,key",
    )
    add = parser.add_argument
    add(
        "folders",
        metavar="DIR",
        type=Path,
        nargs="*",
        default=[Path("runs")],
        help="runs' folders, or folders of them (default: runs)",
    )
    add(
        "--by",
        metavar="NAME,…",
        default="day,model,job,key",
        help="what to add up by: day (in China), model, job, key, run (default: day,model,job,key)",
    )
    add("--to", choices=["arrow", "json"], help="as data (default: a table)")
    add("-O", "--output", metavar="FILE", help="where to, also a URL (default: stdout)")


def main(namespace: argparse.Namespace) -> int:
    """Exits with 3 if something could not be read: then a sum has no day for it, or lacks it."""
    from batchkit.costs import grouped
    from batchkit.destination import open_destination

    by = [name for name in namespace.by.split(",") if name]
    for name in by:
        if name not in BY:
            raise UsageError(f"--by: expected some of {', '.join(BY)}, got {name!r}")
    sums, is_whole = _read(list(_runs(namespace.folders)))
    found = grouped(sums, by)
    with open_destination(namespace.output) as file:
        file.write(_written(found, by, namespace.to))
    return 0 if is_whole else StoppedError.exit_code


def _runs(folders: Sequence[Path]) -> Iterator[Path]:
    from batchkit.costs import find_runs

    seen = set()
    for folder in folders:
        runs = find_runs(folder)
        if not runs:
            raise UsageError(f"{folder}: no runs here; name the folders that batchkit run has made")
        for run in runs:
            if run.resolve() not in seen:
                seen.add(run.resolve())
                yield run


def _read(runs: Sequence[Path]) -> tuple[Sums, bool]:
    from batchkit.costs import merge, run_costs
    from batchkit.journal import DamagedError
    from batchkit.reading import NotPlannedError

    sums: Sums = {}
    is_whole = True
    for path in runs:
        try:
            costs = run_costs(path)
        except NotPlannedError:
            say(f"{path}: has not begun; nothing to add up")
            continue
        except DamagedError as error:
            say(f"{error}: the run is left out")
            is_whole = False
            continue
        merge(sums, costs.sums)
        for fault in costs.damage:
            say(f"{fault}: what it cost is added without a day")
            is_whole = False
        if costs.is_running:
            say(f"{path}: is running; added up as far as it is")
    return sums, is_whole


def _written(sums: Sums, by: Sequence[str], to: str | None) -> bytes:
    import msgspec
    import pyarrow as pa

    from batchkit.costs import as_arrow, as_objects

    if to is None:
        return f"{_table(sums, by)}\n".encode()
    if to == "json":
        return msgspec.json.encode(as_objects(sums, by)) + b"\n"
    table = as_arrow(sums, by)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _table(sums: Sums, by: Sequence[str]) -> str:
    from batchkit.costs import grouped
    from batchkit.terminal import aligned

    rows = [_cells(group, spent, by) for group, spent in sums.items()]
    total = [_cells(group, spent, ()) for group, spent in grouped(sums, ()).items()]
    if by:
        rows += [("total", *[""] * (len(by) - 1), *cells) for cells in total]
    head = (*by, "attempts", "prompt", "completion", "cost", "", "", "may have been billed")
    kept = slice(None if any(row[-1] for row in rows) else -1)
    return aligned([row[kept] for row in (head, *rows)], left=len(by))


def _cells(group: Group, spent: Spent, by: Sequence[str]) -> tuple[str, ...]:
    from batchkit.accounting import to_text

    unknown = f"{spent.unknown_attempts:,} attempts, at most {to_text(spent.unknown_bound)}"
    return (
        *("-" if value is None else str(value) for value in (getattr(group, n) for n in by)),
        f"{spent.attempts:,}",
        f"{spent.prompt_tokens:,}",
        f"{spent.completion_tokens:,}",
        to_text(spent.cost),
        group.currency,
        "simulated" if group.simulated else "",
        unknown if spent.unknown_attempts else "",
    )

"""`batchkit export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from batchkit.commands.parsing import add_command
from batchkit.commands.talk import say
from batchkit.errors import UsageError


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "export",
        main,
        does="results in another format, also of a run that goes on",
        example="batchkit export runs/demo --to csv -O demo.csv --columns custom_id,content",
    )
    add = parser.add_argument
    add("folder", metavar="DIR", type=Path, help="the run's folder")
    add("--to", required=True, metavar="arrow|parquet|jsonl|csv|openai", help="the format")
    add("-O", "--output", metavar="FILE", help="where to, also a URL (default: stdout)")
    add("--columns", metavar="NAME,…", default="", help="only these columns, in this order")
    add("--only", choices=["ok", "failed"], help="only rows of this status")
    add(
        "--with-input",
        metavar="FILE",
        nargs="?",
        const="",
        help="the input's columns too; FILE says where the input is now",
    )
    add("--defuse", action="store_true", help="csv: no cell is a formula to a spreadsheet")


def main(namespace: argparse.Namespace) -> int:
    from batchkit.destination import open_destination
    from batchkit.export import Selection, check_selection, export
    from batchkit.writers import To

    if namespace.to not in set(To):
        raise UsageError(f"--to: expected one of {', '.join(To)}, got {namespace.to!r}")
    selection = Selection(
        to=To(namespace.to),
        columns=tuple(name for name in namespace.columns.split(",") if name),
        only=namespace.only,
        with_input=namespace.with_input is not None,
        input=Path(namespace.with_input) if namespace.with_input else None,
        defuse=namespace.defuse,
    )
    check_selection(selection)
    with open_destination(namespace.output) as file:
        done = export(namespace.folder, selection, file)
    missing = f"; {done.missing:,} rows have not settled yet" if done.missing else ""
    unchecked = "" if done.all_rows else "; the input was not checked to its end yet"
    say(f"{done.rows:,} rows{missing}{unchecked}")
    return 0

"""`batchkit export`: a file appears under its name when it is whole."""

from __future__ import annotations

import argparse
import sys
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
    add("-O", "--output", metavar="FILE", type=Path, help="where to (default: stdout)")
    add("--columns", metavar="NAME,…", default="", help="only these columns, in this order")
    add("--only", choices=["ok", "failed"], help="only rows of this status")


def main(namespace: argparse.Namespace) -> int:
    from batchkit.export import To, export

    if namespace.to not in set(To):
        raise UsageError(f"--to: expected one of {', '.join(To)}, got {namespace.to!r}")
    columns = [name for name in namespace.columns.split(",") if name]
    words = {"columns": columns, "only": namespace.only}
    if namespace.output is None:
        done = export(namespace.folder, To(namespace.to), sys.stdout.buffer, **words)
    else:
        unfinished = namespace.output.with_name(f"{namespace.output.name}.tmp")
        try:
            with unfinished.open("wb") as file:
                done = export(namespace.folder, To(namespace.to), file, **words)
            unfinished.replace(namespace.output)
        except OSError as error:
            raise UsageError(f"{namespace.output}: {(error.strerror or '').lower()}") from error
        finally:
            unfinished.unlink(missing_ok=True)
    missing = f"; {done.missing:,} rows have not settled yet" if done.missing else ""
    say(f"{done.rows:,} rows{missing}")
    return 0

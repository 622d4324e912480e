"""`batchkit init`: a commented job file from the columns of a data file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from batchkit.commands.parsing import add_command
from batchkit.commands.talk import say
from batchkit.errors import UsageError

KINDS = ("classify", "extract", "translate")


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "init",
        main,
        does="write a commented job file for a data file",
        example="batchkit init classify tickets.jsonl",
    )
    add = parser.add_argument
    add("kind", choices=KINDS, help="what is asked about each row")
    add("data", metavar="FILE", type=Path, help="the data: .jsonl, .parquet, .arrow")
    add(
        "-O",
        "--output",
        metavar="FILE",
        help="the job file, - for stdout (default: the data's name with .toml, here)",
    )


def main(namespace: argparse.Namespace) -> int:
    from batchkit.spec import spec_name
    from batchkit.starter import new_job

    if namespace.output == "-":
        print(new_job(namespace.kind, namespace.data, Path()), end="")
        return 0
    output = Path(namespace.output or f"{spec_name(namespace.data)}.toml")
    text = new_job(namespace.kind, namespace.data, output.parent)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{output}: is there already; give another name with -O") from None
    except OSError as error:
        raise UsageError(f"{output}: {(error.strerror or '').lower()}") from error
    say(f"{output}: written; look at it, then: batchkit try {output}")
    return 0

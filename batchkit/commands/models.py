"""`batchkit models`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from batchkit.commands.parsing import add_command


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "models",
        main,
        does="the effective model table",
        example="batchkit models --models more.toml",
    )
    add = parser.add_argument
    add("--models", metavar="FILE", type=Path, help="a TOML file that adds to the table")
    add("--json", action="store_true", help="as one JSON object")
    add("--forget", action="store_true", help="forget what was learned of accounts' limits")


def main(namespace: argparse.Namespace) -> int:
    import msgspec

    from batchkit.learned import LearnedLimits, state_folder
    from batchkit.spec import effective_table
    from batchkit.table import as_text, learned_text

    learned = LearnedLimits(state_folder(os.environ))
    if namespace.forget:
        print(f"{learned.forget()} learned limits forgotten")
        return 0
    table = effective_table(namespace.models)
    if namespace.json:
        sys.stdout.buffer.write(msgspec.json.encode(dict(table)) + b"\n")
    else:
        print(as_text(table))
        if known := learned.all():
            print(f"\n{learned_text(known)}")
    return 0

"""`batchkit plan`: what a job will cost and how long it will take, before anything is paid."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from batchkit.commands.parsing import add_command, add_out, add_sending, add_spec, options_of
from batchkit.commands.talk import say


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "plan",
        main,
        does="estimate tokens, cost and time on each model; sends nothing",
        example="batchkit plan jobs/extract_receipts/job.toml --tier V1",
    )
    add = parser.add_argument
    add_spec(parser)
    add_out(parser)
    add_sending(parser)
    add(
        "--sample",
        metavar="ROWS",
        type=int,
        help="really ask this many random rows first; they count as done when the job is run",
    )
    add(
        "--tokenizer",
        metavar="FILE",
        type=Path,
        help="count tokens with this tokenizer.json instead of the rule",
    )
    add("--json", action="store_true", help="as one JSON object")


def main(namespace: argparse.Namespace) -> int:
    import msgspec

    from batchkit.planning import make_forecast, show_forecast
    from batchkit.spec import load_spec

    spec = load_spec(namespace.spec, options_of(namespace))
    found = make_forecast(spec, say=say, sample=namespace.sample, tokenizer=namespace.tokenizer)
    if namespace.json:
        print(msgspec.json.encode(found).decode())
    else:
        show_forecast(found, sys.stdout)
    return 0

"""`batchkit try`: a few rows, really asked, before the rest is paid for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from batchkit.commands.parsing import add_command, add_sending, add_spec, options_of
from batchkit.commands.talk import say

ROWS = 5


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "try",
        main,
        does="ask a few rows, show prompts and answers side by side",
        example="batchkit try jobs/extract_receipts/job.toml -n 3 --endpoint sim",
    )
    add = parser.add_argument
    add_spec(parser)
    add_sending(parser)
    add("-n", dest="limit", metavar="ROWS", type=int, help=f"how many rows (default: {ROWS})")
    add("--full", action="store_true", help="texts in full, however long they are")
    add("--json", action="store_true", help="print one JSON object per row")


def main(namespace: argparse.Namespace) -> int:
    """The exit code is that of a run."""
    import tempfile

    from batchkit.execution import Console
    from batchkit.foreground import exit_code, last_words, run_in_foreground
    from batchkit.progress import Progress

    if namespace.limit is None:
        namespace.limit = ROWS
    with tempfile.TemporaryDirectory(prefix="batchkit-try-") as folder:
        namespace.out = Path(folder) / "run"
        console = Console(
            say=say, tell=None, progress=lambda total, done: Progress(total, done, quiet=True)
        )
        spec = _spec(namespace)
        ending = run_in_foreground(spec, console)
        if ending.summary.complete:
            _show(namespace, spec)
        costs = ending.summary.costs.items()
        total = ", ".join(f"{cost} {currency}" for currency, cost in costs) or "nothing"
        say(f"{ending.summary.ok} of {ending.summary.rows} rows ok; cost {total}; nothing is kept")
        for reason in last_words(ending):
            say(reason)
        return exit_code(ending)


def _spec(namespace: argparse.Namespace) -> Any:
    from batchkit.spec import load_spec

    return load_spec(namespace.spec, options_of(namespace))


def _show(namespace: argparse.Namespace, spec: Any) -> None:
    import msgspec

    from batchkit.api import read_results
    from batchkit.inputs import open_input
    from batchkit.trial import read_trial, show_trial

    tried = read_trial(open_input(spec), read_results(spec.out).to_pylist())
    if namespace.json:
        for one in tried:
            print(msgspec.json.encode(one).decode())
    else:
        show_trial(tried, sys.stdout, full=namespace.full)

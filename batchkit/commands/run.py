"""`batchkit run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from batchkit.commands.parsing import add_command, add_out, add_sending, add_spec, options_of
from batchkit.commands.report import write_after_run
from batchkit.commands.talk import ask, say
from batchkit.errors import UsageError

if TYPE_CHECKING:
    from batchkit.execution import Console


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "run",
        main,
        does="start a run, or go on where it stopped",
        example="batchkit run requests.jsonl --model glm-4-flash-250414 --tier V1",
    )
    add = parser.add_argument
    add_spec(parser)
    add_out(parser)
    add_sending(parser)
    add(
        "--confirm-above",
        metavar="AMOUNT",
        help="ask before sending, or in a script stop, if the estimate is above this",
    )
    _add_resuming(parser)
    add(
        "--eager",
        action="store_true",
        help="send the first rows while the others are still being checked",
    )
    add(
        "--metrics",
        metavar="[HOST:]PORT",
        help="serve Prometheus metrics while it runs, on loopback unless HOST is given",
    )
    add("--no-report", action="store_true", help="do not write report.html at the end")
    add(
        "--log-content",
        action="store_true",
        help="put answers and the provider's words into log.jsonl as well",
    )
    add("--json", action="store_true", help="print the summary as one JSON object")
    add("-q", "--quiet", action="store_true", help="no progress, no summary table")
    add("-v", "--verbose", action="store_true", help="say more about what is going on")


def _add_resuming(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--update",
        action="store_true",
        help="go on with a changed input or job: ask only the rows whose request changed",
    )
    add(
        "--retry-failed",
        metavar="KIND,…",
        nargs="?",
        const="",
        help="ask failed rows again, all or those of some kinds",
    )
    add(
        "--reask-damaged",
        action="store_true",
        help="ask rows again whose results were damaged in the run's folder",
    )
    add("--dry-run", action="store_true", help="say what would be asked and why; sends nothing")


def main(namespace: argparse.Namespace) -> int:
    """The exit code of the contract."""
    import msgspec

    from batchkit.execution import Console
    from batchkit.explain import explain
    from batchkit.folder import RunFolder
    from batchkit.foreground import exit_code, last_words, run_in_foreground
    from batchkit.inputs import open_input
    from batchkit.progress import Progress, say_beside_bars
    from batchkit.spec import load_spec
    from batchkit.summary import as_table

    spec = load_spec(namespace.spec, options_of(namespace))
    quiet = namespace.quiet
    console = Console(
        say=lambda line: None if quiet else say_beside_bars(line),
        tell=say_beside_bars if namespace.verbose else None,
        progress=lambda total, done: Progress(total, done, quiet=quiet),
        confirm=ask if sys.stdin.isatty() else None,
    )
    if namespace.dry_run:
        print(explain(RunFolder(spec.out), open_input(spec)))
        return 0
    with _watched(console, namespace.metrics) as watched:
        ending = run_in_foreground(spec, watched)
    if namespace.json:
        with suppress(OSError):  # who read it is gone; the exit code still says how it ended
            print(msgspec.json.encode(ending.summary).decode(), flush=True)
    elif not quiet:
        say(as_table(ending.summary))
    for line in last_words(ending):
        say(line)
    if not namespace.no_report and not ending.was_interrupted:
        write_after_run(spec.out, quiet=quiet)
    return exit_code(ending)


@contextmanager
def _watched(console: Console, address: str | None) -> Iterator[Console]:
    """`console`, with what `--metrics` asks for as a second view of the run."""
    if address is None:
        yield console
        return
    try:
        from batchkit.metrics import serving_metrics
    except ImportError as error:
        raise UsageError(
            "--metrics: prometheus-client is not installed; pip install 'batchkit[metrics]'"
        ) from error
    import msgspec

    from batchkit.progress import Views

    with serving_metrics(address) as (metrics, where):

        def both(total: int, done: int) -> Views:
            metrics.expect(total)
            return Views((console.progress(total, done), metrics))

        console.say(f"metrics at {where}")
        yield msgspec.structs.replace(console, progress=both)

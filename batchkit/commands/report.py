"""`batchkit report`: writes `report.html` anew, of a finished run or of one that goes on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from batchkit import __version__
from batchkit.commands.parsing import add_command
from batchkit.commands.talk import say
from batchkit.errors import UsageError
from batchkit.wording import reason


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "report",
        main,
        does="write report.html: where a run's time and money went",
        example="batchkit report runs/demo",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the run's folder")


def main(namespace: argparse.Namespace) -> int:
    from batchkit.report.writing import write_report

    try:
        path = write_report(namespace.folder, __version__)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise UsageError(f"{namespace.folder}: report.html cannot be written: {words}") from error
    say(f"report    {path}")
    return 0


def write_after_run(folder: Path, *, quiet: bool) -> None:
    """Write the report of a run that has ended; what goes wrong is said and changes nothing."""
    try:
        from batchkit.report.writing import write_report

        path = write_report(folder, __version__)
    except KeyboardInterrupt:
        say(
            f"report.html: not written, interrupted; batchkit report {folder} writes it at any time"
        )
    except UsageError as error:
        if not quiet:  # known before the run, too: nothing went wrong with it
            say(f"report.html: not written: {error}")
    except Exception as error:  # noqa: BLE001  # the run stands, whatever is wrong with its report
        say(f"report.html: not written: {reason(error)}")
    else:
        if not quiet:
            say(f"report    {path}")

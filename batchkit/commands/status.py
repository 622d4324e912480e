"""`batchkit status`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchkit import __version__
from batchkit.commands.parsing import add_command

if TYPE_CHECKING:
    from batchkit.status import RunStatus

_EVERY_S = 1.0
_EVERY_ELSEWHERE_S = 10.0  # where what was shown stays
_ENDED = {"complete", "stopped"}


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "status",
        main,
        does="counts, rates and cost of a run, also while it runs",
        example="batchkit status runs/demo --watch",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the run's folder")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument(
        "--watch", action="store_true", help="look again and again, until the run has ended"
    )


def main(namespace: argparse.Namespace) -> int:
    import msgspec

    from batchkit.status import as_text, read_status

    def encoded(status: RunStatus) -> str:
        return msgspec.json.encode(status).decode()

    shown = encoded if namespace.json else as_text
    with _screen(drawn=namespace.watch and not namespace.json) as show:
        while True:
            status = read_status(namespace.folder, __version__)
            show(shown(status))
            if not namespace.watch or status.state in _ENDED:
                return 0
            time.sleep(_EVERY_S if sys.stdout.isatty() else _EVERY_ELSEWHERE_S)


def _screen(*, drawn: bool) -> AbstractContextManager[Callable[[str], None]]:
    """Where looks are shown: in the same place on a terminal, one below the other elsewhere."""
    if not drawn or not sys.stdout.isatty():
        return nullcontext(lambda text: print(text, flush=True))
    from batchkit.terminal import redrawn

    return redrawn(sys.stdout)

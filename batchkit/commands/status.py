"""`batchkit status`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from batchkit import __version__
from batchkit.commands.parsing import add_command


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "status",
        main,
        does="counts, rates and cost of a run, also while it runs",
        example="batchkit status runs/demo",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the run's folder")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def main(namespace: argparse.Namespace) -> int:
    import msgspec

    from batchkit.status import as_text, read_status

    found = read_status(namespace.folder, __version__)
    print(msgspec.json.encode(found).decode() if namespace.json else as_text(found))
    return 0

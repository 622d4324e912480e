"""`batchkit tune`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from batchkit.commands.parsing import add_command, add_concurrency, ceilings_of
from batchkit.commands.talk import say
from batchkit.errors import UsageError


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "tune",
        main,
        does="change a run while it goes on: requests in flight, pause",
        example="batchkit tune runs/demo --concurrency glm-4-airx=3",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the run's folder")
    add_concurrency(parser)
    pausing = parser.add_mutually_exclusive_group()
    pausing.add_argument("--pause", action="store_true", help="send nothing more until --resume")
    pausing.add_argument("--resume", action="store_true", help="go on after --pause")


def main(namespace: argparse.Namespace) -> int:
    """The running process has done it when this returns."""
    from batchkit.tuning import Tune, send

    concurrency = ceilings_of(namespace.concurrency or [])
    for slots in concurrency.values():
        if slots < 1:
            raise UsageError(f"--concurrency: expected at least 1, got {slots}")
    paused = namespace.pause if namespace.pause or namespace.resume else None
    if paused is None and not concurrency:
        raise UsageError("tune: nothing to change; give --concurrency, --pause or --resume")
    for line in send(namespace.folder, Tune(concurrency=concurrency, paused=paused)):
        say(line)
    return 0

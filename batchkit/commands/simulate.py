"""`batchkit simulate`: its options and what it does are the simulator's own."""

from __future__ import annotations

from typing import Any

from batchkit.commands.parsing import add_command
from batchkit.simulator import command as simulator


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "simulate",
        simulator.main,
        does="serve the simulated GLM service in the foreground",
        example="batchkit simulate --port 8089 --latency lognormal:0.8,0.5",
    )
    simulator.add_options(parser)

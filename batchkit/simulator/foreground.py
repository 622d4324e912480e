"""Serving in the foreground, on loopback, until SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping

import anyio

from batchkit.models import Model
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.server import serve


def serve_until_signal(options: SimulatorOptions, table: Mapping[str, Model], port: int) -> None:
    """Serve, and say where on stdout once connections are accepted; raises `UsageError`."""
    anyio.run(_serve, options, table, port, backend_options={"use_uvloop": True})


async def _serve(options: SimulatorOptions, table: Mapping[str, Model], port: int) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serve(options, table=table, port=port) as running:
            sys.stdout.write(f"listening on {running.url}\n")
            sys.stdout.flush()
            async for _ in signals:
                return

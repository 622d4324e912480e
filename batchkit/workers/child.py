"""A worker's process: reads calls from a pipe, one at a time, and writes what they return.

It dies with its driver: by the end of the pipe, and on Linux by the kernel's hand, also while it is
stopped. It takes part in nothing else of the driver's: no terminal, no signals.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys

import anyio

from batchkit.descriptors import raise_descriptor_limit
from batchkit.garbage import rare_collections
from batchkit.workers.frames import (
    LENGTH_BYTES,
    ExchangeCall,
    StartCall,
    decode_call,
    framed,
)
from batchkit.workers.worker import Worker

BUFFER_BYTES = 2**20  # read ahead
_MOST_IN_FLIGHT = 100_000  # a run can be given more slots while it goes on
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Serve the pipe whose descriptor is the first argument, for the parent that is the second."""
    _die_with(int(sys.argv[2]))
    raise_descriptor_limit(_MOST_IN_FLIGHT)
    with socket.socket(fileno=int(sys.argv[1])) as pipe, rare_collections():
        anyio.run(_serve, pipe, backend_options={"use_uvloop": True})


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the kernel was asked
        raise SystemExit


async def _serve(pipe: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=pipe, limit=BUFFER_BYTES)
    worker = Worker()
    try:
        while (content := await read_frame(reader)) is not None:
            writer.write(framed(await _call(worker, decode_call(content))))
            await writer.drain()
    except ConnectionError:
        return  # the driver is gone
    finally:
        await worker.close()


async def _call(worker: Worker, call: StartCall | ExchangeCall) -> bytes:
    if isinstance(call, StartCall):
        await worker.start(call.config, call.epoch)
        return b""
    return await worker.exchange(call.rows, call.ack, call.wait, call.min_rows, call.max_rows)


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame's content; None at the end of the pipe."""
    try:
        length = await reader.readexactly(LENGTH_BYTES)
        return await reader.readexactly(int.from_bytes(length, "big"))
    except asyncio.IncompleteReadError:
        return None


if __name__ == "__main__":
    main()

"""A worker in a subprocess of its own, called through a pipe.

The process gets a pipe and an environment, and nothing else of ours: no terminal, no output, none
of the signals by which a person stops a run (Ctrl-C reaches every process of a terminal; a worker
drains when its driver does).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread

from batchkit.workers.child import BUFFER_BYTES, read_frame
from batchkit.workers.frames import ExchangeCall, StartCall, frame_of_call
from batchkit.workers.home import LostError

_NOT_FOR_WORKERS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_GONE_S = 5.0  # a process that not even SIGKILL has ended by then is left alone


class Process:
    """Made and used inside one event loop. `environ` is what the worker finds its keys in."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def name(self) -> str:
        return "a worker" if self._process is None else f"worker process {self._process.pid}"

    async def start(self, config: bytes, epoch: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _spawn(theirs, self._environ)
            except OSError as error:
                ours.close()
                raise LostError((error.strerror or str(error)).lower()) from error
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=BUFFER_BYTES)
        await self._call(StartCall(config, epoch))

    async def exchange(
        self, rows: bytes, ack: int, wait: float, min_rows: int, max_rows: int
    ) -> bytes:
        return await self._call(ExchangeCall(rows, ack, wait, min_rows, max_rows))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def wait_gone(self) -> None:
        if self._process is not None:
            await anyio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)

    async def close(self) -> None:
        self.kill()
        if self._writer is not None:
            self._writer.close()
        with anyio.move_on_after(_GONE_S, shield=True):
            await self.wait_gone()

    async def _call(self, call: StartCall | ExchangeCall) -> bytes:
        assert self._reader is not None
        assert self._writer is not None
        try:
            self._writer.write(frame_of_call(call))
            await self._writer.drain()
            content = await read_frame(self._reader)
        except OSError:
            content = None
        if content is None:
            raise LostError("ended by itself")
        return content


def _spawn(pipe: socket.socket, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    descriptor = pipe.fileno()
    # Blocked signals stay blocked through exec: there is no moment at which the worker hears one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_WORKERS)
    try:
        return subprocess.Popen(  # noqa: S603  # this interpreter and our own words
            [
                sys.executable,
                "-P",
                "-m",
                "batchkit.workers.child",
                str(descriptor),
                str(os.getpid()),
            ],
            env={
                **environ,
                "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[descriptor],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""llama.cpp's own OpenAI-compatible server inside this process, through `xllamacpp`.

The server's threads are C++ and need no GIL, but its birth and its end hold it, so both must be
bounded. Two rules see to that:

- A server is let go of only when its loop runs: one that is dropped before never stops. An answer
  of `/slots` proves it (the loop answers it); one of `/health` does not.
- Its connections are ended before it is: it waits without bound for a client that keeps one open
  while an answer is pending.

It closes a connection that is idle for 5 s and each one after 100 requests. A request whose client
leaves is worked on to its end all the same, unless it is streamed, and holds its slot until then.
"""

from __future__ import annotations

import http.client
import os
import socket
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from batchkit.errors import UsageError
from batchkit.local.model_row import CONTEXT, SLOTS

HOST = "127.0.0.1"
_CONNECTIONS = 64  # each holds a thread; one beyond may wait for another to be idle for 5 s
_READY_WITHIN = 30.0  # seconds from a loaded model to its loop's first answer; it takes 5 ms
_STOP_WITHIN = 5.0  # seconds in which connections must end; the server looks at them every second


@contextmanager
def serve_local(
    model: Path, *, slots: int = SLOTS, context_per_slot: int = CONTEXT
) -> Iterator[str]:
    """The endpoint (`http://127.0.0.1:PORT/v1`) of a server for `model`, stopped at the end.

    It answers to any model name. Requests that are in flight at the end get no answer.

    Raises:
        UsageError: `xllamacpp` is not installed, or llama.cpp cannot load `model`.
    """
    # An interrupt is raised in the main thread: between a server's birth and its first answer it
    # would drop a server whose loop does not run yet.
    with ThreadPoolExecutor(1, "llama.cpp start") as starter:
        server = starter.submit(_start, model, slots, context_per_slot).result()
    try:
        yield f"{server.listening_address}/v1"
    finally:
        _end_connections(_port(server))
        del server  # the only reference: this stops it


def _start(model: Path, slots: int, context_per_slot: int) -> Any:
    xllamacpp = _import_xllamacpp()
    try:
        server = xllamacpp.Server(_params(xllamacpp, model, slots, context_per_slot))
    except RuntimeError as error:
        raise UsageError(
            f"{model}: llama.cpp (xllamacpp {xllamacpp.__version__}) cannot load it; "
            "give another GGUF with --local-model PATH"
        ) from error
    _wait_loop(_port(server))
    return server


def _import_xllamacpp() -> Any:
    try:
        import xllamacpp  # noqa: PLC0415  # an optional extra of 100 MB
    except ImportError as error:
        raise UsageError(
            f"--endpoint local: cannot import xllamacpp: {error}; pip install 'batchkit[local]'"
        ) from error
    return xllamacpp


def _params(xllamacpp: Any, model: Path, slots: int, context_per_slot: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {model.stem}  # else answers name the file's whole path as their model
    params.hostnames = [HOST]
    params.port = 0  # the system picks a free one as it binds, so nobody can take it in between
    params.n_parallel = slots
    params.n_ctx = slots * context_per_slot
    params.n_threads_http = _CONNECTIONS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.verbosity = -1  # stdout and stderr are ours; llama.cpp's default logs to stderr
    params.ui = False
    params.endpoint_slots = True  # `_wait_loop` asks it
    params.cache_ram_mib = 0  # else up to 8 GiB of past prompts are kept
    return params


def _threads() -> int:
    """All cores but one, which is the client's.

    llama.cpp's threads spin until the slowest is done, so one that has to wait for a core stalls
    all: on two busy cores two threads gave 8 to 86 tokens/s and one gave 48 to 77 (idle: 160, 90).
    """
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores that this process may use
        return max(1, len(os.sched_getaffinity(0)) - 1)
    return max(1, (os.cpu_count() or 1) - 1)


def _port(server: Any) -> int:
    return int(server.listening_address.rpartition(":")[2])


def _wait_loop(port: int) -> None:
    connection = http.client.HTTPConnection(HOST, port, timeout=_READY_WITHIN)
    try:
        connection.request("GET", "/slots")
        status = connection.getresponse().status
    finally:
        connection.close()
    assert status == 200, f"the local server answered {status} to /slots"


def _end_connections(port: int) -> None:
    """End the server's side of its connections, so that nothing is pending when it stops."""
    deadline = time.monotonic() + _STOP_WITHIN
    while _shut_sockets((HOST, port)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _shut_sockets(address: tuple[str, int]) -> int:
    """Shut this process's sockets that are bound to `address`; returns how many there were."""
    found = 0
    for fd in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        with suppress(OSError):  # closed meanwhile, or shut before
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            with socket.socket(fileno=os.dup(fd)) as copy:
                if copy.getsockname() == address:
                    found += 1
                    copy.shutdown(socket.SHUT_RDWR)
    return found

"""What every benchmark of whole programs needs: processes on cores of their own, and what they use.

A server runs on one core, what is measured on another, so that neither takes the other's time. What
a program used is what the system says of it when it has ended (`wait4`), its start included.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]
LIBRARIES = ("aiohttp", "anyio", "httptools", "msgspec", "pyarrow", "uvloop")


class Used(NamedTuple):
    """What one program took."""

    seconds: float
    cpu_s: float
    peak_mib: float
    code: int
    output: str


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started inside run on this core; where that cannot be said, on any."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_pinned(
    command: Sequence[str],
    *,
    core: int = CLIENT_CORE,
    environment: Mapping[str, str] | None = None,
) -> Used:
    """Run `command` on one core and wait for it; stderr is shown if it fails."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    given.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        with on_core(core):
            process = subprocess.Popen(command, env=given, cwd=ROOT, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        if process.returncode:
            err.seek(0)
            sys.stderr.write(err.read().decode(errors="replace")[-2000:])
        return Used(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
            process.returncode,
            out.read().decode(errors="replace"),
        )


@contextmanager
def serving(*options: str, core: int = SERVER_CORE) -> Iterator[str]:
    """The address of an instant server on its own core."""
    command = [sys.executable, "-m", "benchmarks.instant_server", *options]
    with on_core(core):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def seen(address: str) -> dict[str, Any]:
    """What the server at `address` has seen since it was asked last."""
    with urllib.request.urlopen(address) as reply:  # noqa: S310  # our own server on loopback
        found: dict[str, Any] = json.loads(reply.read())
        return found


def make_rows(path: Path, rows: int, chars: int) -> Path:
    """A request file: `rows` requests whose prompts have about `chars` characters."""
    words = ("which of these is meant, and why is it not one of the others? " * (chars // 62 + 1))[
        :chars
    ]
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            messages = [{"role": "user", "content": f"question {row}: {words}"}]
            line = {"custom_id": f"q-{row}", "model": "glm-4-flash-250414", "messages": messages}
            file.write(json.dumps(line) + "\n")
    return path


def machine() -> str:
    """What the figures were measured on, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cpu = next(names, platform.machine())
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{cpu}, {len(CORES)} cores, CPython {platform.python_version()}; {libraries}"


def keep(name: str, text: str, figures: Any) -> None:
    """Put a benchmark's table and its figures into `benchmarks/results`."""
    RESULTS.mkdir(exist_ok=True)
    command = f"python -m {__package__}.{name} {' '.join(sys.argv[1:])}".rstrip()
    head = f"{command}\n{machine()}\n\n"
    (RESULTS / f"{name}.txt").write_text(head + text + "\n", encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )

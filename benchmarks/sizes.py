"""A whole run by its size: time to the first request, memory, time and CPU; and the same resumed.

    python -m benchmarks.sizes [--rows 10000 --rows 1000000] [--in-flight 1000] [--keep]

`batchkit run` on one core against an instant server on another, short prompts (0.2 KB) and answers
of 1.5 KB. *first request* is the time from the process's start to its first request at the server;
*read twice* is what reading the file twice, line by line and decoded, takes on the same core.
*eager* is a run with `--eager`, killed (SIGKILL) when a tenth of the rows were sent. *resumed* is a
run that was killed so, begun again and killed again when another tenth was sent. No report is
written. 10,000,000 rows take an hour on a small machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import (
    CLIENT_CORE,
    ROOT,
    Used,
    keep,
    make_rows,
    on_core,
    run_pinned,
    seen,
    serving,
    table,
)

PROMPT_CHARS = 130
READ_TWICE = """
import sys, time, msgspec
began = time.perf_counter()
for _ in range(2):
    with open(sys.argv[1], "rb") as file:
        for line in file:
            msgspec.json.decode(line)
print(time.perf_counter() - began)
"""


def command(file: Path, address: str, out: Path, in_flight: int, transport: str) -> list[str]:
    words = ["run", str(file), "--endpoint", address, "--tier", "V3", "--out", str(out), "--quiet"]
    words += [
        "--concurrency",
        str(in_flight),
        "--transport",
        transport,
        "--processes",
        "1",
        "--no-report",
    ]
    return [sys.executable, "-m", "batchkit.cli", *words]


def run_once(words: list[str], address: str) -> tuple[Used, float, int]:
    """What the run used, the seconds to its first request, and its requests."""
    seen(address)
    began = time.time()
    used = run_pinned(words)
    found = seen(address)
    first_s = (found["first_at"] or time.time()) - began
    return used, first_s, found["requests"]


def run_and_kill(words: list[str], address: str, after: int) -> tuple[float, float]:
    """Run until `after` requests were sent, then SIGKILL: seconds to the first, peak in MiB."""
    seen(address)
    began, first_at, sent, ended = time.time(), None, 0, 0
    with on_core(CLIENT_CORE):
        process = subprocess.Popen(words, cwd=ROOT)
    while sent < after and not ended:
        time.sleep(0.2)
        found = seen(address)
        sent += found["requests"]
        first_at = first_at or found["first_at"]
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if not ended:
        process.kill()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return (first_at or time.time()) - began, usage.ru_maxrss / 1024


def measure(rows: int, in_flight: int, transport: str, here: Path, address: str) -> dict[str, Any]:
    """One size: a whole run, the beginning of an eager one, and one that was killed and resumed."""
    file = make_rows(here / "q.jsonl", rows, PROMPT_CHARS)
    read = run_pinned([sys.executable, "-c", READ_TWICE, str(file)])
    words = command(file, address, here / "out", in_flight, transport)
    used, first_s, _ = run_once(words, address)
    shutil.rmtree(here / "out")
    eager_first_s, eager_peak = run_and_kill([*words, "--eager"], address, rows // 10)
    shutil.rmtree(here / "out")
    run_and_kill(words, address, rows // 10)
    resume_s, resume_peak = run_and_kill(words, address, rows // 10)
    shutil.rmtree(here / "out")
    return {
        "rows": rows,
        "in_flight": in_flight,
        "transport": transport,
        "seconds": used.seconds,
        "cpu_s": used.cpu_s,
        "peak_mib": used.peak_mib,
        "first_request_s": first_s,
        "read_twice_s": float(read.output),
        "eager_first_request_s": eager_first_s,
        "eager_peak_mib": eager_peak,
        "resume_first_request_s": resume_s,
        "resume_peak_mib": resume_peak,
        "code": used.code,
    }


def as_text(found: list[dict[str, Any]]) -> str:
    head = ["rows", "in flight", "seconds", "CPU µs a row", "peak MiB", "first request, s"]
    head += ["read twice, s", "ratio", "eager: first request, s", "ratio", "peak MiB"]
    head += ["resumed: first request, s", "peak MiB"]
    lines = [head]
    for one in found:
        first, twice = one["first_request_s"], one["read_twice_s"]
        eager_first = one["eager_first_request_s"]
        lines.append(
            [
                f"{one['rows']:,}",
                f"{one['in_flight']:,}",
                f"{one['seconds']:,.1f}",
                f"{one['cpu_s'] / one['rows'] * 1e6:.0f}",
                f"{one['peak_mib']:.0f}",
                f"{first:.2f}",
                f"{twice:.2f}",
                f"{first / twice:.2f}",
                f"{eager_first:.2f}",
                f"{eager_first / twice:.2f}",
                f"{one['eager_peak_mib']:.0f}",
                f"{one['resume_first_request_s']:.2f}",
                f"{one['resume_peak_mib']:.0f}",
            ]
        )
    return table(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--in-flight", type=int, default=1000)
    parser.add_argument("--transport", default="aiohttp")
    parser.add_argument("--keep", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    found = []
    with serving() as address:
        for rows in options.rows or [10_000, 1_000_000]:
            with tempfile.TemporaryDirectory() as folder:
                here = Path(folder)
                found.append(measure(rows, options.in_flight, options.transport, here, address))
            print(found[-1], file=sys.stderr)
    text = as_text(found)
    print(text)
    if options.keep:
        keep("sizes", text, found)


if __name__ == "__main__":
    main()

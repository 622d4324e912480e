"""One command of batchkit in a process of its own, and what it took.

`python -m benchmarks.command '["export", "DIR", …]'` runs it and prints seconds and peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from batchkit.cli import main as batchkit
from benchmarks.memory import peak_mib


def measure(case: str, rows: int, *words: str) -> None:
    """Run the command `words` in its process and print what it took, under the name `case`."""
    command = [sys.executable, "-m", "benchmarks.command", json.dumps(words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    figures = [f"{name} {value:,.1f}" for name, value in found.items()]
    print(f"{case} rows {rows:,}", *figures, flush=True)


def main() -> None:
    words = json.loads(sys.argv[1])
    began = time.perf_counter()
    assert batchkit(words) == 0
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()

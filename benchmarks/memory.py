"""The memory that a process has used at most."""

from __future__ import annotations

from pathlib import Path


def peak_mib() -> float:
    """The peak of this process's resident memory (Linux).

    `getrusage` would count what the parent had when it started this process, too.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM in /proc/self/status")

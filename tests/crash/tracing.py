"""strace as the attacker: it sees every write and fsync of a real process, and can spoil them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest


def tracing_works() -> bool:
    found = shutil.which("strace")
    return found is not None and os.system(f"{found} -qq -o /dev/null true 2>/dev/null") == 0  # noqa: S605


needs_strace = pytest.mark.skipif(
    "BATCHKIT_REQUIRE_STRACE" not in os.environ and not tracing_works(),
    reason="strace is not there or may not trace (Debian: apt-get install strace)",
)


def spoiling(
    syscall: str,
    paths: Iterable[Path],
    what: str,
    *,
    when: str | None = None,
    record: Path | None = None,
) -> list[str]:
    """A command prefix: `syscall`s on `paths` are spoiled by `what`, as strace's `inject` has it.

    The victim stays the direct child, so that signals and exit codes are its own. `record` gets a
    line for each of the calls, see `spoiled`.
    """
    rule = f"inject={syscall}:{what}" + (f":when={when}" if when else "")
    places = [word for path in paths for word in ("-P", str(path))]
    options = [
        "-D",
        "-f",
        "-qq",
        "-o",
        str(record or os.devnull),
        "-e",
        f"trace={syscall}",
        "-e",
        rule,
    ]
    return ["strace", *options, *places]


def spoiled(record: Path) -> int:
    """How many calls were spoiled."""
    return record.read_text("utf-8").count("(INJECTED)")

"""What commands say: talk goes to stderr, results and data to stdout."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """A line on stderr; a stream that is gone never stops anything."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def ask(words: str) -> bool:
    """Whether a person wants to go on after hearing `words`."""
    say(words)
    sys.stderr.write("go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}

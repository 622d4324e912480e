"""`batchkit run`, from a request file to sealed parts, against bare loops and peers.

    python -m benchmarks.whole [--in-flight 300 --in-flight 1000] [--peer-python PATH]

All of them do the rows of the same file on the same server, which answers at once with 1.5 KB, each
as a process of its own on one core, the server on another. Requests per second are the whole
process's, from its start to its end; the best of the rounds counts. Slow programs get fewer rows.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.measuring import Used, keep, make_rows, run_pinned, seen, serving, table
from benchmarks.whole.peers import MISSING, PEERS

PROMPT_CHARS = 1900  # with its JSON a body of about 2 KB
SLOW_ROWS = 3_000  # for a peer, whose start takes as little of that as ours of 100,000
BASE, PEER = "bare aiohttp", "openai"
FAST = [
    "bare aiohttp",
    "bare httptools",
    "bare pyreqwest",
    "batchkit aiohttp",
    "batchkit httptools",
]


class Case(msgspec.Struct):
    """A program and the best that it did."""

    name: str
    in_flight: int
    rows: int
    seconds: float | None = None
    cpu_ms: float | None = None  # per request
    peak_mib: float | None = None
    note: str = ""

    @property
    def rate(self) -> float | None:
        """Requests per second."""
        return self.rows / self.seconds if self.seconds else None

    @property
    def pace(self) -> float | None:
        """Requests per millisecond of processor time."""
        return 1 / self.cpu_ms if self.cpu_ms else None


def command(case: Case, file: Path, address: str, out: Path, peer: str) -> list[str]:
    """What runs the program of `case`."""
    kind, _, detail = case.name.partition(" ")
    in_flight = case.in_flight
    if kind == "bare":
        module = ["-m", "benchmarks.whole.bare", detail]
        return [sys.executable, *module, str(file), address, str(in_flight)]
    if kind == "batchkit":
        words = ["run", str(file), "--endpoint", address, "--tier", "V3", "--out", str(out)]
        words += ["--concurrency", str(in_flight), "--transport", detail or "aiohttp"]
        words += ["--processes", "1", "--no-report"]  # there is one core
        return [sys.executable, "-m", "batchkit.cli", *words]
    python = peer if kind in {"litellm", "curator"} else sys.executable
    module = ["-m", "benchmarks.whole.peers", kind]
    return [python, *module, str(file), address, str(in_flight), str(out)]


def measure(case: Case, files: dict[int, Path], address: str, peer: str) -> None:
    """Run `case` once, and keep what it took if that is its best."""
    if case.note:
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        words = command(case, files[case.rows], address, out, peer)
        seen(address)
        used: Used = run_pinned(words)
        answered = seen(address)["requests"]
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir()
    if used.code == MISSING:
        case.note = "not installed"
    elif used.code or answered < case.rows:
        case.note = f"failed: exit code {used.code}, {answered:,} of {case.rows:,} requests"
    elif case.seconds is None or used.seconds < case.seconds:
        case.seconds = used.seconds
        case.cpu_ms = used.cpu_s / case.rows * 1000
        case.peak_mib = used.peak_mib


def as_text(cases: list[Case]) -> str:
    """One line a case, its ratios within its own run."""
    head = ["", "in flight", "rows", "req/s", "of bare", "x openai", "CPU ms", "CPU of bare"]
    lines = [[*head, "peak MiB", ""]]
    for case in cases:
        beside = {other.name: other for other in cases if other.in_flight == case.in_flight}
        lines.append(
            [
                case.name,
                f"{case.in_flight:,}",
                f"{case.rows:,}",
                f"{case.rate:,.0f}" if case.rate else "",
                _ratio(case.rate, beside, BASE, "rate", "{:.0%}"),
                _ratio(case.rate, beside, PEER, "rate", "{:.1f}"),
                f"{case.cpu_ms:.3f}" if case.cpu_ms else "",
                _ratio(case.pace, beside, BASE, "pace", "{:.0%}"),
                f"{case.peak_mib:.0f}" if case.peak_mib else "",
                case.note,
            ]
        )
    return table(lines)


def _ratio(value: float | None, beside: dict[str, Case], name: str, key: str, words: str) -> str:
    base: float | None = getattr(beside[name], key) if name in beside else None
    return words.format(value / base) if value and base else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--in-flight", type=int, action="append")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", help="a case by its name; repeatable")
    parser.add_argument("--peer-python", default=sys.executable, help="for litellm and curator")
    parser.add_argument("--keep", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    cases = [
        Case(name, in_flight, min(options.rows, SLOW_ROWS if name in PEERS else options.rows))
        for in_flight in options.in_flight or [300, 1000]
        for name in [*FAST, *PEERS]
        if not options.only or name in options.only
    ]
    with tempfile.TemporaryDirectory() as folder, serving() as address:
        files = {
            rows: make_rows(Path(folder) / f"{rows}.jsonl", rows, PROMPT_CHARS)
            for rows in {case.rows for case in cases}
        }
        for turn in range(options.rounds):
            for case in cases:
                if turn == 0 or case.name not in PEERS:  # a peer's one turn lasts as long as ours
                    measure(case, files, address, options.peer_python)
                    print(case.name, case.in_flight, case.rate, case.note, file=sys.stderr)
    text = as_text(cases)
    print(text)
    if options.keep:
        keep("whole", text, msgspec.to_builtins(cases))


if __name__ == "__main__":
    main()

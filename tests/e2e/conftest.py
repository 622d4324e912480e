"""A simulated service per test, and the command line as a function."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from batchkit.cli import main
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.server import Running, serve_in_thread
from batchkit.spec import TransportName
from tests.e2e.transports import Opens, opens

KEYS = ("ZAI_API_KEY", "ZHIPUAI_API_KEY", "OPENAI_API_KEY")


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]
Simulate = Callable[..., Running]


@pytest.fixture(params=TransportName)
def transport(request: pytest.FixtureRequest) -> Opens:
    """Opens each of the transports in turn; every one keeps the same promises."""
    name: TransportName = request.param
    if find_spec(name.value) is None and "BATCHKIT_REQUIRE_FAST" not in os.environ:
        pytest.skip(f"{name.value} is not installed")
    return opens(name)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ".state"))
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def batchkit(capfdbinary: pytest.CaptureFixture[bytes]) -> Command:
    """The command line, in this process."""

    def run(*words: str | Path, report: bool = False) -> Done:
        """A run writes a report only if the test is about it: drawing takes a while."""
        capfdbinary.readouterr()
        quick = ["--no-report"] if words[0] == "run" and not report else []
        try:
            code = main([*(str(word) for word in words), *quick])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfdbinary.readouterr()
        return Done(code, captured.out.decode(), captured.err.decode())

    return run


@pytest.fixture
def simulate() -> Iterator[Simulate]:
    """Starts simulated services that end with the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> Running:
            return stack.enter_context(serve_in_thread(SimulatorOptions(**options)))

        yield start


def write_rows(path: Path, rows: list[Any]) -> Path:
    """A JSONL file of `rows`."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def prompts(count: int, **rest: Any) -> list[dict[str, Any]]:
    """Flat request rows."""
    return [
        {"custom_id": f"q-{n}", "model": "glm-4-flash-250414", "prompt": f"Question {n}?", **rest}
        for n in range(count)
    ]


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = msgspec.json.decode((folder / "summary.json").read_bytes())
    return summary

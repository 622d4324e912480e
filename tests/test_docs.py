"""What the README says is so: its commands run, its tables are the code's, its tests exist."""

from __future__ import annotations

import argparse
import ast
import asyncio
import inspect
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest

from batchkit import cli, parts
from batchkit.errors import ErrorKind, StoppedError, UsageError
from batchkit.foreground import SIGNALS
from batchkit.log import EVENTS
from batchkit.spec import Format, effective_table
from batchkit.summary import RunSummary
from batchkit.table import as_text
from batchkit.verdicts import BY_CODE
from tests.e2e.conftest import KEYS
from tests.local.test_server import unavailable

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


_FENCED = re.compile(r"^(?:`([\w.]+)`:\n\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block."""

    file: str  # named in the line before it: the block shows its content
    language: str
    text: str

    @property
    def steps(self) -> list[str]:
        """The commands of a shell block."""
        return re.split(r" && |\n", self.text.strip()) if self.language == "sh" else []


BLOCKS = [Block(*found) for found in _FENCED.findall(README)]
FIRST, SECOND = [block for block in BLOCKS if block.language == "sh"][:2]
STEPS = [step for block in BLOCKS for step in block.steps]


def is_batchkit(step: str) -> bool:
    return Path(step.split(maxsplit=1)[0]).name == "batchkit"


def section(head: str) -> str:
    """The text from `head` to the next heading."""
    return README.partition(f"{head}\n")[2].partition("\n## ")[0]


def table(head: str) -> list[list[str]]:
    """The cells of the first table behind the line `head`, without its own head."""
    lines = README.partition(f"{head}\n")[2].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = takewhile(lambda line: line.startswith("|"), lines[first:])
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows][2:]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def subparsers() -> dict[str, argparse.ArgumentParser]:
    (choices,) = [
        action.choices
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(choices)


def options(name: str) -> set[str]:
    return {word for action in subparsers()[name]._actions for word in action.option_strings}


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader who has the jobs and the files that the README shows."""
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs")
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "line", dict.fromkeys([*filter(is_batchkit, STEPS), *re.findall(r"`(batchkit [^`]+)`", README)])
)
def test_every_command_line_is_understood(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, *words = shlex.split(line)
    if len(words) == 1:
        assert words[0] in subparsers()
        return
    with suppress(SystemExit):  # --help ends so, and bad usage, which is said on stderr
        cli._parser().parse_args(words)
    assert capsys.readouterr().err == ""


def test_the_examples_run_from_top_to_bottom(
    reader: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one directory, as a reader would; what needs a key is sent to the simulator."""
    namespace: dict[str, Any] = {}
    ran = 0
    for block in BLOCKS:
        for step in filter(is_batchkit, block.steps):
            _, command, *words = shlex.split(step)
            if block is FIRST or command == "simulate":
                continue
            sending = ["--endpoint", "sim"] if command in {"run", "try", "plan"} else []
            assert (step, cli.main([command, *words, *sending])) == (step, 0)
            ran += 1
        if block.language == "python":
            run_as_in_a_notebook(block.text, namespace)
            ran += 1
    assert ran >= 10
    out = capfd.readouterr().out
    assert "2 of 2 rows ok for 0 CNY" in out
    assert (namespace["summary"].ok, namespace["summary"].complete) == (2, True)


def run_as_in_a_notebook(text: str, namespace: dict[str, Any]) -> None:
    code = compile(text, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    awaitable = FunctionType(code, namespace)()
    if inspect.iscoroutine(awaitable):
        asyncio.run(awaitable)


@pytest.mark.timeout(300)
def test_the_first_command_runs_on_the_local_model(
    reader: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    *_, step = FIRST.steps
    assert is_batchkit(step)
    code = cli.main([*shlex.split(step)[1:], "--limit", "3"])
    said = capfd.readouterr().err
    if code == UsageError.exit_code:
        unavailable(said)
    assert code == 0, said
    assert re.search(r"^ok +3\b", said, re.MULTILINE)
    labels = [line.split()[0] for line in BLOCKS[1].text.splitlines()]
    assert [line.split()[0] for line in said.splitlines()[-len(labels) :]] == labels


def test_the_second_command_is_what_ci_runs() -> None:
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert [step for step in SECOND.steps if step not in ci] == []
    assert SECOND.steps[-1].startswith(".venv/bin/python -m pytest")


def test_every_option_is_documented() -> None:
    rows = table("A flag wins over the job file, the job file over the default:")
    documented = [option for row in rows for option in re.findall(r"`(--?[\w-]+)", row[0])]
    assert sorted(documented) == sorted(options("run"))
    for name in ("check", "status", "models"):
        assert options(name) - {"--forget", "--watch"} <= options("run")
    for name in ("models", "export", "try", "plan", "tune"):
        for option in options(name) - options("run"):
            assert option in README, option


def test_every_column_is_documented_in_order_and_with_its_type() -> None:
    layout = parts.Layout(Path(), Format.ARROW, None, (), {}, votes=True, dedupe=True)
    for head, schema in (
        ("Columns of results:", parts.results_schema(layout)),
        ("Columns of attempts:", parts.attempts_schema(layout)),
    ):
        documented = [
            (name, row[1]) for row in table(head) for name in names(row[0]) if name != "keep"
        ]
        assert [column for column in documented if column[0] != "output"] == [
            (field.name, str(field.type)) for field in schema
        ]


def test_every_key_of_the_summary_is_documented() -> None:
    rows = table("`summary.json`, and `--json`, for the run and again per model under `models`:")
    documented = [name for row in rows for name in names(row[0])]
    assert sorted([*documented, "models"]) == sorted(RunSummary.__struct_fields__)


def test_every_event_of_the_log_is_documented_with_its_level() -> None:
    (head,) = re.findall(r"^Events of `log.jsonl`, .*$", README, re.MULTILINE)
    rows = table(head)
    documented = {names(event)[0]: level for event, level, _ in rows}
    assert documented == dict(EVENTS)


def test_every_exit_code_is_documented() -> None:
    documented = [int(code) for row in table("## When something goes wrong") for code in
                  row[0].split(", ")]  # fmt: skip
    stopped = {UsageError.exit_code, StoppedError.exit_code, *SIGNALS.values()}
    assert documented == sorted({0, 1, *stopped})


def test_every_kind_of_error_is_documented_with_its_codes() -> None:
    documented: dict[str, set[str]] = {}
    for kind, codes, _ in table("**429 and other failures** are told apart by the provider's code, "
                                "never by the message:"):  # fmt: skip
        documented[kind.strip("`")] = set(expanded(codes))
    coded = {str(kind): {c for c, v in BY_CODE.items() if v.kind is kind} for kind in ErrorKind}
    assert documented == coded


def expanded(codes: str) -> Iterator[str]:
    """`1000–1002, 1300` as the four codes that it stands for."""
    for given in filter(None, codes.split(", ")):
        first, _, last = given.partition("–")
        yield from map(str, range(int(first), int(last or first) + 1))


def test_the_model_table_is_the_one_that_is_built_in() -> None:
    assert f"```text\n{as_text(effective_table(None))}\n```" in section("## The model table")


def test_every_dependency_has_a_sentence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras.pop("all") == [f"batchkit[{','.join(extras)}]"]
    declared = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    documented = [row[0] for row in table("Dependencies:")]
    assert documented == [re.split(r"[><=;\s]", requirement)[0] for requirement in declared]


def test_every_module_that_is_named_exists() -> None:
    rows = table("An import points only downwards, which `tests/test_layering.py` enforces:")
    package = ROOT / "batchkit"
    missing = [
        name
        for row in rows
        for name in names(row[1])
        if not (package / name).is_dir() and not (package / f"{name}.py").is_file()
    ]
    assert missing == []


def test_every_promise_names_a_test_that_exists() -> None:
    proofs = [names(row[1]) for row in table("## What it promises")]
    assert all(proofs)
    missing = [
        proof
        for promised in proofs
        for proof in promised
        for path, _, test in [proof.partition("::")]
        if not (ROOT / path).is_file()
        or f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_every_link_into_the_repository_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []

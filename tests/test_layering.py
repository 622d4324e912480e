"""An import points only downwards, and each third-party library has one owner."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import batchkit

ROOT = Path(batchkit.__file__).parent

LAYERS = [
    # words
    {"", "errors", "wording"},
    {"strict_json", "verdicts"},
    {"records", "local.model_row"},
    # pure
    {"models", "tokens", "binding", "descriptors", "document"},
    {"accounting", "breaker", "clock", "garbage", "splitting"},
    {
        "document_job",
        "stop_words",
        "stopping",
        "rows",
        "feed",
        "purse",
        "staff",
        "quota",
        "shares",
        "room",
        "retry",
        "template",
    },
    {"gate", "tally", "schema", "sections", "normal", "numerals"},
    {"live", "patience"},
    {"job", "labels", "fidelity", "examples", "joining"},
    {"given_schema", "options", "option_checks"},
    {"spec"},
    {"plan", "summary", "adaptive", "estimate", "prefix_order"},
    {"growth", "lane_plan"},
    # one I/O each
    {"locks", "state_file"},
    {
        "folder",
        "journal",
        "history",
        "learned",
        "leases",
        "tokenizer",
        "log",
        "destination",
        "session",
        "sources",
        "providers",
        "progress",
        "terminal",
    },
    {"glossary"},
    {"translation"},
    {"events", "parts", "requests", "endpoints", "table", "tuning", "scores", "dividing"},
    {"unseal", "revision", "duplicates", "originals", "invalid_rows"},
    {"damage", "prepare", "assembly", "mending"},
    {"status", "forecast", "measuring", "planned_rows"},
    {"expectation", "copies"},
    # concurrency
    {"life", "recorder", "workers"},
    {"attempts", "onward"},
    {"hedge", "pool"},
    {"answer_check", "feeder", "label_sources", "example_rows", "sending"},
    {"recipe"},
    {"inputs", "scheduler"},
    {"planner"},
    {"opening"},
    {"resume"},
    # edges
    {"batch_output", "reading"},
    {"joined", "writers"},
    {"costs", "explain", "export", "metrics", "report", "scoring", "trial", "serving", "reins"},
    {"starter", "connections", "budget"},
    {"lanes", "steering", "audit"},
    {"watch"},
    {"execution"},
    {"launch"},
    {"api", "foreground"},
    {"planning"},
    {"commands"},
    {"cli"},
]
PURE = 3  # the last layer that what stands apart may import
APART = {"simulator", "local"}  # import words and pure layers only; run and the commands start them

OWNERS = {
    "aiohttp": {"providers.aiohttp_transport", "simulator.server"},
    "ahocorasick_rs": {"glossary"},
    "aiohappyeyeballs": {"providers.dialing"},
    "httptools": {"providers.connection"},
    "aiolimiter": {"quota"},
    "fsspec": {"destination"},
    "bm25s": {"examples"},
    "jinja2": {"template", "report.page"},  # prompts in a sandbox, not escaped; and HTML, escaped
    "jsonschema_rs": {"schema.output"},
    "numpy": {
        "scoring.comparison",
        "scoring.fields",
        "scoring.kind",
        "scoring.labels",
        "scoring.resampling",
        "scoring.translation",
    },
    "prometheus_client": {"metrics"},
    "rich": {"terminal"},
    "sacrebleu": {"scoring.translation"},
    "shtab": {"commands.completion"},
    "sqlite3": {
        "duplicates",
        "journal.reading",
        "journal.writing",
        "leases",
        "recorder",
        "revision",
        "scoring.comparison",
        "state_file",
    },
    "tenacity": {"retry", "pool"},
    "tokenizers": {"tokenizer"},
    "tqdm": {"progress"},
    "vl_convert": {"report.plots"},
    "xllamacpp": {"local.server"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__")
        yield name.removesuffix("."), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            if node.module == "batchkit":
                yield from (
                    f"batchkit.{alias.name}" for alias in node.names if alias.name[0] != "_"
                )


def layer(name: str) -> int:
    for depth, names in enumerate(LAYERS):
        if name in names or name.partition(".")[0] in names - {""}:
            return depth
    raise AssertionError(f"{name} is in no layer: give it one in LAYERS")


def is_apart(name: str) -> bool:
    return name.partition(".")[0] in APART and name != "local.model_row"


def test_imports_point_downwards() -> None:
    upward = [
        f"{name} imports {target}"
        for name, tree in modules()
        if not is_apart(name) and name != ""
        for module in imports(tree)
        if module.startswith("batchkit.")
        for target in [module.removeprefix("batchkit.")]
        if not is_apart(target)
        and target.partition(".")[0] != name.partition(".")[0]
        and layer(target) >= layer(name)
    ]
    assert upward == []


def test_what_stands_apart_imports_only_words_and_pure_layers() -> None:
    strays = [
        f"{name} imports {module}"
        for name, tree in modules()
        if is_apart(name)
        for module in imports(tree)
        if module.startswith("batchkit.")
        for target in [module.removeprefix("batchkit.")]
        if target.partition(".")[0] != name.partition(".")[0] and layer(target) > PURE
    ]
    assert strays == []


def test_each_library_has_one_owner() -> None:
    strays = [
        f"{name} imports {module}"
        for name, tree in modules()
        for module in imports(tree)
        if module.partition(".")[0] in OWNERS and name not in OWNERS[module.partition(".")[0]]
    ]
    assert strays == []


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["models"]])
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import sys; from batchkit.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('pyarrow', 'aiohttp', 'jinja2', 'anyio') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

"""The words that commands share: their parsers, the spec, and the options that become `Options`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchkit.errors import UsageError
from batchkit.options import Options

Main = Callable[[argparse.Namespace], int]  # the process's exit code

_SPEC_HELP = (
    "a request file (.jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow) or a job file (.toml)"
)


def add_command(
    commands: Any, name: str, main: Main, *, does: str, example: str
) -> argparse.ArgumentParser:
    """A parser whose namespace has `main` as its `command`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=f"example: {example}"
    )
    parser.set_defaults(command=main)
    return parser


def add_spec(parser: argparse.ArgumentParser) -> None:
    """SPEC, and what says more about it."""
    add = parser.add_argument
    add("spec", metavar="SPEC", type=Path, help=_SPEC_HELP)
    add("--input", metavar="FILE", type=Path, help="another data file for the same job")
    add("--model", metavar="NAME", help="the model of rows that name none")
    add("--tier", metavar="V0|V1|V2|V3", help="the account's level (default: V0)")
    add("--models", metavar="FILE", type=Path, help="a TOML file that adds to the model table")
    add("--limit", metavar="ROWS", type=int, help="only the first rows of the input")
    add(
        "--dedupe",
        action="store_true",
        help="ask rows that ask the same once, and give the answer to each",
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """The folder of the run."""
    parser.add_argument(
        "-o", "--out", metavar="DIR", type=Path, help="the run's folder (default: runs/<spec name>)"
    )


def add_sending(parser: argparse.ArgumentParser) -> None:
    """Where and how requests are sent."""
    add = parser.add_argument
    add("--endpoint", metavar="bigmodel|local|sim|URL", help="where to send (default: bigmodel)")
    add("--dialect", metavar="glm|openai", help="how the endpoint speaks (default: by its address)")
    add(
        "--transport",
        metavar="aiohttp|httptools",
        help="the HTTP client (default: aiohttp; httptools comes with the extra `fast`)",
    )
    add("--api-key-env", metavar="NAME", help="the environment variable that holds the key")
    add_concurrency(parser)
    add("--timeout", metavar="SECONDS", type=float, help="of one attempt (default: 300)")
    add(
        "--max-attempts",
        metavar="N",
        type=int,
        help="exchanges of a row that may fail by themselves (default: 8)",
    )
    add(
        "--fallback",
        metavar="MODEL,…",
        action="append",
        help="where a row goes on when its model is overloaded for long or too small; repeatable",
    )
    add(
        "--max-failed",
        metavar="N|PERCENT",
        help="stop when more rows than this have failed, such as 100 or 5%%",
    )
    add(
        "--hedge",
        action="store_true",
        default=None,
        help="ask stragglers a second time when slots idle at the end; costs both attempts",
    )
    add("--budget", metavar="AMOUNT", help="never spend more than this, in the models' currency")
    add("--format", metavar="arrow|parquet", help="of the result files (default: arrow)")
    add(
        "--skip-invalid",
        action="store_true",
        help="a bad row fails instead of stopping the run before it starts",
    )
    add(
        "--processes",
        metavar="N",
        type=int,
        help="that send requests (default: as many as the job needs; 1: this one alone)",
    )
    add(
        "--drain",
        metavar="SECONDS",
        type=float,
        help="what requests in flight may take after a stop (default: 30)",
    )
    add("--local-model", metavar="GGUF", type=Path, help="the model file for --endpoint local")


def add_concurrency(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--concurrency",
        metavar="[MODEL=]N",
        action="append",
        help="at most N requests in flight, for each model or for one; repeatable",
    )


def options_of(namespace: argparse.Namespace) -> Options:
    """The options that a command line gives; raises `UsageError`."""
    given = {
        name: value
        for name, value in vars(namespace).items()
        if name in Options.__struct_fields__ and value is not None
    }
    if "retry_failed" in given:
        given["retry_failed"] = [kind for kind in given["retry_failed"].split(",") if kind]
    if "fallback" in given:
        names = ",".join(given["fallback"]).split(",")
        given["fallback"] = [name.strip() for name in names if name.strip()]
    if "concurrency" in given:
        given["concurrency"] = ceilings_of(given["concurrency"])
    return Options(**given)


def ceilings_of(words: list[str]) -> dict[str, int]:
    """The numbers of `--concurrency` by model, "" for every one; raises `UsageError`."""
    ceilings: dict[str, int] = {}
    for word in words:
        model, _, number = word.rpartition("=")
        if not number.isdecimal():
            raise UsageError(f"--concurrency: expected N or MODEL=N, got {word!r}")
        ceilings[model.lower()] = int(number)
    return ceilings

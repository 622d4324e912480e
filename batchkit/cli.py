"""The command line: words in, exit codes out; a command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from batchkit import __version__
from batchkit.errors import BatchkitError, InterruptedByError

_SPEC_HELP = (
    "a request file (.jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow) or a job file (.toml)"
)


class _Parser(argparse.ArgumentParser):
    """Usage faults in the house's one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    _open_streams()
    namespace = _parser().parse_args(arguments)
    try:
        code: int = namespace.command(namespace)
    except BatchkitError as error:
        _say(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except InterruptedByError as error:
        _say(str(error))
        code = error.exit_code
    except BrokenPipeError:
        code = 0  # whoever read the output has seen enough
    _close_streams()
    return code


def _open_streams() -> None:
    """Stand in for streams that were closed (`2>&-`): no file may get one's number instead."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def _close_streams() -> None:
    """Flush now, where a reader that is gone can be forgiven; Python's own flush at exit cannot."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return  # whoever listened is gone


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="batchkit",
        description="Run a file of chat-completion requests against an account "
        "that limits requests in flight.",
        epilog="example: batchkit run jobs/quickstart/job.toml --endpoint sim",
    )
    parser.add_argument("--version", action="version", version=f"batchkit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    _add_status(commands)
    _add_export(commands)
    _add_models(commands)
    _add_simulate(commands)
    return parser


def _command(commands: Any, name: str, does: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=f"example: {example}"
    )
    return parser


def _add_run(commands: Any) -> None:
    parser = _command(
        commands,
        "run",
        "start a run, or go on where it stopped",
        "batchkit run requests.jsonl --model glm-4-flash-250414 --tier V1",
    )
    parser.add_argument("spec", metavar="SPEC", type=Path, help=_SPEC_HELP)
    parser.add_argument(
        "-o", "--out", metavar="DIR", type=Path, help="the run's folder (default: runs/<spec name>)"
    )
    _add_spec_options(parser)
    _add_sending_options(parser)
    _add_resume_options(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary table")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say more about what is going on"
    )
    parser.set_defaults(command=_run)


def _add_spec_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--input", metavar="FILE", type=Path, help="another data file for the same job")
    add("--model", metavar="NAME", help="the model of rows that name none")
    add("--tier", metavar="V0|V1|V2|V3", help="the account's level (default: V0)")
    add("--models", metavar="FILE", type=Path, help="a TOML file that adds to the model table")
    add("--limit", metavar="ROWS", type=int, help="only the first rows of the input")


def _add_sending_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--endpoint", metavar="bigmodel|local|sim|URL", help="where to send (default: bigmodel)")
    add("--dialect", metavar="glm|openai", help="how the endpoint speaks (default: by its address)")
    add("--api-key-env", metavar="NAME", help="the environment variable that holds the key")
    add(
        "--concurrency",
        metavar="[MODEL=]N",
        action="append",
        help="at most N requests in flight, for each model or for one; repeatable",
    )
    add("--timeout", metavar="SECONDS", type=float, help="of one attempt (default: 300)")
    add(
        "--max-attempts",
        metavar="N",
        type=int,
        help="exchanges of a row that may fail by themselves (default: 8)",
    )
    add("--budget", metavar="AMOUNT", help="never spend more than this, in the models' currency")
    add("--format", metavar="arrow|parquet", help="of the result files (default: arrow)")
    add(
        "--skip-invalid",
        action="store_true",
        help="a bad row fails instead of stopping the run before it starts",
    )
    add(
        "--drain",
        metavar="SECONDS",
        type=float,
        help="what requests in flight may take after a stop (default: 30)",
    )
    add("--local-model", metavar="GGUF", type=Path, help="the model file for --endpoint local")


def _add_resume_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--update",
        action="store_true",
        help="go on with a changed input or job: ask only the rows whose request changed",
    )
    add(
        "--retry-failed",
        metavar="KIND,…",
        nargs="?",
        const="",
        help="ask failed rows again, all or those of some kinds",
    )
    add(
        "--reask-damaged",
        action="store_true",
        help="ask rows again whose results were damaged in the run's folder",
    )
    add("--dry-run", action="store_true", help="say what would be asked and why; sends nothing")


def _add_check(commands: Any) -> None:
    parser = _command(
        commands, "check", "validate every row; sends nothing", "batchkit check requests.jsonl"
    )
    parser.add_argument("spec", metavar="SPEC", type=Path, help=_SPEC_HELP)
    _add_spec_options(parser)
    parser.set_defaults(command=_check)


def _add_status(commands: Any) -> None:
    parser = _command(
        commands,
        "status",
        "counts, rates and cost of a run, also while it runs",
        "batchkit status runs/demo",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the run's folder")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.set_defaults(command=_status)


def _add_export(commands: Any) -> None:
    parser = _command(
        commands,
        "export",
        "results in another format, also of a run that goes on",
        "batchkit export runs/demo --to csv -O demo.csv --columns custom_id,content",
    )
    add = parser.add_argument
    add("folder", metavar="DIR", type=Path, help="the run's folder")
    add("--to", required=True, metavar="arrow|parquet|jsonl|csv|openai", help="the format")
    add("-O", "--output", metavar="FILE", type=Path, help="where to (default: stdout)")
    add("--columns", metavar="NAME,…", default="", help="only these columns, in this order")
    add("--only", choices=["ok", "failed"], help="only rows of this status")
    parser.set_defaults(command=_export)


def _add_models(commands: Any) -> None:
    parser = _command(
        commands, "models", "the effective model table", "batchkit models --models more.toml"
    )
    parser.add_argument(
        "--models", metavar="FILE", type=Path, help="a TOML file that adds to the table"
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument(
        "--forget", action="store_true", help="forget what was learned of accounts' limits"
    )
    parser.set_defaults(command=_models)


def _add_simulate(commands: Any) -> None:
    from batchkit.simulator import command as simulator  # noqa: PLC0415  # keeps `--help` light

    parser = _command(
        commands,
        "simulate",
        "serve the simulated GLM service in the foreground",
        "batchkit simulate --port 8089 --latency lognormal:0.8,0.5",
    )
    simulator.add_options(parser)
    parser.set_defaults(command=simulator.main)


# Each command imports what it needs, so that `--help` loads neither pyarrow nor aiohttp.


def _run(namespace: argparse.Namespace) -> int:
    from batchkit import command  # noqa: PLC0415

    return command.run(namespace)


def _check(namespace: argparse.Namespace) -> int:
    from batchkit import command  # noqa: PLC0415

    return command.check(namespace)


def _status(namespace: argparse.Namespace) -> int:
    from batchkit import command  # noqa: PLC0415

    return command.status(namespace)


def _export(namespace: argparse.Namespace) -> int:
    from batchkit import command  # noqa: PLC0415

    return command.export_results(namespace)


def _models(namespace: argparse.Namespace) -> int:
    from batchkit.learned import LearnedLimits, state_folder  # noqa: PLC0415
    from batchkit.spec import effective_table  # noqa: PLC0415
    from batchkit.table import as_text, learned_text  # noqa: PLC0415

    learned = LearnedLimits(state_folder(os.environ))
    if namespace.forget:
        print(f"{learned.forget()} learned limits forgotten")
        return 0
    table = effective_table(namespace.models)
    if namespace.json:
        import msgspec  # noqa: PLC0415

        sys.stdout.buffer.write(msgspec.json.encode(dict(table)) + b"\n")
    else:
        print(as_text(table))
        if known := learned.all():
            print(f"\n{learned_text(known)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line: words in, exit codes out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from batchkit import __version__
from batchkit.commands.talk import say
from batchkit.errors import BatchkitError, InterruptedByError

COMMANDS = (  # modules of `batchkit.commands`, in the order of `--help`
    "init",
    "run",
    "plan",
    "check",
    "trial",
    "status",
    "tune",
    "export",
    "report",
    "score",
    "costs",
    "models",
    "simulate",
    "completion",
)


class _Parser(argparse.ArgumentParser):
    """Usage faults in the house's one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    _open_streams()
    parser = _parser()
    namespace = parser.parse_args(arguments)
    namespace.parser = parser
    try:
        code: int = namespace.command(namespace)
    except BatchkitError as error:
        say(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except InterruptedByError as error:
        say(str(error))
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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="batchkit",
        description="Run files of chat completions against an account's limits.",
        usage="batchkit [--help] [--version] COMMAND ...",
        add_help=False,  # usage says so already, and the commands need the lines of a screen
        epilog="example: batchkit run jobs/quickstart/job.toml --endpoint sim",
    )
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    version = f"batchkit {__version__}"
    parser.add_argument("--version", action="version", version=version, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", prog=parser.prog
    )
    for name in COMMANDS:
        import_module(f"batchkit.commands.{name}").add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

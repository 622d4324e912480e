"""`batchkit completion`: what makes a shell complete the command line's words."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchkit.commands.parsing import add_command

SHELLS = ("bash", "zsh", "tcsh")


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "completion",
        main,
        does="print what makes a shell complete commands and options",
        example='eval "$(batchkit completion bash)"',
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def main(namespace: argparse.Namespace) -> int:
    import shtab

    for action in _actions(namespace.parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # how shtab is told
    print(shtab.complete(namespace.parser, shell=namespace.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of `parser` and of the commands below it."""
    for action in parser._actions:  # noqa: SLF001  # argparse has no public list
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _actions(command)
        yield action

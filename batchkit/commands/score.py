"""`batchkit score`: answers against gold values, of one run or of two."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from batchkit import __version__
from batchkit.commands.parsing import add_command
from batchkit.errors import UsageError
from batchkit.wording import reason

if TYPE_CHECKING:
    from batchkit.folder import RunFolder
    from batchkit.job import ScoreSection
    from batchkit.scoring.single import Resampling

Choice = TypeVar("Choice", bound=StrEnum)


def add_to(commands: Any) -> None:
    parser = add_command(
        commands,
        "score",
        main,
        does="compare answers with gold values, of one run or of two",
        example="batchkit score runs/demo --gold label",
    )
    add = parser.add_argument
    add("folder", metavar="DIR", type=Path, help="the run's folder")
    add("other", metavar="DIR_B", type=Path, nargs="?", help="another run over the same rows")
    add(
        "--gold",
        metavar="COLUMN|FIELD=COLUMN,…",
        help="the kept columns that hold what is right (default: the job's [score])",
    )
    add("--kind", metavar="KIND", help="label, labels, fields, translation or contains")
    add(
        "--compare",
        metavar="FIELD=FORM,…",
        help="compare fields as text, date or amount (default: by their types)",
    )
    add("--dates", metavar="dmy|mdy", help="how to read 04/02/2017 (default: dmy)")
    add("--tokenizer", metavar="NAME", help="sacrebleu's, for BLEU (default: by the script)")
    add("--draws", metavar="N", type=int, default=1000, help="resamples (default: 1000)")
    add("--seed", metavar="N", type=int, default=0, help="of the resampling (default: 0)")
    add("--json", action="store_true", help="as one JSON object")


def main(namespace: argparse.Namespace) -> int:
    """Prints the score and keeps it as `score.json`; a comparison is only printed."""
    how = _resampling(namespace)
    return _one(namespace, how) if namespace.other is None else _two(namespace, how)


def _one(namespace: argparse.Namespace, how: Resampling) -> int:
    from batchkit.reading import open_run
    from batchkit.scores import score_path, write_score
    from batchkit.scoring.single import score
    from batchkit.scoring.words import score_text

    with open_run(namespace.folder) as run:
        section = _section(namespace, run.folder)
        found = score(run, section, how, now=time.time(), version=__version__)
    _print(found, score_text, as_json=namespace.json)
    try:
        write_score(namespace.folder, found)
    except OSError as error:
        path = score_path(namespace.folder)
        raise UsageError(f"{path}: cannot be written: {reason(error.strerror)}") from error
    return 0


def _two(namespace: argparse.Namespace, how: Resampling) -> int:
    from batchkit.reading import open_run
    from batchkit.scoring.comparison import compare
    from batchkit.scoring.golden import resolve
    from batchkit.scoring.words import comparison_text

    with open_run(namespace.folder) as run, open_run(namespace.other) as other:
        first = resolve(_section(namespace, run.folder), run)
        second = resolve(_section(namespace, other.folder), other)
        found = compare(first, second, how)
    _print(found, comparison_text, as_json=namespace.json)
    return 0


def _print(found: Any, as_text: Callable[[Any], str], *, as_json: bool) -> None:
    import msgspec

    from batchkit.destination import open_destination

    with open_destination(None) as file:
        file.write((msgspec.json.encode(found) if as_json else as_text(found).encode()) + b"\n")


def _resampling(namespace: argparse.Namespace) -> Resampling:
    from batchkit.scoring.single import Resampling

    for name, value, least in (("draws", namespace.draws, 100), ("seed", namespace.seed, 0)):
        if value < least:
            raise UsageError(f"--{name}: expected at least {least}, got {value}")
    return Resampling(namespace.draws, namespace.seed)


def _section(namespace: argparse.Namespace, folder: RunFolder) -> ScoreSection:
    """The job's `[score]` under the options."""
    import msgspec

    from batchkit.job import DateOrder, FieldForm, ScoreKind, ScoreSection
    from batchkit.scoring.single import section_of

    section = None if namespace.gold is not None else section_of(folder)
    if section is None:
        if namespace.gold is None:
            raise UsageError(
                f"{folder.path}: the job has no [score]; give --gold with the column that holds "
                "what is right"
            )
        section = ScoreSection(gold=_gold(namespace.gold))
    said: dict[str, Any] = {}
    if namespace.kind is not None:
        said["kind"] = _one_of(ScoreKind, namespace.kind, "--kind")
    if namespace.compare is not None:
        said["compare"] = {
            name: _one_of(FieldForm, form, "--compare")
            for name, form in _pairs(namespace.compare, "--compare", "FIELD=FORM").items()
        }
    if namespace.dates is not None:
        said["dates"] = _one_of(DateOrder, namespace.dates, "--dates")
    if namespace.tokenizer is not None:
        said["tokenizer"] = namespace.tokenizer
    return msgspec.structs.replace(section, **said)


def _gold(words: str) -> str | dict[str, str]:
    return _pairs(words, "--gold", "FIELD=COLUMN") if "=" in words else words


def _pairs(words: str, place: str, shape: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words.split(","):
        name, _, value = word.partition("=")
        if not name or not value:
            raise UsageError(f"{place}: expected {shape}, got {word!r}")
        pairs[name] = value
    return pairs


def _one_of(kind: type[Choice], word: str, place: str) -> Choice:
    try:
        return kind(word)
    except ValueError:
        raise UsageError(f"{place}: expected one of {', '.join(kind)}, got {word!r}") from None

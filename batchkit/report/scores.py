"""`score.json`, as far as it can be read: a report goes without what it does not understand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from batchkit.report.facts import Score

_SCORES_MOST = 40
_BYTES_MOST = 1 << 20
_WORDS_MOST = 80  # characters


def read_scores(path: Path) -> list[Score]:
    """The numbers and words of `score.json`, one line each; none if there is no such file."""
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(_BYTES_MOST), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return []
    return _flat(found, "")[:_SCORES_MOST]


def _flat(values: dict[str, Any], prefix: str) -> list[Score]:
    scores: list[Score] = []
    for key, value in values.items():
        name = f"{prefix}{key}"[:_WORDS_MOST]
        if isinstance(value, dict) and not prefix:
            scores += _flat(value, f"{key} · ")
        elif isinstance(value, bool | int | float | str):
            scores.append(Score(name, _words(value)))
    return scores


def _words(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else value[:_WORDS_MOST]

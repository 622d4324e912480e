"""`score.json`, as far as it can be read: a report goes without what it does not understand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from batchkit.report.facts import Score

_SCORES_MOST = 40
_BYTES_MOST = 16 << 20
_WORDS_MOST = 80  # characters


def read_scores(folder: Path) -> list[Score]:
    """What `score.json` tells, a line each: its kind, counts, and measures with their intervals."""
    try:
        with (folder / "score.json").open("rb") as file:
            found = msgspec.json.decode(file.read(_BYTES_MOST), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return []
    lines = [Score(name, text) for name in _COUNTS if (text := _words(found.get(name)))]
    measures = found.get("measures")
    for name, value in measures.items() if isinstance(measures, dict) else ():
        if text := _measured(value):
            lines.append(Score(str(name)[:_WORDS_MOST], text))
    return lines[:_SCORES_MOST]


_COUNTS = ("kind", "scored", "failed", "missing")


def _measured(value: Any) -> str:
    """A number, with its interval if it has one."""
    if not isinstance(value, dict):
        return _words(value)
    words, low, high = (_words(value.get(key)) for key in ("value", "low", "high"))
    return f"{words} ({low} to {high})" if words and low and high else words


def _words(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else value[:_WORDS_MOST]

"""How many rows may fail before a run stops: a number of them, or a share of all."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec

from batchkit.errors import UsageError
from batchkit.wording import shown


class MostFailed(msgspec.Struct, frozen=True):
    """What was said, and what it comes to."""

    said: str  # `10` or `2.5%`
    rows: int | None = None
    share: Fraction | None = None

    def of(self, rows: int) -> int:
        """How many of `rows` rows may fail; one more stops the run."""
        if self.rows is not None:
            return self.rows
        assert self.share is not None
        return int(self.share * rows)


def read_most_failed(given: Any, place: str) -> MostFailed:
    """`10`, `"10"` or `"2.5%"`; raises `UsageError`."""
    text = str(given).strip()
    if text.isdecimal() and not isinstance(given, bool):
        return MostFailed(text, rows=int(text))
    try:
        share = Fraction(text.removesuffix("%")) / 100
    except (ValueError, ZeroDivisionError):
        share = Fraction(-1)
    if not text.endswith("%") or not 0 <= share <= 1:
        raise UsageError(
            f"{place}: expected a number of rows or a share like 5%, got {shown(given)}"
        )
    return MostFailed(text, share=share)

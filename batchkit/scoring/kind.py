"""What the kinds of scores have in common: a row becomes a key, a key numbers, their sum measures.

Everything about a row that counts is in its key, so rows of one key are counted, not kept (see
`resampling`). A row that failed is judged as an answer of None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from batchkit.job import ScoreKind
from batchkit.scoring.resampling import Key, Numbers

MeasureOf: TypeAlias = Callable[[Numbers], Numbers]  # sums along the last axis -> values


class Kind(Protocol):
    """A way to compare answers with gold values."""

    @property
    def name(self) -> ScoreKind: ...
    @property
    def key_type(self) -> Any: ...
    @property
    def width(self) -> int: ...  # numbers of a row's statistics
    @property
    def measures(self) -> Mapping[str, MeasureOf]: ...
    @property
    def tests(self) -> Mapping[str, Callable[[Any], bool]]: ...  # shares of rows, by a row's key

    def judge(self, gold: Sequence[Any], answer: Sequence[Any] | None) -> Key | None:
        """The key of a row; None if its gold value is null. Both sides have a value per field."""
        ...

    def statistics(self, key: Any) -> Numbers: ...

    def is_right(self, key: Any) -> bool | None:
        """Whether the row is right as a whole; None if that cannot be said of this kind."""
        ...

    def details(self, total: Numbers) -> dict[str, Any]:
        """Fields of `Score` that are this kind's own."""
        ...


def ratio(part: Numbers, whole: Numbers) -> Numbers:
    """`part / whole`; NaN where there is no whole."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def share(column: int) -> MeasureOf:
    """The measure of a 0/1 statistic over the row count, which stands in column 0."""
    return lambda sums: ratio(sums[..., column], sums[..., 0])

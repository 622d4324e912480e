"""Intervals and tests by resampling rows, in one pass and in memory that does not grow with them.

A row is a key; rows of the same key have the same statistics, a vector of numbers, and every
measure is a function of the vectors' sum. So only the keys are counted, and what resampling makes
of a key's rows is drawn at once:

- Bootstrap (Efron, "Bootstrap Methods", Ann. Statist. 7, 1979) with the percentiles as the interval
  (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13). Each row gets a weight
  from Poisson(1) instead of drawing n rows with replacement, which needs no n beforehand (Hanley &
  MacGibbon, Comput. Methods Programs Biomed. 83, 2006; Chamandy et al., "Estimating Uncertainty for
  Massive Data Streams", Google, 2012); c rows get Poisson(c).
- Approximate randomization (Noreen, "Computer-Intensive Methods for Testing Hypotheses", 1989;
  Riezler & Maxwell, ACL 2005): under the null hypothesis the two runs' answers to a row can change
  places; of c rows Binomial(c, 1/2) do.

McNemar's test (Psychometrika 12, 1947) needs no resampling: what is not tied is Binomial(1/2).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
Key: TypeAlias = Hashable
Statistics: TypeAlias = Callable[[Any], Numbers]  # of a row, by its key

_CELLS_MOST = 1 << 21  # numbers in a matrix: 16 MiB
_LEVELS = (2.5, 97.5)


class Sums:
    """The statistics' sum over all rows, and over each of `draws` resamples of them."""

    def __init__(self, width: int, statistics: Statistics, *, draws: int, seed: int) -> None:
        self.total = np.zeros(width)
        self.drawn = np.zeros((draws, width))
        self._statistics = statistics
        self._rng = np.random.default_rng(seed)
        self._keys: Counter[Key] = Counter()
        self._keys_most = max(64, _CELLS_MOST // max(width, draws))

    def add(self, key: Key) -> None:
        self._keys[key] += 1
        if len(self._keys) >= self._keys_most:
            self.flush()

    def flush(self) -> None:
        """Bring `total` and `drawn` up to the rows that were added."""
        if not self._keys:
            return
        vectors = np.array([self._statistics(key) for key in self._keys])
        counts = np.fromiter(self._keys.values(), np.int64)
        self._keys.clear()
        self.total += counts @ vectors
        self.drawn += self._drawn(counts, vectors)

    def _drawn(self, counts: NDArray[np.int64], vectors: Numbers) -> Numbers:
        weights = self._rng.poisson(counts, (len(self.drawn), len(counts)))
        return weights.astype(np.float64) @ vectors


class Swaps(Sums):
    """Two runs' sums side by side, drawn with answers that have changed places at random."""

    def _drawn(self, counts: NDArray[np.int64], vectors: Numbers) -> Numbers:
        first, second = np.hsplit(vectors, 2)
        moved = self._rng.binomial(counts, 0.5, (len(self.drawn), len(counts)))
        change = moved.astype(np.float64) @ (second - first)
        return np.hstack([counts @ first + change, counts @ second - change])


def interval(values: Numbers) -> tuple[float, float]:
    """The 95 % percentile interval of resampled values; those that are undefined are left out."""
    known = values[~np.isnan(values)]
    if not known.size:
        return math.nan, math.nan
    low, high = np.percentile(known, _LEVELS)
    return float(low), float(high)


def share_as_extreme(differences: Numbers, observed: float) -> float:
    """The p-value of `observed` among differences under the null hypothesis, two-sided."""
    extreme = np.count_nonzero(np.abs(differences) >= abs(observed) - 1e-12)
    return (int(extreme) + 1) / (len(differences) + 1)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of rows that only one of two runs has right."""
    rows = only_first + only_second
    fewer = min(only_first, only_second)
    if 2 * fewer == rows:
        return 1.0
    logs = math.lgamma(rows + 1) - rows * math.log(2)
    tail = 0.0
    for k in range(fewer, -1, -1):
        term = math.exp(logs - math.lgamma(k + 1) - math.lgamma(rows - k + 1))
        tail += term
        if term < tail * 1e-17:
            break
    return min(1.0, 2 * tail)

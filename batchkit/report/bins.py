"""Counts that stay small however many rows there are: over log-spaced values, and over time.

Neither depends on the order in which its values come.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

# As DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019): with bins that grow by this factor a
# quantile read from the counts is at most 1 % off.
GROWTH = 1.02
SMALLEST = 1e-3  # seconds; less counts as this
LARGEST = 1e6

MOST_SLICES = 4096  # of time that are kept apart while rows are read
FINEST_US = 125_000  # the width of a slice, before slices are joined two by two


class Spread(msgspec.Struct):
    """How values are distributed: a count per log-spaced bin, about a thousand at most."""

    counts: dict[int, int] = {}

    def add(self, bin_: int, count: int) -> None:
        """Count values of bin `bin_`: floor(log(value) / log(GROWTH))."""
        self.counts[bin_] = self.counts.get(bin_, 0) + count

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of the values lie, within 1 %; None if there are none."""
        rank, seen = share * (self.total - 1), 0
        for bin_, count in sorted(self.counts.items()):
            seen += count
            if seen > rank:
                return middle(bin_)
        return None

    def coarse(self, bars: int) -> list[tuple[float, float, int]]:
        """(from, to, count) of neighbouring bars of equal ratio, `bars` at most, gaps included."""
        if not self.counts:
            return []
        first, last = min(self.counts), max(self.counts)
        step = max(4, math.ceil((last - first + 1) / bars))
        joined: dict[int, int] = {}
        for bin_, count in self.counts.items():
            joined[bin_ // step] = joined.get(bin_ // step, 0) + count
        return [
            (GROWTH ** (number * step), GROWTH ** ((number + 1) * step), joined.get(number, 0))
            for number in range(min(joined), max(joined) + 1)
        ]


def middle(bin_: int) -> float:
    """The value that stands for a bin: equally far, in ratio, from both of its ends."""
    return float(GROWTH ** (bin_ + 0.5))


class Slice(msgspec.Struct):
    """What happened to one model within one slice of time; attempts count where they begin or end.

    With the sums of offsets (microseconds since the slice began) the mean number in flight is
    exact, although only counts are kept.
    """

    begun: int = 0
    begun_us: int = 0
    ended: int = 0
    ended_us: int = 0
    limit: int = 0  # summed over attempts that began
    answered: int = 0
    refused: int = 0
    failed: int = 0  # not answered for another reason
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    cost: int = 0  # PICO

    def add(self, other: Slice, shift_us: int) -> None:
        """Add a slice that began `shift_us` later than this one."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.begun_us += shift_us * other.begun
        self.ended_us += shift_us * other.ended


class Slices:
    """Slices per model, as wide as needed so that there are `MOST_SLICES` at most."""

    def __init__(self, width_us: int = FINEST_US) -> None:
        self.width_us = width_us
        self.by_number: dict[int, dict[str, Slice]] = {}  # number = time // width

    def at(self, number: int, model: str) -> Slice:
        """The slice of `model` that begins at `number` times the width."""
        models = self.by_number.setdefault(number, {})
        found = models.get(model)
        if found is None:
            found = models[model] = Slice()
        return found

    def settle(self) -> None:
        """Join slices until there are few enough."""
        while len(self.by_number) > MOST_SLICES:
            self.join()

    def join(self) -> None:
        """Twice as wide, half as many."""
        joined = Slices(self.width_us * 2)
        for number, models in self.by_number.items():
            shift = self.width_us if number % 2 else 0
            for model, one in models.items():
                joined.at(number // 2, model).add(one, shift)
        self.width_us, self.by_number = joined.width_us, joined.by_number

    def __iter__(self) -> Iterator[tuple[int, dict[str, Slice]]]:
        return iter(sorted(self.by_number.items()))

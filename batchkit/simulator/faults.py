"""What goes wrong with an attempt and how long it takes, drawn from its seed.

A fault is named by a code of `provider_errors` or by a `Mode`. A repeated attempt draws anew, so
that a retry can succeed; the same attempt of the same request always draws the same.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from enum import StrEnum
from itertools import accumulate
from random import Random

import msgspec

from batchkit.errors import UsageError
from batchkit.simulator.provider_errors import PROVIDER_ERRORS


class Mode(StrEnum):
    """Trouble that has no code of the provider's."""

    HTML502 = "html502"  # a gateway's page
    RESET = "reset"  # the connection is reset before an answer
    CUT = "cut"  # a body shorter than its Content-Length, or a stream without its end
    SLOW = "slow"  # answered, after being held for long
    HANG = "hang"  # never answered
    NETWORK_ERROR = "network_error"  # HTTP 200, inference broke off inside the service
    SENSITIVE = "sensitive"  # HTTP 200 with part of an answer
    FILTERED = "filtered"  # 1301 with contentFilter
    EMPTY = "empty"  # HTTP 200 without choices
    NONJSON = "nonjson"  # HTTP 200 that is not JSON
    HUGE = "huge"  # a body of many megabytes
    PROSE = "prose"  # plain words where JSON was asked for
    SUCCESS_FALSE = "success_false"  # HTTP 200 with {"code", "msg", "success": false}
    REDIRECT = "redirect"  # 307


FAULTS = frozenset(PROVIDER_ERRORS) | frozenset(mode.value for mode in Mode)
"""Every name that a fault can have."""


def check_fault(name: str, place: str) -> None:
    """Raise `UsageError` unless `name` is a fault."""
    if name not in FAULTS:
        known = ", ".join(mode.value for mode in Mode)
        raise UsageError(
            f"{place}: no fault is called {name!r}; give a provider's code or one of {known}"
        )


class FaultPlan:
    """Which fault befalls an attempt, by probability."""

    def __init__(self, faults: Mapping[str, float]) -> None:
        for name, probability in faults.items():
            check_fault(name, "faults")
            if not 0 <= probability <= 1:
                raise UsageError(f"faults: {name}: expected 0 to 1, got {probability:g}")
        self._names = tuple(faults)
        self._bounds = tuple(accumulate(faults.values()))
        if self._bounds and self._bounds[-1] > 1 + 1e-9:
            raise UsageError(f"faults: they add up to {self._bounds[-1]:g}; at most 1 is possible")

    def __bool__(self) -> bool:
        return bool(self._names)

    def fault(self, rng: Random) -> str | None:
        """The fault of one attempt, or None."""
        index = bisect_right(self._bounds, rng.random())
        return self._names[index] if index < len(self._names) else None


def marked(text: str, marks: Mapping[str, str]) -> str | None:
    """The fault of the first marker that stands in `text`, or None."""
    return next((fault for marker, fault in marks.items() if marker in text), None)


class Latency(msgspec.Struct, frozen=True):
    """How long an answer takes before its first byte: fixed, or lognormal around a median."""

    median: float  # seconds
    sigma: float = 0.0  # of the logarithm; 0: always the median

    @classmethod
    def parse(cls, text: str) -> Latency:
        """Read `0.2` or `lognormal:MEDIAN,SIGMA`; raises `UsageError`."""
        name, colon, numbers = text.rpartition(":")
        parts = numbers.split(",")
        try:
            values = [float(part) for part in parts]
        except ValueError:
            values = []
        shape_fits = (name == "lognormal" and len(parts) == 2) if colon else len(parts) == 1
        if not values or not shape_fits or not all(0 <= v < math.inf for v in values):
            raise UsageError(f"latency: expected seconds or lognormal:MEDIAN,SIGMA, got {text!r}")
        return cls(*values)

    def seconds(self, rng: Random) -> float:
        """One draw."""
        if self.sigma == 0:
            return self.median
        return self.median * math.exp(rng.normalvariate(0.0, self.sigma))

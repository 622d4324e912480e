"""The run over time: slices become points of equal width; times at which nobody ran it are cut out.

A pause counts as cut out only if a start of the run ends it: a pause inside a start, such as a long
backoff, is part of what happened and shows as zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from batchkit.report.bins import Slice, Slices

POINTS_MOST = 160
_POINTS_LEAST = 24
_ATTEMPTS_A_POINT = 16  # fewer make a line of noise


class Point(msgspec.Struct, frozen=True):
    """One model in one slice; rates are per second."""

    model: str
    at_s: float  # working time since the run began, at the slice's beginning
    answered: float
    refused: float
    failed: float
    in_flight: float  # mean over the slice
    limit: float | None  # mean over the attempts that began, else what it was before
    prompt: float  # tokens, cached ones not included
    cached: float
    completion: float
    cost: int  # PICO, since the run began


class Cut(msgspec.Struct, frozen=True):
    """Where time is cut out: at which working time, and how much of it."""

    at_s: float
    seconds: float


class Timeline(msgspec.Struct, frozen=True):
    """Points in order of time, those of every model at each slice."""

    width_s: float = 0.0
    began_at: float = 0.0  # seconds since the epoch
    ended_at: float = 0.0
    points: tuple[Point, ...] = ()
    cuts: tuple[Cut, ...] = ()

    @property
    def working_s(self) -> float:
        return self.points[-1].at_s + self.width_s if self.points else 0.0


def timeline(slices: Slices, starts: Sequence[float], models: Sequence[str]) -> Timeline:
    """The timeline of `models`; `starts` are when the run was started, seconds since the epoch.

    `slices` is joined on the way.
    """
    attempts = sum(one.begun for _, found in slices for one in found.values())
    if not attempts:
        return Timeline()
    most = min(POINTS_MOST, max(_POINTS_LEAST, attempts // _ATTEMPTS_A_POINT))
    stretches = _stretches(slices, starts)
    while sum(map(len, stretches)) > most:
        slices.join()
        stretches = _stretches(slices, starts)
    width_s = slices.width_us / 1e6
    return Timeline(
        width_s=width_s,
        began_at=stretches[0].start * width_s,
        ended_at=stretches[-1].stop * width_s,
        points=tuple(_points(slices, [n for stretch in stretches for n in stretch], models)),
        cuts=tuple(_cuts(stretches, width_s)),
    )


def _stretches(slices: Slices, starts: Sequence[float]) -> list[range]:
    """Numbers of slices without those of a pause that a start of the run ended."""
    width = slices.width_us
    begun = sorted(int(start * 1e6) // width for start in starts)
    stretches: list[range] = []
    first = last = None
    in_flight = 0
    for number, models in slices:
        if first is None or last is None:
            first = number
        elif in_flight == 0 and any(last < start <= number for start in begun):
            stretches.append(range(first, last + 1))
            first = number
        in_flight += sum(one.begun - one.ended for one in models.values())
        last = number
    if first is not None and last is not None:
        stretches.append(range(first, last + 1))
    return stretches


def _cuts(stretches: list[range], width_s: float) -> list[Cut]:
    cuts: list[Cut] = []
    at = 0
    for before, after in pairwise(stretches):
        at += len(before)
        cuts.append(Cut(at * width_s, (after.start - before.stop) * width_s))
    return cuts


def _points(slices: Slices, numbers: list[int], models: Sequence[str]) -> list[Point]:
    width_us, nothing = slices.width_us, Slice()
    width_s = width_us / 1e6
    in_flight = dict.fromkeys(models, 0)
    limit: dict[str, float | None] = dict.fromkeys(models, None)
    cost = dict.fromkeys(models, 0)
    points: list[Point] = []
    for place, number in enumerate(numbers):
        found = slices.by_number.get(number, {})
        for model in models:
            one = found.get(model, nothing)
            cost[model] += one.cost
            if one.begun:
                limit[model] = one.limit / one.begun
            occupied_us = (
                in_flight[model] * width_us
                + (one.begun * width_us - one.begun_us)
                - (one.ended * width_us - one.ended_us)
            )
            in_flight[model] += one.begun - one.ended
            points.append(
                Point(
                    model=model,
                    at_s=place * width_s,
                    answered=one.answered / width_s,
                    refused=one.refused / width_s,
                    failed=one.failed / width_s,
                    in_flight=occupied_us / width_us,
                    limit=limit[model],
                    prompt=(one.prompt - one.cached) / width_s,
                    cached=one.cached / width_s,
                    completion=one.completion / width_s,
                    cost=cost[model],
                )
            )
    return points

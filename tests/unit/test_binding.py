"""One word for what holds a run back."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit.binding import REMEDIES, Binding, Bound, LaneLook, bound_of, mostly

FULL = LaneLook(in_flight=10, limit=10, backing_off=0, waiting_rows=5, is_exhausted=False)
IDLE = LaneLook(in_flight=2, limit=10, backing_off=0, waiting_rows=5, is_exhausted=False)
HUNGRY = LaneLook(in_flight=2, limit=10, backing_off=0, waiting_rows=0, is_exhausted=False)
TROUBLED = LaneLook(in_flight=2, limit=10, backing_off=9, waiting_rows=5, is_exhausted=False)
DONE = LaneLook(in_flight=1, limit=10, backing_off=0, waiting_rows=0, is_exhausted=True)


@pytest.mark.parametrize(
    ("lanes", "rest", "bound"),
    [
        ([FULL], {}, Bound.LIMIT),
        ([FULL, DONE], {}, Bound.LIMIT),
        ([FULL, HUNGRY], {}, Bound.INPUT),
        ([IDLE], {}, Bound.CLIENT),
        ([TROUBLED], {}, Bound.ENDPOINT),
        ([FULL], {"lag_s": 0.2}, Bound.CLIENT),
        ([HUNGRY], {"cpu": 0.9}, Bound.CLIENT),
        ([FULL], {"cpu": 0.9}, Bound.LIMIT),
        ([FULL], {"backlog": 0.6, "lag_s": 0.2}, Bound.RECORDER),
        ([IDLE], {"backlog": 0.6, "cpu": 0.9}, Bound.CLIENT),
        ([HUNGRY], {"backlog": 1.0, "cpu": 0.9}, Bound.CLIENT),
        ([FULL], {"backlog": 0.6, "cpu": 0.9}, Bound.LIMIT),
        ([FULL], {"waits_for_money": True, "backlog": 1.0}, Bound.BUDGET),
        ([DONE], {"lag_s": 9.0}, None),
        ([], {}, None),
    ],
)
def test_the_first_word_that_fits(
    lanes: list[LaneLook], rest: dict[str, Any], bound: Bound | None
) -> None:
    given = {"lag_s": 0.0, "cpu": 0.1, "backlog": 0.0, "waits_for_money": False} | rest
    assert bound_of(lanes, **given) is bound


def test_the_whole_run_gets_the_most_frequent_word() -> None:
    binding = Binding()
    assert mostly(binding.looks) is None
    for bound in (None, Bound.INPUT, Bound.LIMIT, Bound.LIMIT, None, None, None):
        binding.look(bound)
    assert (mostly(binding.looks), binding.now) == (Bound.LIMIT, None)


def test_every_word_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Bound)

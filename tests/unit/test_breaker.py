"""A hopeless job stops early; bad luck does not stop one."""

from __future__ import annotations

import pytest

from batchkit.breaker import WINDOW, Breaker
from batchkit.errors import ErrorKind

FILTERED, LATE = ErrorKind.CONTENT_FILTERED, ErrorKind.TIMEOUT


def settle(kinds: list[ErrorKind | None]) -> list[int]:
    """After how many of `kinds` the breaker has tripped."""
    breaker = Breaker()
    return [n for n, kind in enumerate(kinds, 1) if breaker.settle(kind) is not None]


def test_it_trips_when_nearly_all_fail_for_the_same_reason() -> None:
    assert settle([FILTERED] * WINDOW) == [WINDOW]
    assert settle([None] * 5 + [FILTERED] * (WINDOW - 5)) == [WINDOW]


@pytest.mark.parametrize(
    "kinds",
    [
        [FILTERED] * (WINDOW - 1),
        [None, FILTERED] * WINDOW,
        [FILTERED, LATE] * WINDOW,
        ([None] + [FILTERED] * 15) * 20,
    ],
)
def test_it_does_not_trip_for_less(kinds: list[ErrorKind | None]) -> None:
    assert settle(kinds) == []


def test_an_answer_that_is_ok_never_trips_it() -> None:
    assert settle([FILTERED] * (WINDOW - 1) + [None]) == []

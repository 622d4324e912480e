"""What a person reads of a fault, and how the process ends with it."""

from __future__ import annotations

from batchkit.errors import BatchkitError, StoppedError, UsageError


def test_errors_carry_their_exit_codes() -> None:
    assert [kind("x").exit_code for kind in (BatchkitError, UsageError, StoppedError)] == [2, 2, 3]

"""What a run changes in its process, it changes back."""

from __future__ import annotations

import gc

from batchkit.garbage import rare_collections


def test_the_garbage_collector_is_left_as_it_was() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before

"""A folder for the victims of one test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.victim import kill_survivors

MODELS = ("glm-4-plus", "glm-4-air-250414", "glm-4-flash-250414")


def write_requests(
    path: Path, count: int, models: tuple[str, ...] = MODELS, **rest: Any
) -> list[str]:
    """A request file of `count` rows, spread over `models`; their ids."""
    ids = [f"q-{n}" for n in range(count)]
    with path.open("w", encoding="utf-8") as file:
        for n, custom_id in enumerate(ids):
            prompt = f"Question {n} of {path.parent.name}?"
            row = {"custom_id": custom_id, "model": models[n % len(models)], "prompt": prompt}
            file.write(json.dumps(row | {"max_tokens": 40} | rest) + "\n")
    return ids


@pytest.fixture(autouse=True)
def no_survivors() -> Iterator[None]:
    """A victim that a failed test left running is killed."""
    yield
    kill_survivors()

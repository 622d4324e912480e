"""A folder for the victims of one test."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.victim import kill_survivors


@pytest.fixture(scope="session", autouse=True)
def hangup() -> Iterator[None]:
    """Victims hear SIGHUP, also where whoever started the tests ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


MODELS = ("glm-4-plus", "glm-4-air-250414", "glm-4-flash-250414")


def write_requests(
    path: Path,
    count: int,
    models: tuple[str, ...] = MODELS,
    *,
    distinct: int | None = None,
    **rest: Any,
) -> list[str]:
    """A request file of `count` rows, spread over `models`, with so many prompts; their ids.

    All prompts are as long, so that rows are sent in input order.
    """
    ids = [f"q-{n}" for n in range(count)]
    with path.open("w", encoding="utf-8") as file:
        for n, custom_id in enumerate(ids):
            asked = n % (distinct or count)
            prompt = f"Question {asked:04} of {path.parent.name}?"
            row = {"custom_id": custom_id, "model": models[asked % len(models)], "prompt": prompt}
            file.write(json.dumps(row | {"max_tokens": 40} | rest) + "\n")
    return ids


_DOCUMENT_JOB = """
input = "docs.jsonl"
id = "id"
model = "glm-4-plus"
[prompt]
user = "{{ chunk }}/{{ chunks }} {{ text }}"
[params]
max_tokens = 40
[split]
column = "text"
tokens = 30
[join]
user = "Join {{ id }}:{% for answer in answers %}\\n{{ answer }}{% endfor %}"
"""


def write_documents(here: Path, count: int) -> list[str]:
    """A job over `count` texts of one to nine chunks, whose answers are joined; their ids."""
    (here / "job.toml").write_text(_DOCUMENT_JOB)
    ids = [f"d-{n}" for n in range(count)]
    with (here / "docs.jsonl").open("w", encoding="utf-8") as file:
        for n, custom_id in enumerate(ids):
            paragraphs = [f"{n}.{m} of {here.name} {'word ' * 12}" for m in range(1 + n * 7 % 9)]
            file.write(json.dumps({"id": custom_id, "text": "\n\n".join(paragraphs)}) + "\n")
    return ids


@pytest.fixture(autouse=True)
def no_survivors() -> Iterator[None]:
    """A victim that a failed test left running is killed."""
    yield
    kill_survivors()

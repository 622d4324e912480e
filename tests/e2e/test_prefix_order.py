"""Rows that share a long prefix, interleaved: more of their tokens come from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from batchkit.prefix_order import PrefixOrder
from tests.e2e.conftest import Command, Simulate, summary_of, write_rows

DOCUMENTS, QUESTIONS = 60, 6
REMEMBERED = 40  # prefixes: of each document there are two


def interleaved() -> list[dict[str, Any]]:
    """Every document with a first question, then every one with a second …"""
    return [
        {"prompt": f"{document} ".ljust(2100, "x") + f"Question {question}?", "max_tokens": 5}
        for question in range(QUESTIONS)
        for document in range(DOCUMENTS)
    ]


@pytest.mark.parametrize("model", ["glm-4-plus", "glm-4-airx"])
def test_documents_with_several_questions_are_served_from_the_cache(
    batchkit: Command, simulate: Simulate, here: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Where cached tokens cost less; where they do not, rows come as they stand."""
    write_rows(here / "q.jsonl", interleaved())

    def cached_share(out: str) -> float:
        running = simulate(cache=True, cache_prefixes=REMEMBERED, latency="0.005")
        words = ("--endpoint", running.url, "--model", model, "--concurrency", "2", "-o", out)
        assert batchkit("run", "q.jsonl", *words).code == 0
        summary = summary_of(here / out)
        return float(summary["cached_tokens"] / summary["prompt_tokens"])

    near = cached_share("near")

    def as_given(_self: PrefixOrder, rows: Sequence[Any]) -> list[Any]:
        return list(rows)

    monkeypatch.setattr(PrefixOrder, "order", as_given)
    plain = cached_share("plain")
    assert plain < 0.1
    if model == "glm-4-plus":
        assert near > 0.6
    else:
        assert near < 0.1

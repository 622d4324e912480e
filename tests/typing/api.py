"""The public API as callers use it: only type-checked, never run."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import assert_type

import pyarrow as pa

import batchkit


def every_option(folder: Path) -> None:
    summary = batchkit.run(
        folder / "job.toml",
        quiet=False,
        out=folder / "out",
        input="other.jsonl",
        model="glm-4-plus",
        tier="V1",
        endpoint="http://127.0.0.1:8000/v1",
        dialect="openai",
        api_key_env="KEY",
        concurrency={"glm-4-plus": 10},
        timeout=60,
        max_attempts=3,
        budget=Decimal("1.50"),
        limit=100,
        models="models.toml",
        format="parquet",
        skip_invalid=True,
        processes=2,
        drain=10,
        update=True,
        retry_failed=["timeout"],
        reask_damaged=True,
        local_model="model.gguf",
    )
    assert_type(summary, batchkit.RunSummary)
    assert_type(summary.ok, int)
    assert_type(summary.cost, str | None)
    assert_type(summary.models["glm-4-plus"].failed, int)
    assert_type(summary.exit_code, int)


def short_forms() -> None:
    assert_type(batchkit.run("requests.jsonl"), batchkit.RunSummary)
    assert_type(batchkit.run("requests.jsonl", concurrency=10, budget="1"), batchkit.RunSummary)
    assert_type(batchkit.read_results("runs/requests"), pa.Table)
    assert_type(batchkit.__version__, str)


async def in_a_loop() -> None:
    assert_type(await batchkit.run_async("requests.jsonl", tier="V1"), batchkit.RunSummary)


def errors_are_caught_by_their_names() -> str:
    try:
        batchkit.run("requests.jsonl")
    except batchkit.UsageError as error:
        return str(error)
    except batchkit.StoppedError as error:
        return str(error)
    except batchkit.BatchkitError as error:
        assert_type(error.exit_code, int)
    return ""


def an_option_that_is_none_is_refused() -> None:
    batchkit.run("requests.jsonl", tiers="V1")  # type: ignore[call-arg]  # misspelt
    batchkit.run("requests.jsonl", limit="10")  # type: ignore[arg-type]  # a number

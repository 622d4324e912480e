"""The local model's row of the model table, and what to say of it; importing this costs nothing."""

from __future__ import annotations

from typing import Any

SLOTS = 4  # requests that the local server answers at once
CONTEXT = 2048  # tokens of one slot; the model was trained with 8,192

LOCAL_MODEL: dict[str, Any] = {
    "name": "smollm2-135m-instruct",
    "context": CONTEXT,
    "max_output": CONTEXT,  # the server cuts an answer only where the context ends
    "concurrency": SLOTS,
    "json_schema": True,
    "price": {"input": "0", "output": "0", "currency": "CNY"},
}
"""A row as it stands under `[models]`, with its name."""

NOTICE = (
    "SmolLM2-135M-Instruct is a toy: its answers are fluent and often wrong; "
    "they show that a run works, not what a model can do"
)

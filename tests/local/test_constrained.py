"""Answers that the local model could not give by itself, held to a schema as they are made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import batchkit
from batchkit.errors import UsageError
from tests.local.test_server import SCHEMA, unavailable

JOB = """
input = "q.jsonl"
model = "smollm2-135m-instruct"
endpoint = "local"
[prompt]
user = "{{ text }}"
[params]
temperature = 0
max_tokens = 64
"""


@pytest.mark.timeout(300)
def test_every_answer_of_the_local_model_validates_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.toml").write_text(JOB, "utf-8")
    texts = ["The grass is green.", "Blood is red, 3 drops.", "Tell me a joke."]
    Path("q.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    try:
        summary = batchkit.run("job.toml", out="out", schema=SCHEMA)
    except UsageError as error:
        unavailable(str(error))
    assert (summary.ok, summary.attempts) == (3, 3)
    for row in batchkit.read_results("out").to_pylist():
        assert row["output"]["colour"] in {"green", "red"}
        assert 0 <= row["output"]["digit"] <= 9

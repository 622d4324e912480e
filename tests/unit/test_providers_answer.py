from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit import errors, verdicts
from batchkit.errors import ErrorKind
from batchkit.providers.codec import decode
from batchkit.providers.transport import Reply
from batchkit.records import Completion, Failure, Outcome, Usage


def answer(**changes: Any) -> dict[str, Any]:
    return {
        "id": "a-1",
        "model": "glm-4-plus",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
        ],
        "usage": {"prompt_tokens": 6, "completion_tokens": 9, "total_tokens": 15},
    } | changes


def choice(message: Any, finish_reason: Any = "stop") -> list[dict[str, Any]]:
    return [{"finish_reason": finish_reason, "message": message}]


def decoded(body: Any, status: int = 200) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode(Reply(status, {}, raw), now=0.0)


def completion(**changes: Any) -> Completion:
    plain = Completion("hi", "stop", Usage(6, 0, 9), response_id="a-1", response_model="glm-4-plus")
    return msgspec.structs.replace(plain, **changes)


class TestAnswers:
    @pytest.mark.parametrize(
        "reason", ["stop", "length", "tool_calls", "function_call", "eos", None]
    )
    def test_an_answer_is_kept_whatever_ended_it(self, reason: str | None) -> None:
        body = answer(choices=choice({"content": "hi"}, reason))
        assert decoded(body) == completion(finish_reason=reason)

    @pytest.mark.parametrize(
        ("reason", "verdict"),
        [
            ("sensitive", verdicts.SENSITIVE_ANSWER),
            ("content_filter", verdicts.SENSITIVE_ANSWER),
            ("model_context_window_exceeded", verdicts.CONTEXT_FULL),
            ("network_error", verdicts.NETWORK_ERROR),
        ],
    )
    def test_an_answer_that_broke_off_is_a_failure_that_keeps_text_and_usage(
        self, reason: str, verdict: errors.Verdict
    ) -> None:
        outcome = decoded(answer(choices=choice({"content": "ha"}, reason)))
        assert isinstance(outcome, Failure)
        assert outcome.message
        assert outcome == Failure(
            verdict,
            outcome.message,
            http_status=200,
            usage=Usage(6, 0, 9),
            content="ha",
            finish_reason=reason,
            response_id="a-1",
            response_model="glm-4-plus",
        )

    def test_a_failure_without_usage_is_not_called_billed(self) -> None:
        body = answer(choices=choice({"content": ""}, "network_error"), usage=None)
        outcome = decoded(body)
        assert isinstance(outcome, Failure)
        assert outcome.usage is None

    def test_an_empty_content_stays_empty_and_a_missing_one_is_none(self) -> None:
        assert decoded(answer(choices=choice({"content": ""}))) == completion(content="")
        assert decoded(answer(choices=choice({}))) == completion(content=None)

    def test_tool_calls_are_kept_as_json_text(self) -> None:
        calls = [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"é"}'}}
        ]
        outcome = decoded(answer(choices=choice({"content": None, "tool_calls": calls})))
        assert isinstance(outcome, Completion)
        assert outcome == completion(content=None, tool_calls=outcome.tool_calls)
        assert json.loads(outcome.tool_calls or "") == calls
        none: list[Any] = []
        assert (
            decoded(answer(choices=choice({"content": "hi", "tool_calls": none}))) == completion()
        )

    def test_content_in_parts_is_joined(self) -> None:
        parts = ["a", {"type": "text", "text": "b"}, {"type": "image_url"}, {"text": 3}, None]
        assert decoded(answer(choices=choice({"content": parts}))) == completion(content="ab")

    def test_only_the_first_choice_counts(self) -> None:
        two = choice({"content": "hi", "reasoning_content": "hm"}) + choice({"content": "ho"})
        assert decoded(answer(choices=two)) == completion()

    def test_an_answer_with_broken_text_is_still_read(self) -> None:
        for text, expected in [
            (b"\xff", "�"),
            (b"\\ud800", "�"),
            (b"\\ud83d\\ude00", "😀"),
            (b"\n\x00", "\n\x00"),
        ]:
            body = json.dumps(answer()).encode().replace(b'"hi"', b'"' + text + b'"')
            assert decoded(body) == completion(content=expected)
        assert decoded(b"\xef\xbb\xbf" + json.dumps(answer()).encode()) == completion()

    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            (None, Usage()),
            ([], Usage()),
            ("many", Usage()),
            ({}, Usage()),
            ({"prompt_tokens": 6}, Usage(6, 0, 0)),
            ({"prompt_tokens": -6, "completion_tokens": 9}, Usage(0, 0, 9)),
            ({"prompt_tokens": "6", "completion_tokens": 9.0}, Usage()),
            ({"prompt_tokens": True, "completion_tokens": 10**30}, Usage()),
            ({"prompt_tokens": 6, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(6, 4, 0)),
            ({"prompt_tokens": 6, "prompt_tokens_details": {"cached_tokens": 60}}, Usage(6, 6, 0)),
            ({"prompt_tokens": 6, "prompt_tokens_details": {"cached_tokens": -1}}, Usage(6, 0, 0)),
            ({"prompt_tokens": 6, "prompt_tokens_details": None}, Usage(6, 0, 0)),
            ({"prompt_tokens": 6, "prompt_tokens_details": "x"}, Usage(6, 0, 0)),
            ({"prompt_tokens": 6, "prompt_cache_hit_tokens": 5}, Usage(6, 5, 0)),
            ({"prompt_tokens": 6, "prompt_cache_hit_tokens": 1e3}, Usage(6, 0, 0)),
        ],
    )
    def test_only_plausible_counts_are_believed(self, usage: Any, expected: Usage) -> None:
        assert decoded(answer(usage=usage)) == completion(usage=expected)

    def test_names_that_cannot_be_shown_are_cleaned(self) -> None:
        outcome = decoded(answer(id="\x1b[31ma\u202eb\n", model="m" * 1000))
        assert outcome == completion(response_id="ab", response_model="m" * 99 + "…")
        assert decoded(answer(id=17, model=["x"])) == completion(
            response_id="17", response_model=None
        )

    @pytest.mark.parametrize("error", [None, "", {}])
    def test_an_empty_error_beside_an_answer_is_none(self, error: Any) -> None:
        assert decoded(answer(error=error)) == completion()

    def test_any_success_status_can_carry_an_answer_and_no_other_can(self) -> None:
        assert decoded(answer(), 201) == completion(http_status=201)
        outcome = decoded(answer(), 500)
        assert isinstance(outcome, Failure)
        assert outcome.verdict.kind is ErrorKind.SERVER_ERROR


_KEYS = [
    *("choices", "message", "content", "tool_calls", "id", "error", "code", "type", "msg"),
    *("success", "usage", "prompt_tokens", "completion_tokens", "cached_tokens"),
]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


class TestAnyAnswer:
    @given(st.binary(), st.integers(100, 999))
    def test_no_bytes_raise(self, body: bytes, status: int) -> None:
        _check(decode(Reply(status, {}, body), now=0.0))

    @given(_JSON, st.sampled_from([200, 400, 429, 500]))
    def test_no_json_raises(self, document: Any, status: int) -> None:
        _check(decoded(document, status))

    @given(_JSON, st.sampled_from(["content", "tool_calls", "usage", "finish_reason", "id"]))
    def test_no_value_in_an_answer_raises(self, value: Any, place: str) -> None:
        if place in {"usage", "id"}:
            body = answer(**{place: value})
        else:
            body = answer(choices=[{"message": {place: value}, place: value}])
        _check(decoded(body))

    @pytest.mark.parametrize("body", [b"[" * 100_000, b'{"error":' * 100_000, b'{"a":1' * 9])
    def test_no_depth_raises(self, body: bytes) -> None:
        for status in (200, 500):
            _check(decode(Reply(status, {}, body), now=0.0))


def _check(outcome: Outcome) -> None:
    """An outcome can be journaled, and what is in it can be believed."""
    msgspec.json.encode(outcome)
    usage = outcome.usage or Usage()
    assert 0 <= usage.cached <= usage.prompt
    assert usage.completion >= 0
    if isinstance(outcome, Failure):
        assert outcome.message.isprintable()
        assert 0 < len(outcome.message) <= 300

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.errors import UsageError
from batchkit.models import Model
from batchkit.providers.codec import Dialect, dialect_of, encode, with_request_id
from batchkit.records import Request

MODEL = Model(name="glm-4-plus", concurrency=5, max_output=4095)
SCHEMA = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}}
HELLO = [{"role": "user", "content": "hello"}]


def request(messages: list[dict[str, Any]], params: dict[str, Any] | None = None) -> Request:
    return Request(0, "r-0", MODEL.name, messages, params or {}, 6)


def sent(
    params: dict[str, Any],
    dialect: Dialect = Dialect.GLM,
    model: Model = MODEL,
    schema: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The parameters on the wire, without model and messages."""
    body = json.loads(encode(request(HELLO, params), model, dialect, schema))
    assert body.pop("model") == model.name
    assert body.pop("messages") == HELLO
    assert isinstance(body, dict)
    return body


class TestDialect:
    @pytest.mark.parametrize(
        ("url", "dialect"),
        [
            ("https://open.bigmodel.cn/api/paas/v4", Dialect.GLM),
            ("https://api.z.ai/api/paas/v4/", Dialect.GLM),
            ("http://127.0.0.1:8000/v1", Dialect.OPENAI),
            ("http://127.0.0.1:8000/paas/v4/x", Dialect.OPENAI),
        ],
    )
    def test_glm_is_told_by_the_end_of_the_address(self, url: str, dialect: Dialect) -> None:
        assert dialect_of(url) is dialect


class TestEncode:
    def test_parameters_pass_as_given_and_unknown_ones_too(self) -> None:
        params = {"seed": 7, "tools": [{"type": "function"}], "novel": {"a": None}}
        assert sent(params, Dialect.GLM) == params
        assert sent(params, Dialect.OPENAI) == params

    def test_openai_gets_every_value_untouched(self) -> None:
        params = {"temperature": 0, "top_p": 0, "max_tokens": 10**6, "stop": "x", "request_id": "r"}
        assert sent(params, Dialect.OPENAI) == params

    @pytest.mark.parametrize("given", [{}, {"response_format": {"type": "json_object"}}])
    def test_an_answer_is_held_to_the_schema_where_the_models_endpoint_can(
        self, given: dict[str, Any]
    ) -> None:
        able = msgspec.structs.replace(MODEL, json_schema=True)
        form = {"name": "answer", "strict": True, "schema": SCHEMA}
        held = {"response_format": {"type": "json_schema", "json_schema": form}}
        assert sent(given, Dialect.OPENAI, able, SCHEMA) == held
        for dialect, model, schema in (
            (Dialect.GLM, able, SCHEMA),  # that service ignores it and says nothing
            (Dialect.OPENAI, MODEL, SCHEMA),
            (Dialect.OPENAI, able, None),
        ):
            assert sent(given, dialect, model, schema) == given

    def test_a_row_that_asks_for_a_format_of_its_own_gets_that(self) -> None:
        able = msgspec.structs.replace(MODEL, json_schema=True)
        given = {"response_format": {"type": "text"}}
        assert sent(given, Dialect.OPENAI, able, SCHEMA) == given

    @pytest.mark.parametrize("dialect", Dialect)
    def test_an_answer_is_never_streamed(self, dialect: Dialect) -> None:
        assert sent({"stream": True, "stream_options": {"include_usage": True}}, dialect) == {}

    @pytest.mark.parametrize("dialect", Dialect)
    def test_a_parameter_cannot_replace_the_model_or_the_messages(self, dialect: Dialect) -> None:
        assert sent({"model": "other", "messages": []}, dialect) == {}

    @pytest.mark.parametrize("temperature", [0, 0.0, -1, -0.5])
    def test_glm_is_asked_for_greedy_answers_by_do_sample(self, temperature: float) -> None:
        params = {"temperature": temperature, "top_p": 0.7, "do_sample": True}
        assert sent(params) == {"do_sample": False}

    @pytest.mark.parametrize("name", ["temperature", "top_p"])
    @pytest.mark.parametrize(
        ("given", "expected"),
        [(0.001, 0.01), (0.123, 0.12), (0.999, 1.0), (1, 1.0), (2, 1.0), (1e308, 1.0)],
    )
    def test_glm_sampling_has_two_decimals_between_a_hundredth_and_one(
        self, name: str, given: float, expected: float
    ) -> None:
        assert sent({name: given}) == {name: expected}

    @pytest.mark.parametrize("value", ["0.5", True, None, [1]])
    def test_what_is_no_number_is_left_to_the_service(self, value: Any) -> None:
        params = {"temperature": value, "top_p": value, "max_tokens": value}
        assert sent(params) == params

    def test_what_json_has_no_number_for_becomes_null(self) -> None:
        params = {"temperature": math.nan, "top_p": math.nan, "seed": math.inf}
        assert sent(params) == dict.fromkeys(params)

    def test_glm_max_tokens_is_cut_to_what_the_model_can_give(self) -> None:
        uncapped = Model(name="free", concurrency=1)
        assert sent({"max_tokens": 5000}) == {"max_tokens": 4095}
        assert sent({"max_tokens": 4095}) == {"max_tokens": 4095}
        assert sent({"max_tokens": -1}) == {"max_tokens": -1}
        assert sent({"max_tokens": 5000}, model=uncapped) == {"max_tokens": 5000}

    def test_glm_takes_stop_words_as_a_list(self) -> None:
        assert sent({"stop": "END"}) == {"stop": ["END"]}
        assert sent({"stop": ["a", "b"]}) == {"stop": ["a", "b"]}

    def test_glm_rows_bring_no_request_id_of_their_own(self) -> None:
        assert sent({"request_id": "mine"}) == {}

    def test_glm_content_in_text_parts_becomes_a_string(self) -> None:
        image = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "y"}]
        odd: list[Any] = [{"type": "text"}, "text", {"type": "text", "text": 5}]
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": [{"type": "text", "text": t} for t in ("a", "b", "c")]},
            {"role": "user", "content": image},
            {"role": "user", "content": odd},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "assistant"},
        ]
        before = json.dumps(messages)
        body = json.loads(encode(request(messages), MODEL, Dialect.GLM))
        assert body["messages"] == [{"role": "system", "content": "abc"}, *messages[1:]]
        assert json.dumps(messages) == before
        openai = json.loads(encode(request(messages), MODEL, Dialect.OPENAI))
        assert openai["messages"] == messages

    def test_halves_of_surrogate_pairs_are_joined_or_replaced(self) -> None:
        messages = [{"role": "user", "content": "a\ud800b \ud83d\ude00", "\udc00": ["\udfff"]}]
        body = json.loads(encode(request(messages), MODEL, Dialect.GLM))
        assert body["messages"] == [{"role": "user", "content": "a�b 😀", "�": ["�"]}]

    def test_a_request_that_json_cannot_hold_names_its_row(self) -> None:
        nested: list[Any] = []
        for _ in range(5000):
            nested = [nested]
        for value in (nested, object()):
            with pytest.raises(UsageError, match=r"^row 0 \('r-0'\): cannot be written as JSON; "):
                encode(request(HELLO, {"tools": value}), MODEL, Dialect.GLM)

    @given(
        st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats()),
        st.text(st.characters()),
    )
    def test_any_parameters_become_one_json_object(self, params: dict[str, Any], text: str) -> None:
        messages = [{"role": "user", "content": text}]
        for dialect in Dialect:
            body = json.loads(encode(request(messages, params), MODEL, dialect))
            assert isinstance(body, dict)

    @given(st.text(), st.text())
    def test_a_request_id_is_spliced_in_without_touching_the_rest(
        self, text: str, id_: str
    ) -> None:
        body = encode(request([{"role": "user", "content": text}], {"seed": 1}), MODEL, Dialect.GLM)
        spliced = json.loads(with_request_id(body, id_))
        assert spliced == {"request_id": id_} | json.loads(body)

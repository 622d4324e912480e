from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.providers.refusal import refusal, retry_after_s
from batchkit.providers.transport import Reply
from batchkit.providers.untrusted import label, one_line
from batchkit.records import Failure, Usage
from batchkit.verdicts import BAD_RESPONSE, verdict_for

NOW = datetime(2026, 11, 24, 15, 30, tzinfo=UTC).timestamp()  # 23:30 in Shanghai
KEY = "0123456789abcdef.secretsecret"


def refused(body: Any, status: int = 400, secret: str | None = KEY) -> Failure:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal(Reply(status, {}, raw), now=NOW, secret=secret)


def failure(status: int, code: str | None, message: str) -> Failure:
    return Failure(verdict_for(status, code), message, http_status=status, code=code)


class TestCodes:
    @pytest.mark.parametrize("code", ["1302", 1302, " 1302 "], ids=repr)
    @pytest.mark.parametrize("status", [200, 429, 500])
    def test_the_code_decides_as_text_and_as_number_whatever_the_status(
        self, code: Any, status: int
    ) -> None:
        body = {"error": {"code": code, "message": "slow"}}
        assert refused(body, status) == failure(status, "1302", "slow")

    @pytest.mark.parametrize(
        ("body", "code", "message"),
        [
            ({"code": 1113, "msg": "empty", "success": False}, "1113", "empty"),
            ({"error": {"type": "overloaded_error"}}, "overloaded_error", None),
            ({"error": {"code": None, "type": "insufficient_quota"}}, "insufficient_quota", None),
            (
                {"error": {"code": 400, "type": "exceed_context_size_error", "message": "m"}},
                "exceed_context_size_error",
                "m",
            ),
            ({"error": {"code": "odd", "type": "odder", "message": "m"}}, "odd", "m"),
            ([{"error": {"code": "1305", "message": "m"}}], "1305", "m"),
            ({"error": "model 'x' not found"}, None, "model 'x' not found"),
            ({"detail": "Not Found"}, None, "Not Found"),
            ({"detail": [{"loc": ["body"]}]}, None, None),
            ({"contentFilter": [{"level": 1}], "error": {"code": "1301"}}, "1301", None),
            ({"error": {"code": True, "type": "", "message": 5}}, None, None),
            ({"error": {"code": {"a": 1}, "message": ["m"]}}, None, None),
            ({"error": None}, None, None),
            ({}, None, None),
            ([], None, None),
            ("busy", None, None),
        ],
    )
    def test_every_form_of_an_error_is_read(
        self, body: Any, code: str | None, message: str | None
    ) -> None:
        words = message or "HTTP 400 without a message"
        assert refused(body) == failure(400, code, words)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "HTTP 502 with an empty body"),
            (b" \r\n", "HTTP 502 with an empty body"),
            (b"<html>\n<b>Bad</b>", "HTTP 502, not JSON: <html> <b>Bad</b>"),
            (b'{"error":{"code":"13', 'HTTP 502, not JSON: {"error":{"code":"13'),
            (b"\xff\xfe", "HTTP 502, not JSON: ��"),
        ],
    )
    def test_without_json_the_status_decides(self, body: bytes, message: str) -> None:
        assert refused(body, 502) == failure(502, None, message)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"data: {}\n\n",
            b'{"choices":[{"mes',
            [],
            "x",
            {"choices": [{}]},
            {"choices": {"a": 1}},
            {"choices": [{"message": {"content": 4}}]},
        ],
    )
    def test_success_that_cannot_be_read_may_have_been_billed(self, body: Any) -> None:
        outcome = refused(body, 200)
        assert outcome == Failure(BAD_RESPONSE, outcome.message, http_status=200)

    @pytest.mark.parametrize("body", [{}, {"choices": []}, {"error": "x"}, {"success": False}])
    def test_success_without_an_answer_is_a_fault_of_the_server(self, body: Any) -> None:
        outcome = refused(body, 200)
        assert outcome == failure(200, None, outcome.message)

    def test_what_a_failure_says_it_used_is_kept(self) -> None:
        body = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
        assert refused(body, 200).usage == Usage(3, 0, 1)


class TestWaits:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "7"}, 7.0),
            ({"retry-after": " 1.5 "}, 1.5),
            ({"retry-after": "0"}, 0.0),
            ({"retry-after": "999999999"}, 3600.0),
            ({"retry-after-ms": "250"}, 0.25),
            ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
            ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
            ({"retry-after": "Tue, 24 Nov 2026 15:30:20 GMT"}, 20.0),
            ({"retry-after": "Tue, 24 Nov 2026 15:30:20 -0000"}, 20.0),
            ({"retry-after": "Tue, 24 Nov 2026 15:00:00 GMT"}, 0.0),
            ({"retry-after": "Tue, 24 Nov 2036 15:00:00 GMT"}, 3600.0),
            *[
                ({"retry-after": odd}, None)
                for odd in ("-3", "nan", "inf", "1e3", "１", "soon", "", "1" * 400, "1, 2 Nov")
            ],
        ],
    )
    def test_a_wait_is_read_from_the_headers_within_an_hour(
        self, headers: dict[str, str], seconds: float | None
    ) -> None:
        assert retry_after_s(Reply(429, headers, b""), NOW) == seconds

    @given(st.text(), st.text())
    def test_no_header_raises(self, one: str, other: str) -> None:
        headers = {"retry-after": one, "retry-after-ms": other}
        seconds = retry_after_s(Reply(429, headers, b""), NOW)
        assert seconds is None or 0.0 <= seconds <= 3600.0


class TestResets:
    def resets_at(self, code: str, message: str) -> float | None:
        return refused({"error": {"code": code, "message": message}}, 429).resets_at

    @pytest.mark.parametrize("code", ["1308", "1310", "1316", "1304"])
    def test_the_date_in_the_message_of_a_cap_is_shanghais(self, code: str) -> None:
        message = "已达到 5 小时 的使用上限。您的限额将在 2026-11-25 03:04:05 重置"
        expected = datetime(2026, 11, 24, 19, 4, 5, tzinfo=UTC).timestamp()
        assert self.resets_at(code, message) == expected

    @pytest.mark.parametrize("message", ["", "soon", "2026-02-31 00:00:00", "2026-13-01 99:00:00"])
    def test_without_a_date_nothing_is_said(self, message: str) -> None:
        assert self.resets_at("1308", message) is None

    def test_a_date_that_is_none_does_not_hide_a_later_one(self) -> None:
        message = "9999-99-99 00:00:00, 2026-11-25 00:00:00"
        assert self.resets_at("1308", message) == NOW + 1800

    def test_the_daily_cap_ends_at_midnight_in_shanghai(self) -> None:
        assert self.resets_at("1304", "今日调用次数限额") == NOW + 1800

    def test_a_date_in_another_error_means_nothing(self) -> None:
        assert self.resets_at("1302", "2026-11-25 03:04:05") is None


class TestWords:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a\nb\r\n\tc\u2028d\x85e", "a b c d e"),
            ("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x1b\\", "red link"),
            ("\x1b[", "["),
            ("a\u202eb\u2066c\u200bd\x00e\ud800f\x9bg", "abcdefg"),
            ("  ", ""),
            ("余额不足", "余额不足"),
            ("x" * 300, "x" * 300),
            ("x" * 301, "x" * 299 + "…"),
            ("x" * 10**6, "x" * 299 + "…"),
        ],
    )
    def test_a_message_is_one_harmless_line(self, text: str, line: str) -> None:
        assert one_line(text) == line

    @given(st.text(max_size=400), st.text(max_size=400))
    def test_a_message_never_holds_the_key(self, before: str, after: str) -> None:
        for body in (
            {"error": {"code": f"{KEY}", "message": before + KEY + after}},
            (before + KEY + after).encode("utf-8", "replace"),
        ):
            outcome = refused(body, 401)
            assert KEY not in outcome.message
            assert KEY not in (outcome.code or "")

    def test_a_key_that_is_cut_or_broken_up_is_masked_all_the_same(self) -> None:
        assert one_line("x" * 290 + KEY, KEY) == "x" * 290 + "***"
        assert one_line("bad \x1b[1m" + KEY[:9] + "\x00" + KEY[9:], KEY) == "bad ***"

    def test_a_label_is_kept_as_it_is_unless_it_cannot_be_shown(self) -> None:
        assert label("glm-4  x") == "glm-4  x"
        assert label("a\nb") == "a b"
        assert label("y" * 101) == "y" * 99 + "…"

"""Every code has its class, and a status decides only where no code is known."""

from __future__ import annotations

import pytest

from batchkit import verdicts
from batchkit.errors import (
    REFUSALS,
    Again,
    Billing,
    ErrorKind,
    Signal,
    Stops,
    Verdict,
)
from batchkit.verdicts import BY_CODE, BY_OPENAI_CODE, verdict_for

# C: again, and fewer in flight. B: again, after a pause. R: the row failed. R/J: the row, or the
# model if nothing of it has been answered. JM: stops the model. J: stops the run.
CLASSES = {
    "500": "B",
    "1000": "J",
    "1001": "J",
    "1002": "J",
    "1003": "J",
    "1004": "J",
    "1005": "J",
    "1100": "B",
    "1110": "J",
    "1111": "J",
    "1112": "J",
    "1113": "J",
    "1120": "B",
    "1121": "J",
    "1200": "B",
    "1210": "R",
    "1211": "R/J",
    "1212": "R/J",
    "1213": "R",
    "1214": "R",
    "1215": "R",
    "1220": "JM",
    "1221": "JM",
    "1222": "J",
    "1230": "B",
    "1231": "B",
    "1232": "R",
    "1233": "R",
    "1234": "B",
    "1235": "B",
    "1260": "B",
    "1261": "R",
    "1300": "R/J",
    "1301": "R",
    "1302": "C",
    "1303": "C",
    "1304": "J",
    "1305": "B",
    "1308": "J",
    "1309": "J",
    "1310": "J",
    "1311": "JM",
    "1312": "B",
    "1313": "J",
    "1314": "J",
    "1315": "J",
    "1316": "J",
    "1317": "J",
    "1318": "J",
    "1319": "J",
    "1320": "J",
    "1321": "J",
}
_REACH = {Stops.ROW: "R", Stops.UNIFORM: "R/J", Stops.MODEL: "JM", Stops.JOB: "J"}


def class_of(verdict: Verdict) -> str:
    if verdict.again is Again.NEVER:
        return _REACH[verdict.stops]
    return "C" if verdict.signal is Signal.REFUSED else "B"


def test_every_code_of_the_provider_has_its_class() -> None:
    assert {code: class_of(verdict) for code, verdict in BY_CODE.items()} == CLASSES


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_a_code_decides_whatever_the_status_is(code: str) -> None:
    assert {verdict_for(status, code) for status in (200, 400, 401, 429, 500)} == {BY_CODE[code]}


def test_refusals_for_load_and_only_they_are_free() -> None:
    free = {code for code, verdict in BY_CODE.items() if verdict.again is Again.FREE}
    assert free == {"1302", "1303", "1305", "1312"}
    assert {BY_CODE[code].kind for code in free} == REFUSALS


def test_a_busy_platform_shrinks_the_limit_gently_and_the_accounts_own_limit_cuts_it() -> None:
    signals = {code: BY_CODE[code].signal for code in ("1302", "1303", "1305", "1312", "1234")}
    assert signals == {
        "1302": Signal.REFUSED,
        "1303": Signal.REFUSED,
        "1305": Signal.STRAINED,
        "1312": Signal.STRAINED,
        "1234": Signal.STRAINED,
    }


def test_what_stops_a_model_or_a_run_says_why_and_what_to_do() -> None:
    stopping = [
        verdict
        for verdict in (*BY_CODE.values(), *BY_OPENAI_CODE.values(), verdict_for(302, None))
        if verdict.stops is not Stops.ROW
    ]
    assert len(stopping) > 20
    for verdict in stopping:
        for words in (verdict.words, verdict.remedy):
            assert words
            assert words.isprintable()
            assert words == words.strip()
            assert words[0].islower()


@pytest.mark.parametrize(
    ("status", "code", "kind", "reach"),
    [
        (429, None, ErrorKind.CONCURRENCY, "C"),
        (429, "", ErrorKind.CONCURRENCY, "C"),
        (429, "9999", ErrorKind.CONCURRENCY, "C"),
        (401, "9999", ErrorKind.AUTHENTICATION, "J"),
        (402, None, ErrorKind.ARREARS, "J"),
        (403, None, ErrorKind.PERMISSION, "JM"),
        (404, None, ErrorKind.UNKNOWN_MODEL, "R/J"),
        (400, None, ErrorKind.INVALID_REQUEST, "R"),
        (418, "teapot", ErrorKind.INVALID_REQUEST, "R"),
        (408, None, ErrorKind.SERVER_ERROR, "B"),
        (409, None, ErrorKind.SERVER_ERROR, "B"),
        (425, None, ErrorKind.SERVER_ERROR, "B"),
        (500, None, ErrorKind.SERVER_ERROR, "B"),
        (502, None, ErrorKind.SERVER_ERROR, "B"),  # a proxy's page in HTML
        (599, "9999", ErrorKind.SERVER_ERROR, "B"),
        (503, None, ErrorKind.OVERLOADED, "B"),
        (529, None, ErrorKind.OVERLOADED, "B"),
        (200, None, ErrorKind.SERVER_ERROR, "B"),  # an error inside a good answer
        (301, None, ErrorKind.PERMISSION, "J"),
        (307, None, ErrorKind.PERMISSION, "J"),
        (429, "1113", ErrorKind.ARREARS, "J"),
        (429, "insufficient_quota", ErrorKind.ARREARS, "J"),
        (429, "rate_limit_exceeded", ErrorKind.RATE, "C"),
        (400, "context_length_exceeded", ErrorKind.CONTEXT_EXCEEDED, "R"),
    ],
)
def test_a_status_decides_where_no_code_is_known(
    status: int, code: str | None, kind: ErrorKind, reach: str
) -> None:
    verdict = verdict_for(status, code)
    assert (verdict.kind, class_of(verdict)) == (kind, reach)


def test_only_what_was_sent_without_an_answer_may_have_been_billed() -> None:
    maybe = {verdicts.TIMED_OUT, verdicts.CUT_OFF, verdicts.BAD_RESPONSE}
    assert {verdict.billing for verdict in maybe} == {Billing.UNKNOWN}
    never = (
        verdicts.UNREACHABLE,
        verdicts.LOCAL_TROUBLE,
        *BY_CODE.values(),
        *BY_OPENAI_CODE.values(),
    )
    assert {verdict.billing for verdict in never} == {Billing.FREE}

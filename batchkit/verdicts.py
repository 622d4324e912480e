"""Every way a request can fail, and what follows from it: one table, keyed by the provider's code.

An HTTP status alone decides nothing where a code is known: Zhipu answers 429 for too many requests
in flight (1302), a busy platform (1305) and an empty account (1113) alike. The text of a message
decides nothing at all.

Source of the codes: docs.bigmodel.cn, `faq/api-code` (2026) and `api/api-code` (2025).
"""

from __future__ import annotations

import msgspec

from batchkit.errors import Again, Billing, ErrorKind, Signal, Stops, Verdict


def _again(kind: ErrorKind, signal: Signal, **rest: object) -> Verdict:
    return msgspec.structs.replace(Verdict(kind, Again.COUNTED, signal=signal), **rest)


def _stop(kind: ErrorKind, stops: Stops, words: str, remedy: str) -> Verdict:
    return Verdict(kind, stops=stops, words=words, remedy=remedy)


_CONCURRENCY = Verdict(ErrorKind.CONCURRENCY, Again.FREE, signal=Signal.REFUSED, pause_s=0.5)
_RATE = Verdict(ErrorKind.RATE, Again.FREE, signal=Signal.REFUSED, pause_s=1.0)
_OVERLOADED = Verdict(ErrorKind.OVERLOADED, Again.FREE, signal=Signal.STRAINED, pause_s=2.0)
_SERVER = _again(ErrorKind.SERVER_ERROR, Signal.STRAINED, pause_s=1.0)
_INVALID = Verdict(ErrorKind.INVALID_REQUEST)
_KEY = _stop(
    ErrorKind.AUTHENTICATION,
    Stops.JOB,
    "the key was refused",
    "check the key in {key} and run again",
)
_ACCOUNT = _stop(
    ErrorKind.ACCOUNT, Stops.JOB, "the account cannot be used", "see its page at the provider"
)
_ARREARS = _stop(
    ErrorKind.ARREARS, Stops.JOB, "the account is in arrears", "recharge and run again"
)
_PLAN = _stop(
    ErrorKind.PERMISSION,
    Stops.JOB,
    "the key's plan does not cover this",
    "put a key that does in {key} and run again",
)
_CLOSED_MODEL = _stop(
    ErrorKind.PERMISSION,
    Stops.MODEL,
    "the account may not use this model",
    "ask for access or take another model",
)
_CAP = _stop(
    ErrorKind.USAGE_CAP, Stops.JOB, "the usage cap is reached", "run again when it has been reset"
)
_FAIR_USE = _stop(
    ErrorKind.ACCOUNT,
    Stops.JOB,
    "the provider restricts this account for its pattern of use",
    "pause, and run again later",
)
_NO_MODEL = _stop(
    ErrorKind.UNKNOWN_MODEL,
    Stops.UNIFORM,
    "the service does not know this model",
    "check its name, or add it to the model table with its own endpoint",
)
_NO_METHOD = _stop(
    ErrorKind.INVALID_REQUEST,
    Stops.UNIFORM,
    "the model does not support this kind of call",
    "take another model",
)
_NO_API = _stop(
    ErrorKind.PERMISSION,
    Stops.JOB,
    "the endpoint has no such service",
    "check the endpoint's address",
)
_POLICY = _stop(
    ErrorKind.POLICY,
    Stops.UNIFORM,
    "the provider's policy blocks these calls",
    "see the policy at the provider",
)
_REDIRECT = _stop(
    ErrorKind.PERMISSION, Stops.JOB, "the endpoint redirects", "give its final address"
)

BY_CODE: dict[str, Verdict] = {
    "500": _SERVER,
    "1000": _KEY,
    "1001": _KEY,
    "1002": _KEY,
    "1003": _KEY,
    "1004": _KEY,
    "1005": _KEY,
    "1100": _SERVER,
    "1110": _ACCOUNT,
    "1111": _ACCOUNT,
    "1112": _ACCOUNT,
    "1113": _ARREARS,
    "1120": msgspec.structs.replace(
        _SERVER,
        stops=Stops.JOB,
        words="the provider cannot reach the account",
        remedy="run again later",
    ),
    "1121": _ACCOUNT,
    "1200": _SERVER,
    "1210": _INVALID,
    "1211": _NO_MODEL,
    "1212": _NO_METHOD,
    "1213": _INVALID,
    "1214": _INVALID,
    "1215": _INVALID,
    "1220": _CLOSED_MODEL,
    "1221": _CLOSED_MODEL,
    "1222": _NO_API,
    "1230": _SERVER,
    "1231": _again(
        ErrorKind.SERVER_ERROR, Signal.NEUTRAL
    ),  # a fresh request_id goes with each attempt
    "1232": _INVALID,
    "1233": _INVALID,
    "1234": _SERVER,
    "1235": _SERVER,
    "1260": _SERVER,
    "1261": Verdict(ErrorKind.CONTEXT_EXCEEDED),
    "1300": _POLICY,
    "1301": Verdict(ErrorKind.CONTENT_FILTERED),
    "1302": _CONCURRENCY,
    "1303": _RATE,
    "1304": _CAP,
    "1305": _OVERLOADED,
    "1308": _CAP,
    "1309": _PLAN,
    "1310": _CAP,
    "1311": _CLOSED_MODEL,
    "1312": _OVERLOADED,
    "1313": _FAIR_USE,
    "1314": _PLAN,
    "1315": _PLAN,
    **{str(code): _CAP for code in range(1316, 1322)},
}
"""The provider's business codes (glm dialect). Statuses are only a fallback."""

BY_OPENAI_CODE: dict[str, Verdict] = {
    "context_length_exceeded": Verdict(ErrorKind.CONTEXT_EXCEEDED),
    "content_filter": Verdict(ErrorKind.CONTENT_FILTERED),
    "insufficient_quota": _ARREARS,
    "billing_hard_limit_reached": _ARREARS,
    "invalid_api_key": _KEY,
    "account_deactivated": _ACCOUNT,
    "model_not_found": _NO_MODEL,
    "rate_limit_exceeded": _RATE,
    "overloaded_error": _OVERLOADED,
    "exceed_context_size_error": Verdict(ErrorKind.CONTEXT_EXCEEDED),  # llama.cpp's server
}
"""Codes and types of OpenAI-compatible services. Statuses are only a fallback."""

TIMED_OUT = _again(ErrorKind.TIMEOUT, Signal.STRAINED, billing=Billing.UNKNOWN)
UNREACHABLE = _again(ErrorKind.CONNECTION, Signal.NEUTRAL, pause_s=1.0)  # never sent
CUT_OFF = _again(ErrorKind.CONNECTION, Signal.NEUTRAL, billing=Billing.UNKNOWN)  # sent, no answer
OUTRUN = Verdict(ErrorKind.OUTRUN, billing=Billing.UNKNOWN)  # sent, and broken off by us
BAD_RESPONSE = _again(ErrorKind.BAD_RESPONSE, Signal.NEUTRAL, billing=Billing.UNKNOWN)
NETWORK_ERROR = _again(ErrorKind.NETWORK_ERROR, Signal.STRAINED)
LOCAL_TROUBLE = Verdict(
    ErrorKind.CONNECTION, Again.FREE, pause_s=1.0
)  # out of descriptors, not sent
SENSITIVE_ANSWER = Verdict(ErrorKind.CONTENT_FILTERED)
CONTEXT_FULL = Verdict(ErrorKind.CONTEXT_EXCEEDED)
INVALID_OUTPUT = Verdict(ErrorKind.INVALID_OUTPUT)

REPEATED = frozenset(
    verdict.kind
    for verdict in (*BY_CODE.values(), TIMED_OUT, UNREACHABLE, BAD_RESPONSE, NETWORK_ERROR)
    if verdict.again is Again.COUNTED
)
"""Failures of the exchange itself: asked again until a row's attempts are used up."""


_BY_STATUS: dict[int, Verdict] = {
    401: _KEY,
    402: _ARREARS,
    403: _CLOSED_MODEL,
    404: _NO_MODEL,
    408: _SERVER,
    409: _SERVER,
    425: _SERVER,
    429: _CONCURRENCY,
    503: _OVERLOADED,
    529: _OVERLOADED,
}


def verdict_for(status: int, code: str | None) -> Verdict:
    """The verdict on an answer that is an error: by its code if known, else by its status."""
    known = BY_CODE.get(code or "") or BY_OPENAI_CODE.get(code or "") or _BY_STATUS.get(status)
    if known is not None:
        return known
    if 300 <= status < 400:
        return _REDIRECT
    return _INVALID if 400 <= status < 500 else _SERVER

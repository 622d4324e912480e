"""An answer that holds no completion: which failure it is, by its code, and how long to wait.

Bodies in the field: `{"error": {"code", "message"}}` (the code as text or as a number), the same
with `type` only, `{"error": "…"}`, `{"code", "msg", "success": false}` even with HTTP 200,
`{"detail": "…"}`, one of these in an array, HTML, nothing. A message decides nothing; only a date
in it is read, as data.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from batchkit.clock import CHINA
from batchkit.errors import ErrorKind, Verdict
from batchkit.providers.answer import read_json, spent, usage_block
from batchkit.providers.transport import Reply
from batchkit.providers.untrusted import label, one_line
from batchkit.records import Failure
from batchkit.verdicts import BAD_RESPONSE, BY_CODE, BY_OPENAI_CODE, verdict_for

LONGEST_WAIT_S = 3600.0  # a service's word is believed up to an hour


_DAILY_CAP = "1304"  # ends at midnight; its message has no date
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}", re.ASCII)


class _Words(msgspec.Struct):
    """What a body says about its error, untrusted."""

    codes: list[str]  # most telling first
    message: str


def refusal(reply: Reply, *, now: float, secret: str | None) -> Failure:
    """The failure that `reply` is; `now` in seconds since the epoch."""
    document = read_json(reply.body)
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    words = _words(document)
    code = _telling(words.codes)
    verdict = verdict_for(reply.status, code)
    if 200 <= reply.status < 300 and code is None and not _is_error(document):
        verdict = BAD_RESPONSE
    return Failure(
        verdict,
        one_line(words.message, secret) or _described(reply, document, secret),
        http_status=reply.status,
        code=one_line(label(code), secret) if code is not None else None,
        retry_after_s=retry_after_s(reply, now),
        resets_at=_resets_at(verdict, code, words.message, now),
        usage=spent(usage_block(document.get("usage"))) if isinstance(document, dict) else None,
    )


def retry_after_s(reply: Reply, now: float) -> float | None:
    """The wait that the headers ask for, between 0 and an hour; None if they ask for none."""
    milliseconds = reply.headers.get("retry-after-ms", "").strip()
    if _SECONDS.fullmatch(milliseconds):
        return min(float(milliseconds) / 1000, LONGEST_WAIT_S)
    value = reply.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC, says RFC 5322
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment.timestamp() - now, 0.0), LONGEST_WAIT_S)


def _words(document: Any) -> _Words:
    if not isinstance(document, dict):
        return _Words([], "")
    error = document.get("error")
    inner = error if isinstance(error, dict) else document
    messages = (error, *(inner.get(name) for name in ("message", "msg", "detail")))
    return _Words(
        codes=[
            str(value).strip()
            for value in (inner.get("code"), inner.get("type"))
            if type(value) in (str, int) and str(value).strip()
        ],
        message=next((text for text in messages if isinstance(text, str) and text), ""),
    )


def _telling(codes: list[str]) -> str | None:
    """The first code that is known: some services say the status in `code`, the cause in `type`."""
    known = (code for code in codes if code in BY_CODE or code in BY_OPENAI_CODE)
    return next(known, codes[0] if codes else None)


def _is_error(document: Any) -> bool:
    """Whether the body of an HTTP 2xx says that there is no answer, or just cannot be read."""
    return isinstance(document, dict) and bool(document.get("error") or not document.get("choices"))


def _resets_at(verdict: Verdict, code: str | None, message: str, now: float) -> float | None:
    if verdict.kind is not ErrorKind.USAGE_CAP:
        return None
    for text in _MOMENT.findall(message):
        try:
            return datetime.fromisoformat(text).replace(tzinfo=CHINA).timestamp()
        except ValueError:  # such as the 31st of February
            continue
    if code != _DAILY_CAP:
        return None
    today = datetime.fromtimestamp(now, CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp()


def _described(reply: Reply, document: Any, secret: str | None) -> str:
    if not reply.body.strip():
        return f"HTTP {reply.status} with an empty body"
    if document is None:
        text = reply.body[:4096].decode("utf-8", "replace")
        return one_line(f"HTTP {reply.status}, not JSON: {text}", secret)
    return f"HTTP {reply.status} without a message"

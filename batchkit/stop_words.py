"""What a person is told when a run or a model stops early: place, fault and remedy."""

from __future__ import annotations

from datetime import datetime

from batchkit.accounting import to_text
from batchkit.breaker import WINDOW
from batchkit.clock import CHINA
from batchkit.errors import ErrorKind
from batchkit.records import Failure


def over_budget(budget: int, spent: int) -> str:
    """What is said when the rest of a budget, in PICO, does not cover another attempt."""
    return (
        f"the budget of {to_text(budget)} does not cover another request: "
        f"{to_text(spent)} is spent; raise --budget and run again"
    )


def too_many_failed(failed: int, said: str) -> str:
    """What is said when more rows have failed than may."""
    return (
        f"{failed:,} rows failed, more than --max-failed {said}; see error_message in the results, "
        "then raise it or mend the cause and run again"
    )


def hopeless(model: str, kind: ErrorKind) -> str:
    """What is said when nearly every row fails."""
    return (
        f"{model}: nearly all of the last {WINDOW} rows failed, {kind}; "
        "see error_message in the results, mend the cause and run again with --retry-failed"
    )


def stop_message(model: str, failure: Failure, key_env: str) -> str:
    """`glm-4-plus: 429/1113 the account is in arrears; recharge and run again`."""
    verdict = failure.verdict
    where = "/".join(str(part) for part in (failure.http_status, failure.code) if part is not None)
    fault = verdict.words or failure.message
    remedy = verdict.remedy.replace("{key}", key_env) or "run again later"
    if failure.resets_at is not None:
        reset = datetime.fromtimestamp(failure.resets_at, CHINA).strftime("%Y-%m-%d %H:%M")
        fault = f"{fault} until {reset} China time"
    return f"{model}: {where} {fault}; {remedy}" if where else f"{model}: {fault}; {remedy}"

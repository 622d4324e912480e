"""The account without HTTP: caps, counts, attempts, cache, arrears."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import xxhash

from batchkit.errors import UsageError
from batchkit.models import ModelTable, Tier, builtin_models
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.provider_errors import ErrorAnswer
from batchkit.simulator.service import Admission, ModelStats, Service, Stats
from batchkit.simulator.slots import Arrivals, Slots, refusal_probability
from batchkit.simulator.wire import Dialect
from tests.simulator.samples import FLASH, PLUS, raw


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def service(clock: Clock | None = None, **options: Any) -> Service:
    return Service(SimulatorOptions(**options), clock=clock or Clock())


def admit(account: Service, text: str = "hello", model: str = FLASH, **params: Any) -> Admission:
    admission = account.admit(raw(text, model, **params))
    assert isinstance(admission, Admission)
    return admission


def code(account: Service, text: str = "hello", model: str = FLASH) -> str | None:
    """The code that a request is answered with; None: its answer was given."""
    admission = account.admit(raw(text, model))
    if isinstance(admission, ErrorAnswer):
        return admission.code
    account.finish(admission)
    account.release(admission)
    return admission.fault


def test_the_tiers_cap_is_exact_and_a_slot_given_back_is_free_at_once() -> None:
    account = service(tier=Tier.V0)
    held = [admit(account, str(i), PLUS) for i in range(50)]
    assert code(account, "one more", PLUS) == "1302"
    assert code(account, "another model", FLASH) is None
    account.release(held.pop())
    assert code(account, "one more", PLUS) is None


def test_both_texts_of_1302_occur() -> None:
    account = service(limits={PLUS: 0})
    refusals = {account.admit(raw(model=PLUS)) for _ in range(4)}
    assert {r.message for r in refusals if isinstance(r, ErrorAnswer)} == {
        "您的账户已达到速率限制，请您控制请求频率",
        "您当前使用该API的并发数过高，请降低并发，或联系客服增加限额。",
    }


def test_a_limit_changes_while_requests_are_in_flight() -> None:
    account = service(limits={PLUS: 2})
    held = [admit(account, "a", PLUS), admit(account, "b", PLUS)]
    account.set_limit(PLUS, 1)
    account.release(held.pop())
    assert code(account, "c", PLUS) == "1302"
    account.set_limit(PLUS, 3)
    assert code(account, "c", PLUS) is None


@pytest.mark.parametrize(("model", "limit"), [("glm-9", 1), (PLUS, -1)])
def test_a_limit_that_makes_no_sense_is_a_usage_error(model: str, limit: int) -> None:
    with pytest.raises(UsageError, match="limits: "):
        service().set_limit(model, limit)


def test_a_tier_that_a_model_does_not_have_is_a_usage_error() -> None:
    table = ModelTable({}).extended({"m": {"concurrency": {"V1": 2}}}, "test")
    with pytest.raises(UsageError, match="m: no concurrency for tier V0"):
        Service(SimulatorOptions(), table)


def test_long_flash_prompts_have_a_pool_of_one_percent() -> None:
    account = service(tier=Tier.V1, long_prompt_pool=True)
    long_text = "x" * 28_000
    held = [admit(account, long_text) for _ in range(10)]
    assert code(account, long_text) == "1302"
    assert code(account, "short") is None
    assert account.stats.models[FLASH + "+long"].max_in_flight == len(held)
    account.set_limit(FLASH, 50)
    assert account.stats.models[FLASH + "+long"].limit == 1
    assert "glm-4-flashx-250414+long" not in account.stats.models


def test_soft_enforcement_refuses_more_the_fuller_it_is() -> None:
    assert [refusal_probability(n, 10, 0.0) for n in (9, 10, 11)] == [0, 1, 1]
    assert [refusal_probability(n, 10, 0.5) for n in (5, 10, 15, 16)] == [0, 0.5, 1, 1]
    assert refusal_probability(0, 0, 0.5) == 1
    account = service(limits={PLUS: 20}, softness=0.5)
    admitted = sum(isinstance(account.admit(raw(model=PLUS)), Admission) for _ in range(200))
    assert 20 < admitted <= 30


def test_dense_arrivals_are_refused_until_the_window_has_passed() -> None:
    clock = Clock()
    account = service(clock, arrivals=3, arrival_window_s=1.0)
    assert [code(account) for _ in range(4)] == [None, None, None, "1303"]
    clock.now += 1.0
    assert code(account) is None
    assert code(account, model=PLUS) is None


def test_a_refused_arrival_counts_as_an_arrival() -> None:
    arrivals = Arrivals(2, 1.0)
    assert [arrivals.is_dense(t) for t in (0, 0.1, 0.9, 1.05, 3.0)] == [
        False, False, True, True, False,
    ]  # fmt: skip


def test_after_n_requests_the_account_is_in_arrears() -> None:
    account = service(arrears_after=2)
    assert [code(account, str(i)) for i in range(4)] == [None, None, "1113", "1113"]


def test_what_comes_after_n_requests_of_a_model_is_held() -> None:
    account = service()
    account.hold_after(2)

    def held(model: str) -> bool:
        admitted = account.admit(raw(model=model))
        assert isinstance(admitted, Admission)
        return admitted.hold_s == math.inf

    assert [held(model) for model in (FLASH, FLASH, FLASH, PLUS)] == [False, False, True, False]
    account.hold_after(None)
    assert not held(FLASH)


def test_arrears_come_and_go_live() -> None:
    account = service()
    account.arrears = True
    assert code(account) == "1113"
    account.arrears = False
    assert code(account) is None


def test_a_retry_draws_anew_and_refusals_do_not_count_as_attempts() -> None:
    def story(account: Service) -> list[str | None]:
        return [code(account) for _ in range(8)]

    plain = service(faults={"500": 0.6})
    expected = story(plain)
    assert "500" in expected
    assert None in expected
    disturbed = service(faults={"500": 0.6})
    disturbed.set_limit(FLASH, 0)
    assert code(disturbed) == "1302"
    disturbed.set_limit(FLASH, 1)
    assert story(disturbed) == expected


def test_attempts_are_forgotten_once_answered() -> None:
    account = service(faults={"500": 0.3})
    for i in range(200):
        while code(account, str(i)):
            pass
    assert account._begun == {}


def test_a_marked_request_always_gets_its_fault() -> None:
    account = service(marks={"[[1301]]": "1301"})
    assert [code(account, "a [[1301]] b") for _ in range(3)] == ["1301"] * 3
    assert code(account, "a") is None


def test_latency_is_drawn_per_request_and_attempt() -> None:
    one, other = (service(latency="lognormal:0.8,0.5") for _ in range(2))
    first = [admit(one, str(i)).hold_s for i in range(20)]
    assert [admit(other, str(i)).hold_s for i in reversed(range(20))] == first[::-1]
    assert len(set(first)) == 20
    assert admit(one, "0").hold_s != first[0]


def test_latency_grows_with_the_answer() -> None:
    admission = admit(service(latency="0.5", seconds_per_token=0.01))
    assert admission.hold_s == 0.5 + 0.01 * admission.answer.completion_tokens


def test_refusals_are_quick_errors_inside_take_their_time() -> None:
    marks = {name: name for name in ("1301", "filtered", "500", "html502", "slow", "hang")}
    account = service(latency="0.5", slow_s=9.0, marks=marks)
    held = {name: admit(account, name).hold_s for name in marks}
    assert held == {
        "1301": 0.0,
        "filtered": 0.0,
        "500": 0.5,
        "html502": 0.5,
        "slow": 9.5,
        "hang": float("inf"),
    }


def test_a_system_message_seen_before_counts_as_cached() -> None:
    account = service(cache=True)

    def cached(system: str, user: str, model: str = PLUS) -> int | None:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return account.reply(admit(account, model=model, messages=messages)).cached_tokens

    assert cached("s" * 100, "a") == 0
    assert cached("s" * 100, "b") == 30
    assert cached("s" * 100, "b", FLASH) == 0
    assert cached("t" * 100, "b") == 0
    assert account.reply(admit(account)).cached_tokens == 0


def test_what_a_prompt_begins_with_is_cached_in_steps_and_forgotten_in_turn() -> None:
    account = service(cache=True, cache_prefixes=2)

    def cached(user: str) -> int | None:
        messages = [{"role": "user", "content": user}]
        return account.reply(admit(account, model=PLUS, messages=messages)).cached_tokens

    assert cached("a" * 2000 + "1") == 0
    assert cached("a" * 2000 + "2") == 308
    assert cached("a" * 1000) == 0
    assert cached("b" * 3000) == 0
    assert cached("a" * 2000) == 0


def test_without_a_cache_details_are_optional() -> None:
    for details, cached in ((False, None), (True, 0)):
        account = service(token_details=details)
        assert account.reply(admit(account)).cached_tokens == cached


@pytest.mark.parametrize(
    ("options", "header", "refusal"),
    [
        ({}, None, None),
        ({}, "anything", None),
        ({"check_key": True}, None, "1001"),
        ({"check_key": True}, "Bearer a.b", None),
        ({"keys": ("a.b",)}, "Bearer a.c", "1000"),
    ],
)
def test_keys_are_checked_when_asked_for(
    options: dict[str, Any], header: str | None, refusal: str | None
) -> None:
    answer = service(**options).admit(raw(), header)
    assert (answer.code if isinstance(answer, ErrorAnswer) else None) == refusal
    assert isinstance(service(**options).admit(raw(), header, Dialect.OPENAI), Admission)


def test_answers_are_recorded_by_the_digest_of_the_last_message() -> None:
    account = service(record=True, marks={"[[500]]": "500"})
    for text in ("a", "b", "a", "[[500]]"):
        code(account, text)
    a, b, failed = (xxhash.xxh3_64_hexdigest(t.encode()) for t in ("a", "b", "[[500]]"))
    assert list(account.seen.items()) == [(a, 2), (b, 1), (failed, 0)]


def test_the_counts_tell_where_every_request_is() -> None:
    clock = Clock()
    account = service(clock, limits={PLUS: 2}, marks={"[[cut]]": "cut"})
    waiting = admit(account, "a", PLUS)
    gone = admit(account, "b", PLUS)
    assert code(account, "c", PLUS) == "1302"
    clock.now += 2.0
    account.release(gone)
    assert code(account, "[[cut]]", PLUS) == "cut"
    assert code(account, "d", PLUS) is None
    assert code(account, "e", "glm-9") == "1211"
    clock.now += 1.0
    stats = account.stats
    assert msgspec.structs.replace(stats, models={}) == Stats(
        requests=6,
        answered=1,
        refused=1,
        abandoned=1,
        codes={"1302": 1, "cut": 1, "1211": 1},
        models={},
    )
    assert stats.models[PLUS] == ModelStats(
        limit=2,
        requests=5,
        answered=1,
        refused=1,
        in_flight=1,
        max_in_flight=2,
        in_flight_s=5.0,
    )
    assert set(stats.models) == set(builtin_models())
    account.release(waiting)


def test_a_slot_given_back_twice_is_a_bug() -> None:
    slots = Slots(1)
    slots.take(0.0)
    slots.give_back(1.0)
    with pytest.raises(AssertionError):
        slots.give_back(1.0)

"""Facts are those of the rows: whatever stands in parts or in the journal, in either format."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest

from batchkit.errors import Billing, ErrorKind, UsageError
from batchkit.folder import write_json
from batchkit.job import ScoreKind
from batchkit.journal import Settled
from batchkit.records import Attempt, Usage
from batchkit.report.bins import Spread
from batchkit.report.counting import EXAMPLES, SLOWEST, TROUBLES_MOST, Troubles
from batchkit.report.facts import Example, Excerpt, Facts, Saving, ScoreLine, Trouble
from batchkit.report.reading import read_facts
from batchkit.report.sample import SAMPLE_MOST
from batchkit.scores import Measure, Score
from tests.report.made import make_run
from tests.samples import NOON, new_attempt, new_result

MODELS = ["glm-4-plus", "glm-4-air-250414", "glm-4-airx"]


def some_rows(count: int) -> tuple[list[Settled], list[Attempt]]:
    """Rows of three models, some refused before, some failed."""
    rng = Random(count)
    settled, earlier = [], []
    for row in range(count):
        model = MODELS[row % 3]
        at = NOON + row * 0.3
        if row % 4 == 0:
            refused = new_attempt(
                row, model=model, started_at=at, latency_s=0.01, usage=Usage(), cost=0,
                error_kind=ErrorKind.CONCURRENCY, error_code="1302", billing=Billing.FREE,
                wait_s=0.5, http_status=429,
            )  # fmt: skip
            earlier.append(refused)
        fails = row % 7 == 3
        kind = ErrorKind.TIMEOUT if fails else None
        last = new_attempt(
            row, 2 if row % 4 == 0 else 1, model=model, started_at=at + 0.6,
            latency_s=rng.uniform(0.1, 3), error_kind=kind,
            billing=Billing.UNKNOWN if fails else Billing.BILLED,
            usage=Usage() if fails else Usage(10, 4, 5),
            cost=0 if fails else 65_000_000, bound=7 if fails else 0,
        )  # fmt: skip
        result = new_result(
            row, model=model, status="failed" if fails else "ok", error_kind=kind,
            error_message=f"late {row}" if fails else None, attempts=last.attempt,
            content=None if fails else f"answer {row}", latency_s=last.latency_s,
            total_s=0.6 + last.latency_s, metadata=json.dumps({"n": row}),
        )  # fmt: skip
        settled.append(Settled(result, last))
    return settled, earlier


def comparable(facts: Facts) -> Facts:
    return msgspec.structs.replace(facts, read_at=0.0, name="", summary=None)


def test_parts_and_journal_tell_the_same_in_either_format(tmp_path: Path) -> None:
    settled, earlier = some_rows(47)
    arrow = read_facts(make_run(tmp_path / "a", settled, earlier), "0")
    parquet = read_facts(make_run(tmp_path / "p", settled, earlier, format_="parquet"), "0")
    assert comparable(arrow) == comparable(parquet)
    assert len(list((tmp_path / "a" / "results").iterdir())) == 4  # the other rows: the journal


def test_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    settled, earlier = some_rows(47)
    facts = read_facts(make_run(tmp_path / "run", settled, earlier), "0")
    attempts = [*earlier, *(one.attempt for one in settled if one.attempt is not None)]
    assert facts.state == "complete"
    assert facts.tries == dict(sorted(Counter(s.result.attempts for s in settled).items()))
    assert {name: spread.total for name, spread in facts.settling.items()} == Counter(
        s.result.model for s in settled
    )
    assert {name: spread.total for name, spread in facts.latency.items()} == Counter(
        one.model for one in attempts if one.billing is Billing.BILLED
    )
    width = facts.timeline.width_s
    answered = sum(point.answered for point in facts.timeline.points) * width
    refused = sum(point.refused for point in facts.timeline.points) * width
    failed = sum(point.failed for point in facts.timeline.points) * width
    assert (round(answered), round(refused), round(failed)) == (40, 12, 7)
    busy = sum(point.in_flight for point in facts.timeline.points) * width
    assert busy == pytest.approx(sum(one.latency_s for one in attempts), rel=1e-4)
    last = {point.model: point.cost for point in facts.timeline.points}
    assert sum(last.values()) == sum(one.cost for one in attempts)


def test_troubles_say_what_they_took_with_three_examples(tmp_path: Path) -> None:
    settled, earlier = some_rows(47)
    timeouts, refusals = read_facts(make_run(tmp_path / "run", settled, earlier), "0").troubles
    failed = [one for one in settled if one.result.status == "failed"]
    took = sum(one.attempt.latency_s for one in failed if one.attempt is not None)
    assert (timeouts.busy_s, refusals.busy_s) == pytest.approx((took, 0.12))
    assert (timeouts.waited_s, refusals.waited_s) == pytest.approx((0.0, 6.0))
    for one in (timeouts, refusals):
        one.busy_s = one.waited_s = 0.0
    assert timeouts == Trouble(
        "timeout", "", exchanges=7, rows=7, bound=49,
        examples=[Example(n, f"id-{n}", f"late {n}") for n in (3, 10, 17)],
    )  # fmt: skip
    assert refusals == Trouble(
        "concurrency", "1302", exchanges=12, rows=0,
        examples=[Example(n, f"id-{n}", attempt=1) for n in (0, 4, 8)],
    )  # fmt: skip


def test_the_slowest_rows_are_those_of_the_whole_run(tmp_path: Path) -> None:
    settled, earlier = some_rows(47)
    facts = read_facts(make_run(tmp_path / "run", settled, earlier), "0")
    slowest = sorted((s.result for s in settled), key=lambda r: -r.total_s)[:SLOWEST]
    assert [one.row for one in facts.slowest] == [result.row for result in slowest]


def test_cached_tokens_save_what_the_table_says(tmp_path: Path) -> None:
    settled, earlier = some_rows(6)
    facts = read_facts(make_run(tmp_path / "run", settled, earlier), "0")
    assert sorted(facts.savings, key=lambda one: one.model) == [
        Saving("glm-4-air-250414", 8, 20, "0.000002", "CNY"),  # 8 tokens at 0.5 less 0.25 a million
        Saving("glm-4-airx", 8, 20, None, "CNY"),  # its price does not tell cached tokens apart
        Saving("glm-4-plus", 4, 10, "0.00001", "CNY"),  # 4 tokens at 5 less 2.5
    ]


def test_the_sample_is_every_so_manieth_row(tmp_path: Path) -> None:
    settled, _ = some_rows(2 * SAMPLE_MOST + 1)
    facts = read_facts(make_run(tmp_path / "run", settled), "0")
    assert facts.sample_step == 3
    assert [one.row for one in facts.sample] == list(range(0, 2 * SAMPLE_MOST + 1, 3))
    second = facts.sample[1]
    assert (second.content, second.error, second.why) == (None, "late 3", "timeout")
    assert facts.sample[2].content == Excerpt("answer 6", 8)
    assert facts.sample[2].given == Excerpt('metadata: {"n": 6}', 18)


def test_an_unfinished_run_is_told_as_it_is(tmp_path: Path) -> None:
    settled, earlier = some_rows(15)
    facts = read_facts(make_run(tmp_path / "run", settled[:12], earlier, rows=30), "0")
    assert (facts.state, facts.summary.rows, facts.summary.ok) == ("stopped", 30, 10)
    assert len(facts.sample) == 12
    (refusals,) = [one for one in facts.troubles if one.kind == "concurrency"]
    assert refusals.exchanges == 4  # that of a row which has not settled too


def test_codes_from_outside_are_bounded() -> None:
    troubles = Troubles()
    for n in range(10 * TROUBLES_MOST):
        troubles.of("server_error", f"made up {n}").exchanges += 1
    assert len(troubles.found) == TROUBLES_MOST + 1
    assert troubles.of("server_error", "yet another").code == "other"


def test_a_failed_row_is_a_better_example_than_an_exchange(tmp_path: Path) -> None:
    settled, _ = some_rows(30)
    before = [
        new_attempt(n, error_kind=ErrorKind.TIMEOUT, billing=Billing.UNKNOWN, bound=1)
        for n in range(3)
    ]
    (timeouts,) = read_facts(make_run(tmp_path / "run", settled, before), "0").troubles
    assert len(timeouts.examples) == EXAMPLES
    assert [one.row for one in timeouts.examples] == [3, 10, 17]


def test_many_models_are_told_apart_up_to_a_number(tmp_path: Path) -> None:
    settled = [
        Settled(new_result(n, model=f"m{n % 9}"), new_attempt(n, model=f"m{n % 9}"))
        for n in range(40)
    ]
    facts = read_facts(make_run(tmp_path / "run", settled), "0")
    assert len(facts.models) == 6
    assert set(facts.latency) == {*facts.models, "other models"}
    assert sum(spread.total for spread in facts.latency.values()) == 40
    assert {p.model for p in facts.timeline.points} == set(facts.latency)
    assert len(facts.summary.models) == 9


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"starts": 5}',
        '{"starts": [5, {"at": "x"}]}',
        '{"starts": [{"at": 1, "models": {"glm-4-plus": 3}}]}',
    ],
)
def test_a_run_json_that_says_nothing_is_done_without(text: str, tmp_path: Path) -> None:
    settled, _ = some_rows(3)
    folder = make_run(tmp_path / "run", settled)
    (folder / "run.json").write_text(text)
    facts = read_facts(folder, "0")
    assert [one.saved for one in facts.savings] == [None, None, None]


SCORE = Score(
    kind=ScoreKind.LABEL, gold={"content": "label"}, rows=5, missing=1, scored=3, failed=1,
    without_gold=1,
    measures={"accuracy": Measure(0.8125, 0.79, 0.83), "f1": Measure(None, None, None)},
    draws=1000, seed=0, scored_at=0.0, version="0",
)  # fmt: skip


def test_a_score_is_told_with_its_intervals(tmp_path: Path) -> None:
    settled, _ = some_rows(3)
    folder = make_run(tmp_path / "run", settled)
    assert read_facts(folder, "0").scores == []
    write_json(folder / "score.json", SCORE)
    assert read_facts(folder, "0").scores == [
        ScoreLine("kind", "label"),
        ScoreLine("compared", "content with label"),
        ScoreLine("rows", "3 scored, 1 of them failed"),
        ScoreLine("left out", "1 not settled, 1 without a gold value"),
        ScoreLine("accuracy", "0.8125 (0.79 to 0.83)"),
        ScoreLine("f1", "not defined"),
    ]


@pytest.mark.parametrize("text", ["", "[1]", '{"kind": {"a": 1}, "measures": [1]}'])
def test_a_score_that_cannot_be_read_is_done_without(text: str, tmp_path: Path) -> None:
    settled, _ = some_rows(3)
    folder = make_run(tmp_path / "run", settled)
    (folder / "score.json").write_text(text)
    assert read_facts(folder, "0").scores == []


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        read_facts(tmp_path, "0")


def test_nothing_sent_yet_is_a_report_too(tmp_path: Path) -> None:
    facts = read_facts(make_run(tmp_path / "run", [], rows=5), "0")
    assert (facts.timeline.points, facts.sample, facts.troubles) == ((), [], [])
    assert facts.latency == dict[str, Spread]()

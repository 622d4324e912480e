"""Runs as they are scored and compared: what is read off their folders, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from batchkit.errors import UsageError
from batchkit.folder import RunFolder
from batchkit.job import FieldForm, ScoreKind, ScoreSection
from batchkit.journal import Settled
from batchkit.reading import open_run
from batchkit.scores import Confusion, Cost, Measure, Score, read_score, score_path, write_score
from batchkit.scoring.comparison import Compared, Comparison, compare
from batchkit.scoring.golden import resolve
from batchkit.scoring.single import Resampling, score, section_of
from batchkit.scoring.words import comparison_text, score_text
from batchkit.spec import Format
from tests.runs import make_run, settled

HOW = Resampling(draws=200, seed=1)
LABEL = {"label": pa.string()}
INTENT = {
    "type": "object",
    "properties": {"intent": {"enum": ["a", "b"]}, "why": {"type": "string"}},
}
PRICE = 2_000_000_000_000  # of a row, in PICO


def rows_of(*pairs: tuple[str | None, Any]) -> list[Settled]:
    """Rows by (answer, gold value); an answer of None is a failed row."""
    return [settled(n, answer, gold, cost=PRICE) for n, (answer, gold) in enumerate(pairs)]


def score_of(folder: Path, section: ScoreSection) -> Score:
    with open_run(folder) as run:
        return score(run, section, HOW, now=1.5, version="0")


def compare_of(first: Path, second: Path, section: ScoreSection) -> Comparison:
    with open_run(first) as one, open_run(second) as two:
        return compare(resolve(section, one), resolve(section, two), HOW)


MIXED = rows_of(("a", "a"), ("b", "a"), (None, "b"), ("B ", "b"), ("a", None), ("zz", "a"))


@pytest.mark.parametrize("kind", list(Format))
@pytest.mark.parametrize("sealed", [0, 1])
def test_a_run_is_scored_from_parts_and_journal(tmp_path: Path, sealed: int, kind: Format) -> None:
    folder = make_run(tmp_path / "run", MIXED, keep=LABEL, planned=8, sealed=sealed, kind=kind)
    found = score_of(folder, ScoreSection(gold="label"))
    counts = (found.rows, found.missing, found.scored, found.failed, found.without_gold)
    assert counts == (8, 2, 5, 1, 1)
    assert (found.kind, found.gold) == (ScoreKind.LABEL, {"content": "label"})
    assert found.measures["accuracy"].value == 0.4
    assert found.costs == [Cost("10", "CNY", 2, "5")]
    assert found.confusion == [
        Confusion("a", "a", 1),
        Confusion("a", "b", 1),
        Confusion("b", None, 1),
        Confusion("b", "b", 1),
        Confusion("a", None, 1),
    ]


def test_no_interval_is_outside_what_is_possible(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", MIXED, keep=LABEL)
    for measure in score_of(folder, ScoreSection(gold="label")).measures.values():
        assert measure.value is not None
        assert measure.low is not None
        assert measure.high is not None
        assert 0 <= measure.low <= measure.value <= measure.high <= 1


def test_a_run_without_settled_rows_has_no_measures(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [], keep=LABEL, planned=3)
    found = score_of(folder, ScoreSection(gold="label"))
    assert (found.scored, found.missing, found.measures, found.costs) == (0, 3, {}, [])


def test_the_field_that_is_compared_is_found_or_said(tmp_path: Path) -> None:
    answers = [('{"intent": "a", "why": "x"}', "A"), ('{"intent": "b", "why": "a"}', "a")]
    folder = make_run(tmp_path / "run", rows_of(*answers), keep=LABEL, schema=INTENT)
    with pytest.raises(UsageError, match="the answers have the fields intent, why; say which is"):
        score_of(folder, ScoreSection(gold="label"))
    found = score_of(folder, ScoreSection(gold={"intent": "label"}, kind=ScoreKind.LABEL))
    assert (found.gold, found.measures["accuracy"].value) == ({"intent": "label"}, 0.5)
    fields = score_of(folder, ScoreSection(gold={"intent": "label", "why": "label"}))
    values = {name: measure.value for name, measure in fields.measures.items()}
    assert fields.kind is ScoreKind.FIELDS
    assert (values["intent.normalised"], values["intent.exact"]) == (0.5, 0.0)
    assert (values["why.exact"], values["rows.normalised"]) == (0.5, 0.0)


def test_gold_values_outside_the_schemas_labels_are_named(tmp_path: Path) -> None:
    answers = [('{"intent": "a"}', "a"), ('{"intent": "b"}', "strange"), (None, "odd")]
    folder = make_run(tmp_path / "run", rows_of(*answers), keep=LABEL, schema=INTENT)
    found = score_of(folder, ScoreSection(gold={"intent": "label"}, kind=ScoreKind.LABEL))
    assert found.unmatched_gold is not None
    assert (found.unmatched_gold.count, found.unmatched_gold.examples) == (2, ["strange", "odd"])
    assert found.measures["accuracy"].value == pytest.approx(1 / 3)
    assert "gold values  2 are no label of the job: always wrong: 'strange', 'odd'" in score_text(
        found
    )


@pytest.mark.parametrize(
    ("field", "labels"),
    [
        (True, ["a"]),
        ({"enum": ["b", None]}, ["b", "a"]),
        ({"type": "array", "items": {"enum": ["b"]}}, ["b", "a"]),
        ({"type": "array", "items": True}, ["a"]),
    ],
)
def test_labels_are_those_of_the_schema_and_of_gold_values(
    tmp_path: Path, field: Any, labels: list[str]
) -> None:
    schema = {"type": "object", "properties": {"intent": field}}
    rows = rows_of(('{"intent": ["a"]}' if "array" in str(field) else '{"intent": "a"}', "a"))
    folder = make_run(tmp_path / "run", rows, keep=LABEL, schema=schema)
    found = score_of(folder, ScoreSection(gold="label"))
    assert [label.label for label in found.labels] == labels


def test_lists_are_several_labels(tmp_path: Path) -> None:
    keep = {"label": pa.list_(pa.string())}
    folder = make_run(tmp_path / "run", rows_of(("x, y", ["y", "x"]), ("", [])), keep=keep)
    found = score_of(folder, ScoreSection(gold="label"))
    assert (found.kind, found.measures["accuracy"].value) == (ScoreKind.LABELS, 1.0)


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        (ScoreSection(gold="nope"), "gold: no kept column 'nope'; the run kept label; add it to"),
        (ScoreSection(gold={"total": "label"}), "no field 'total'; they have content"),
        (ScoreSection(gold={}), "gold: names no column; expected at least one"),
        (
            ScoreSection(gold="label", compare={"day": FieldForm.DATE}),
            "compare: 'day' is not among the fields of gold",
        ),
        (ScoreSection(gold="label", tokenizer="x"), "tokenizer: expected one of 13a, intl, zh"),
    ],
)
def test_what_cannot_be_scored_is_said(tmp_path: Path, section: ScoreSection, fault: str) -> None:
    folder = make_run(tmp_path / "run", MIXED, keep=LABEL)
    with pytest.raises(UsageError) as caught:
        score_of(folder, section)
    assert fault in str(caught.value)


def test_a_score_comes_back_from_its_file_or_not_at_all(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", MIXED, keep=LABEL)
    assert read_score(folder) is None
    found = score_of(folder, ScoreSection(gold="label"))
    write_score(folder, found)
    assert read_score(folder) == found
    write_score(folder, msgspec.structs.replace(found, format=2))
    assert read_score(folder) is None
    score_path(folder).write_bytes(b'{"format": 1}')
    assert read_score(folder) is None


def test_the_jobs_section_is_read_from_the_folder(tmp_path: Path) -> None:
    with open_run(make_run(tmp_path / "one", MIXED, keep=LABEL)) as run:
        assert section_of(run.folder) is None
    noted = {"gold": {"x": "label"}, "kind": "fields", "compare": {"x": "date"}}
    with open_run(make_run(tmp_path / "two", MIXED, keep=LABEL, score=noted)) as run:
        assert section_of(run.folder) == ScoreSection(
            gold={"x": "label"}, kind=ScoreKind.FIELDS, compare={"x": FieldForm.DATE}
        )
    folder = RunFolder(make_run(tmp_path / "three", MIXED, keep=LABEL, score={"gold": 3}))
    with pytest.raises(UsageError, match=r"run\.json: score: expected"):
        section_of(folder)


def test_two_runs_are_joined_by_id_and_tested_row_by_row(tmp_path: Path) -> None:
    """8 rows in both; the second has 5 right that the first has wrong, the first 1 of its own."""
    gold = ["a"] * 8
    one = rows_of(*zip(["a", "a", "a", "b", "b", "b", "b", "b"], gold, strict=True))
    two = rows_of(*zip(["b", "a", "a", "a", "a", "a", "a", None], gold, strict=True))
    two[2].result.custom_id = "of the second alone"
    two[1].result.keep = ["b"]
    two = [
        msgspec.structs.replace(settled, result=msgspec.structs.replace(settled.result, row=row))
        for row, settled in enumerate(reversed(two))
    ]
    first = make_run(tmp_path / "one", one, keep=LABEL, sealed=1)
    second = make_run(tmp_path / "two", two, keep=LABEL, planned=9)
    found = compare_of(first, second, ScoreSection(gold="label"))
    assert (found.joined, found.gold_differs) == (6, 1)
    assert (found.first.alone, found.second.alone) == (1, 1)
    assert (found.first.missing, found.second.missing) == (0, 1)
    assert (found.first.failed, found.second.failed) == (0, 1)
    assert found.first.costs == [Cost("12", "CNY", 1, "12")]
    assert found.second.costs == [Cost("12", "CNY", 4, "3")]
    accuracy = found.measures["accuracy"]
    assert (accuracy.first, accuracy.second, accuracy.test) == (1 / 6, 4 / 6, "mcnemar")
    assert accuracy.p == pytest.approx(2 * 6 / 32)
    assert found.measures["micro_f1"].test == "randomization"
    text = comparison_text(found)
    assert "6 in both, compared as label" in text
    assert "1 rows whose gold values differ" in text


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", MIXED, keep=LABEL)
    found = compare_of(folder, folder, ScoreSection(gold="label"))
    accuracy = found.measures["accuracy"]
    assert accuracy == Compared(0.4, 0.4, 0.0, 0.0, 0.0, 1.0, "mcnemar")
    assert {measure.p for measure in found.measures.values()} == {1.0}


def test_a_text_and_a_field_can_be_compared_as_labels(tmp_path: Path) -> None:
    plain = make_run(tmp_path / "plain", rows_of(("a", "a"), ("b", "b")), keep=LABEL)
    fields = rows_of(('{"intent": "a"}', "a"), ('{"intent": "a"}', "b"))
    typed = make_run(tmp_path / "typed", fields, keep=LABEL, schema=INTENT)
    with open_run(plain) as one, open_run(typed) as two:
        first = resolve(ScoreSection(gold="label"), one)
        second = resolve(ScoreSection(gold={"intent": "label"}, kind=ScoreKind.LABEL), two)
        found = compare(first, second, HOW)
    assert (found.measures["accuracy"].first, found.measures["accuracy"].second) == (1.0, 0.5)


def test_runs_that_have_nothing_in_common_are_refused(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", MIXED, keep=LABEL)
    apart = [
        msgspec.structs.replace(row, result=msgspec.structs.replace(row.result, custom_id=f"{n}"))
        for n, row in enumerate(MIXED)
    ]
    two = make_run(tmp_path / "two", apart, keep=LABEL)
    with pytest.raises(UsageError, match="has no scored row in common with"):
        compare_of(one, two, ScoreSection(gold="label"))
    with open_run(one) as first, open_run(one) as second:
        contains = resolve(ScoreSection(gold="label", kind=ScoreKind.CONTAINS), second)
        with pytest.raises(UsageError, match="is scored as contains, the other run as label; say"):
            compare(resolve(ScoreSection(gold="label"), first), contains, HOW)


def test_translations_are_compared_by_randomization(tmp_path: Path) -> None:
    gold = [f"这是第{n}个句子，说的是天气。" for n in range(12)]
    good = rows_of(*[(text.replace("说的", "讲的"), text) for text in gold])
    bad = rows_of(*[("今天我们去公园", text) for text in gold])
    section = ScoreSection(gold="label", kind=ScoreKind.TRANSLATION)
    first = make_run(tmp_path / "one", bad, keep=LABEL)
    second = make_run(tmp_path / "two", good, keep=LABEL)
    for name, measure in compare_of(first, second, section).measures.items():
        assert (name, measure.test) == (name, "randomization")
        assert measure.low is not None
        assert measure.low > 0
        assert measure.p < 0.02
    found = score_of(second, section)
    assert "tok:zh" in found.signatures["bleu"]
    assert found.costs == [Cost("24", "CNY", None, None)]
    assert isinstance(found.measures["chrf"], Measure)

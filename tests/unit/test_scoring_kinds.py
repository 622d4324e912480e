"""The kinds of scores: measures against values that were worked out by hand or by sacrebleu."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from batchkit.errors import UsageError
from batchkit.job import DateOrder, FieldForm
from batchkit.scores import Confusion, LabelScore, Unmatched
from batchkit.scoring.fields import ContainsKind, FieldsKind
from batchkit.scoring.kind import Kind
from batchkit.scoring.labels import LABELS_MOST, LabelKind, LabelVocabulary
from batchkit.scoring.resampling import Sums
from batchkit.scoring.translation import TranslationKind, tokenizer_for

Rows = Iterable[tuple[Any, Any]]  # gold value, answer; an answer of `FAILED` is a failed row
FAILED = object()


def labels(
    gold: Sequence[str], *, several: bool = False, declared: Sequence[str] = ()
) -> LabelKind:
    vocabulary = LabelVocabulary(declared, "here")
    vocabulary.observe(gold)
    return LabelKind(vocabulary, several=several)


def sums_of(kind: Kind, rows: Rows) -> Sums:
    sums = Sums(kind.width, kind.statistics, draws=10, seed=0)
    for gold, answer in rows:
        key = kind.judge([gold], None if answer is FAILED else [answer])
        if key is not None:
            sums.add(key)
    sums.flush()
    return sums


def measured(kind: Kind, rows: Rows) -> dict[str, float]:
    total = sums_of(kind, rows).total
    return {name: round(float(of(total)), 6) for name, of in kind.measures.items()}


def test_f1_of_labels_is_that_of_the_textbook() -> None:
    """a: 2 of 3 right, 1 more answered; b: 1 of 2; c: 0 of 1. F1 2/3, 1/2, 0."""
    rows = [("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("b", "a"), ("c", "b")]
    kind = labels(["a", "b", "c"])
    expected = {"accuracy": 3 / 6, "macro_f1": (2 * 2 / 6 + 2 * 1 / 5 + 0) / 3, "micro_f1": 3 / 6}
    assert measured(kind, rows) == {name: round(value, 6) for name, value in expected.items()}
    details = kind.details(sums_of(labels(["a", "b", "c"]), rows).total)
    assert details["labels"] == [
        LabelScore("a", 3, 3, 2 / 3, 2 / 3, 2 / 3),
        LabelScore("b", 2, 3, 1 / 3, 1 / 2, 2 / 5),
        LabelScore("c", 1, 0, None, 0.0, 0.0),
    ]


def test_a_failed_row_is_wrong_and_no_wrong_label() -> None:
    """Micro F1: 1 right of 3 gold values and 2 answers, 2·1 / (3 + 2)."""
    kind = labels(["a", "b"])
    rows = [("a", "a"), ("a", FAILED), ("b", "a")]
    assert measured(kind, rows) == {
        "accuracy": round(1 / 3, 6),
        "macro_f1": round((2 / 4 + 0) / 2, 6),
        "micro_f1": 0.4,
    }
    assert Confusion("a", None, 1) in kind.details(sums_of(kind, []).total)["confusion"]


def test_an_answer_that_is_no_label_is_wrong_and_named() -> None:
    kind = labels(["a", "b"])
    rows = [("a", "A "), ("b", "it is b"), ("b", "none\x1b[0m"), ("a", None)]
    assert measured(kind, rows)["accuracy"] == 0.25
    assert measured(labels(["a", "b"]), rows)["micro_f1"] == round(2 * 1 / (4 + 3), 6)
    unmatched = kind.details(sums_of(kind, []).total)["unmatched_answers"]
    assert unmatched == Unmatched(2, ["it is b", "none [0m"])


def test_gold_values_that_no_label_matches_are_counted_and_named() -> None:
    kind = labels(["a", "x", "y"], declared=["a", "b"])
    rows = [("a", "a"), ("x", "a"), ("y", "b"), ("x", "x")]
    assert measured(kind, rows)["accuracy"] == 0.5
    details = kind.details(sums_of(kind, []).total)
    assert details["unmatched_gold"] == Unmatched(3, ["x", "y"])
    assert details["unmatched_answers"] is None


def test_labels_of_the_gold_values_alone_match_themselves() -> None:
    kind = labels(["a"])
    total = sums_of(kind, [("a", "a")]).total
    assert kind.details(total)["unmatched_gold"] is None


def test_rows_with_several_labels_are_right_as_a_whole() -> None:
    """Gold {a,b}, {b}, {}, {c}: answers {b,a}, {b,c}, {}, failed. 3 of 4 gold; 4 answered."""
    rows = [(["a", "b"], ["b", "a"]), (["b"], "b, c"), ([], []), (["c"], FAILED)]
    expected = {
        "accuracy": 0.5,
        "macro_f1": round((1 + 1 + 0) / 3, 6),
        "micro_f1": round(2 * 3 / (4 + 4), 6),
    }
    assert measured(labels(["a", "b", "c"], several=True), rows) == expected


@pytest.mark.parametrize("answer", ["b,a", "B；a", '["b", "a"]', "a、b\n", ["a", "b", "b"]])
def test_several_labels_are_read_from_lists_and_text(answer: Any) -> None:
    assert measured(labels(["a", "b"], several=True), [("a, b", answer)])["accuracy"] == 1.0


def test_rows_without_a_gold_value_are_left_out() -> None:
    assert labels(["a"]).judge([None], ["a"]) is None
    assert labels(["a"]).judge([""], ["a"]) is None
    assert ContainsKind().judge([None], ["a"]) is None
    assert TranslationKind("13a").judge([""], ["a"]) is None


def test_too_many_gold_values_are_no_labels() -> None:
    with pytest.raises(UsageError, match="here: more than 1,000 different gold values"):
        labels([f"text {n}" for n in range(LABELS_MOST + 1)])


names = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(st.tuples(names, names | st.just("other")), min_size=1, max_size=40))
def test_one_label_and_a_list_of_one_are_scored_alike(rows: list[tuple[str, str]]) -> None:
    gold = [gold for gold, _ in rows]
    as_lists = [([gold], [answer]) for gold, answer in rows]
    one, several = measured(labels(gold), rows), measured(labels(gold, several=True), as_lists)
    assert one == several
    assert one["accuracy"] == round(sum(g == a for g, a in rows) / len(rows), 6)
    assert all(0 <= value <= 1 for value in one.values())


FIELDS = {"name": FieldForm.TEXT, "day": FieldForm.DATE, "total": FieldForm.AMOUNT}


@pytest.mark.parametrize(
    ("gold", "answer", "key"),
    [
        (["A Ltd", "02 APR 2018", "$8.20"], ["A Ltd", date(2018, 4, 2), 8.2], (2, 1, 1)),
        (["A Ltd", "2018-04-02", "8.2"], ["a  LTD", date(2018, 4, 2), 8.2], (1, 2, 2)),
        (["A Ltd", date(2018, 4, 2), 8.2], ["B Ltd", date(2018, 4, 3), 8.21], (0, 0, 0)),
        ([None, "", None], [None, None, ""], (2, 1, 1)),
        (["A", "2018-04-02", 1.0], [None, None, None], (0, 0, 0)),
        (["A", "some day", "much"], ["A", "Some  day", "MUCH"], (2, 1, 1)),
        ([["b", "A"], None, None], [["a", "b"], None, None], (1, 2, 2)),
        (["A", "2018-04-02", 1.0], None, (0, 0, 0)),
    ],
)
def test_fields_are_right_in_the_common_form_or_exact(
    gold: list[Any], answer: list[Any] | None, key: tuple[int, ...]
) -> None:
    assert FieldsKind(FIELDS, DateOrder.DMY).judge(gold, answer) == key


def test_measures_of_fields_are_means_over_rows() -> None:
    kind = FieldsKind({"a": FieldForm.TEXT, "b": FieldForm.TEXT}, DateOrder.DMY)
    sums = Sums(kind.width, kind.statistics, draws=10, seed=0)
    for answer in (["x", "y"], ["X", "y"], ["x", "?"], None):
        sums.add(kind.judge(["x", "y"], answer))
    sums.flush()
    assert {name: float(of(sums.total)) for name, of in kind.measures.items()} == {
        "a.normalised": 3 / 4,
        "a.exact": 2 / 4,
        "b.normalised": 2 / 4,
        "b.exact": 2 / 4,
        "fields.normalised": 5 / 8,
        "fields.exact": 4 / 8,
        "rows.normalised": 2 / 4,
        "rows.exact": 1 / 4,
    }


@pytest.mark.parametrize(
    ("gold", "answer", "is_right"),
    [
        ("Paris", "The capital of France is PARIS.", True),
        ("ice", "It is called nice weather.", False),
        ("ice", "Nice ice", True),
        ("seven", None, False),
        ("五", "答案是五个", True),
        ("8", "18 legs", False),
        (8, "8 legs", True),
    ],
)
def test_a_text_is_held_as_whole_words(gold: Any, answer: str | None, is_right: bool) -> None:
    assert ContainsKind().judge([gold], [answer]) is is_right


PAIRS = [
    ("过去，跟我说过话的老人都说有一家酒吧", "以前，和我说过话的老人说有一家酒吧"),
    ("如今，这两样什么都没有了。", "而如今，这两样什么都没有了。"),
    ("他曾表示，酒吧的消失情有可原。", "他说酒吧消失是可以理解的。"),
]


def test_translations_are_measured_as_sacrebleu_measures_them() -> None:
    kind = TranslationKind("zh")
    gold, answers = [list(side) for side in zip(*PAIRS, strict=True)]
    sums = sums_of(kind, PAIRS)
    expected = {
        "chrf": CHRF().corpus_score(answers, [gold]).score,
        "bleu": BLEU(tokenize="zh").corpus_score(answers, [gold]).score,
    }
    assert {name: float(of(sums.total)) for name, of in kind.measures.items()} == pytest.approx(
        expected
    )
    assert all(of(sums.drawn).shape == (10,) for of in kind.measures.values())
    signatures = kind.details(sums.total)["signatures"]
    assert signatures["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0")
    assert signatures["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp")


def test_a_failed_row_is_an_empty_translation() -> None:
    kind = TranslationKind("zh")
    with_failed = measured(kind, [*PAIRS, ("很长的一句话在这里", FAILED)])
    assert with_failed == measured(kind, [*PAIRS, ("很长的一句话在这里", "")])
    assert with_failed["chrf"] < measured(kind, PAIRS)["chrf"]
    nothing = measured(kind, [("一句", FAILED)])
    assert nothing == {"chrf": 0.0, "bleu": 0.0}
    assert not any(map(math.isnan, nothing.values()))


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [
        ("如今，这两样都没有了 (GDP)", "zh"),
        ("彼は言った。それは良い。", "char"),
        ("그는 말했다", "char"),
        ("He said so.", "13a"),
        ("Он так сказал", "13a"),
        ("", "13a"),
    ],
)
def test_the_tokenizer_goes_by_the_script(text: str, tokenizer: str) -> None:
    assert tokenizer_for([text]) == tokenizer

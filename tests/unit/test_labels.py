"""Which label an answer names: exactly one that is written as it is, and never a guess."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.errors import UsageError
from batchkit.labels import Given, LabelSet
from batchkit.schema import Invalid, OutputSchema, Valid

ONE = "are one label once case, width and spaces are set aside; keep one"
NONE = "cannot be a label; use at most 200 characters on one line, without ```"
INTENTS = ("card_arrival", "reverted_card_payment?", "Top up", "工学", "C++", "C")


def label_set(*labels: str, multiple: bool = False, similar: float | None = None) -> LabelSet:
    places = (Given(label, f"l.txt:{n}") for n, label in enumerate(labels, 1))
    return LabelSet(places, multiple=multiple, similar=similar)


def named(answer: str | None, *labels: str, similar: float | None = None) -> Any:
    found = label_set(*(labels or INTENTS), similar=similar).read(answer)
    return json.loads(found.json)["label"] if isinstance(found, Valid) else None


def several(answer: str | None) -> Any:
    found = label_set(*INTENTS, multiple=True).read(answer)
    return json.loads(found.json)["labels"] if isinstance(found, Valid) else found.reason


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("card_arrival", "card_arrival"),
        (" CARD_ARRIVAL\n", "card_arrival"),
        ("“Card_Arrival”.", "card_arrival"),
        ("**card_arrival**", "card_arrival"),
        ("`card_arrival`", "card_arrival"),
        ("reverted_card_payment?", "reverted_card_payment?"),
        ('"reverted_card_payment?".', "reverted_card_payment?"),
        ("Reverted_card_payment", "reverted_card_payment?"),
        ("top\n  up", "Top up"),
        ("ｔｏｐ　ｕｐ", "Top up"),
        ("\ufefftop\u200b up", "Top up"),
        ("「工学」。", "工学"),
        ("c++", "C++"),
        ("C.", "C"),
        ('{"label": "C++"}', "C++"),
        ('```json\n{"label": "top up"}\n```', "Top up"),
    ],
)
def test_case_width_spaces_and_quotes_do_not_count(answer: str, label: str) -> None:
    assert named(answer) == label


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        "?",
        "card arrival",
        "card_arrivals",
        "The intent is card_arrival.",
        "card_arrival, Top up",
        "Label: card_arrival",
        '{"label": "card_arrival", "label2": "C"}',
        '{"label": ["C"]}',
        '["C", "C"]',
        "工 学",
        "card_arrival" * 100_000,
        "C" + " " * 2_000_000,
    ],
)
def test_what_is_not_a_label_is_never_taken_for_one(answer: str | None) -> None:
    assert label_set(*INTENTS).read(answer) == Invalid("it is none of the labels")


def test_punctuation_counts_where_it_tells_labels_apart() -> None:
    assert [named(answer, "a", "(a)") for answer in ("A", "（A）", "'a'", "a.")] == [
        "a", "(a)", None, None,
    ]  # fmt: skip


def test_similarity_counts_only_if_asked_and_only_if_one_label_is_nearest() -> None:
    assert named("card arrival") is None
    assert named("card arrival", similar=0.9) == "card_arrival"
    assert named("card arrival", similar=0.95) is None
    assert named("The intent is card_arrival", similar=0.9) is None
    assert named("top_ab", "top_a", "top_b", similar=0.5) is None


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ('{"labels": ["C", "card_arrival"]}', ["card_arrival", "C"]),
        ('Sure: {"labels": ["c", "Ｃ", "TOP  UP"]}', ["Top up", "C"]),
        ('["工学"]', ["工学"]),
        ('{"labels": []}', []),
        ("C", ["C"]),
        ('{"labels": ["C", "card arrival"]}', "'card arrival' is none of the labels"),
        ('{"labels": [1]}', "1 is none of the labels"),
        ('{"labels": "C"}', "it is no JSON object with a list of labels"),
        ("C, C++", "it is no JSON object with a list of labels"),
        (None, "it is no JSON object with a list of labels"),
    ],
)
def test_several_labels_are_a_list_in_the_order_of_the_job(answer: str | None, labels: Any) -> None:
    assert several(answer) == labels


@pytest.mark.parametrize("multiple", [False, True])
def test_what_is_read_fits_the_schema_and_can_be_read_again(multiple: bool) -> None:
    labels = label_set(*INTENTS, multiple=multiple)
    found = labels.read('{"labels": ["C", "C++"]}' if multiple else "C++")
    assert isinstance(found, Valid)
    assert OutputSchema.load(labels.schema, "p").read(found.json) == found
    assert labels.read(found.json) == found


def test_the_instruction_lists_the_labels_in_their_order_one_a_line() -> None:
    listed = "```labels\n" + "\n".join(INTENTS) + "\n```"
    for multiple in (False, True):
        assert label_set(*INTENTS, multiple=multiple).instruction.endswith(f"\n\n{listed}")


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (("Top up", "C", "ＴＯＰ  up "), f"l.txt:3: 'ＴＯＰ  up' and 'Top up' (l.txt:1) {ONE}"),
        (("a", "a"), f"l.txt:2: 'a' and 'a' (l.txt:1) {ONE}"),
        (("a", " \u200b"), "l.txt:2: a label is blank; drop it"),
        (("a\nb",), f"l.txt:1: 'a\\nb' {NONE}"),
        (("x" * 201,), f"l.txt:1: '{'x' * 58}… {NONE}"),
        (("```",), f"l.txt:1: '```' {NONE}"),
        (map(str, range(1001)), "l.txt:1001: more than 1,000 labels; every prompt holds them all"),
    ],
)
def test_labels_that_cannot_be_told_apart_or_listed_are_refused(
    labels: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(UsageError) as caught:
        label_set(*labels)
    assert str(caught.value) == fault


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6), st.booleans())
def test_every_label_that_is_taken_is_named_by_itself(labels: list[str], multiple: bool) -> None:
    try:
        taken = label_set(*labels, multiple=multiple)
    except UsageError:
        return
    for label in taken.labels:
        found = taken.read(json.dumps({"labels": [label]}) if multiple else label)
        assert isinstance(found, Valid)
        assert json.loads(found.json) == ({"labels": [label]} if multiple else {"label": label})

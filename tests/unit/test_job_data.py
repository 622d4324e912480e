"""Inputs of `jobs/` that were chosen or made for them: what is said of them is so."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

JOBS = Path(__file__).parents[2] / "jobs"
AS_OF = date(2026, 9, 30)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (JOBS / name).read_text("utf-8").splitlines()]


def labels(name: str) -> list[str]:
    return (JOBS / name).read_text("utf-8").splitlines()


def test_the_intents_are_those_of_the_questions_eight_each() -> None:
    gold = [row["label"] for row in rows("classify_intents/banking77.jsonl")]
    assert {label: gold.count(label) for label in gold} == dict.fromkeys(
        labels("classify_intents/intents.txt"), 8
    )


def test_the_examples_are_four_of_each_intent_and_none_is_asked() -> None:
    shown = rows("classify_intents/examples.jsonl")
    given = [row["label"] for row in shown]
    assert {label: given.count(label) for label in given} == dict.fromkeys(
        labels("classify_intents/intents.txt"), 4
    )
    asked = {row["text"].casefold() for row in rows("classify_intents/banking77.jsonl")}
    assert asked.isdisjoint(row["text"].casefold() for row in shown)


def test_every_emotion_has_fourteen_comments_or_more() -> None:
    given = [label for row in rows("emotions/goemotions.jsonl") for label in row["labels"]]
    counts = {label: given.count(label) for label in given}
    assert sorted(counts) == sorted(labels("emotions/emotions.txt"))
    assert min(counts.values()) == 14


def test_every_term_of_the_glossary_stands_in_the_news() -> None:
    news = "\n".join(row["en"] for row in rows("translate_news/ntrex.jsonl")).casefold()
    terms = [line.split("\t")[0] for line in labels("translate_news/terms.tsv")[1:]]
    assert [term for term in terms if term.casefold() not in news] == []


def test_a_journey_ends_when_its_days_are_over() -> None:
    for row in rows("trip_plan/wishes.jsonl"):
        first, last = map(date.fromisoformat, (row["first_day"], row["last_day"]))
        assert last == first + timedelta(days=row["days"] - 1), row["id"]


def test_what_is_right_in_a_risk_report_follows_from_its_file() -> None:
    for row in rows("risk_report/files.jsonl"):
        gold = {name: value for name, value in row.items() if name.startswith("gold_")}
        assert gold == risk(row), row["id"]


def test_the_loan_applications_call_for_every_rule_and_decision() -> None:
    files = rows("risk_report/files.jsonl")
    rules = {rule for row in files for rule in row["gold_rules"]}
    decisions = {row["gold_decision"] for row in files}
    assert rules == {"D1", "D2", "D3", "R1", "R2", "R3", "R4", "C1", "C2", "C3", "C4", "C5"}
    assert decisions == {"approve", "approve_with_conditions", "refer", "decline"}


def risk(row: dict[str, Any]) -> dict[str, Any]:
    """The gold values of a loan application, by the policy in the job's prompt."""
    before, last = row["figures"]
    is_whole = None not in [*before.values(), *last.values()]
    growth = 100 * (last["revenue"] / before["revenue"] - 1)
    debt = 100 * last["total_liabilities"] / last["total_assets"] if is_whole else None
    current = last["current_assets"] / last["current_liabilities"] if is_whole else None
    equity = last["total_assets"] - last["total_liabilities"] if is_whole else None
    founded = date.fromisoformat(row["founded"])
    arrears = row["worst_overdue_days"]
    applies = {
        "D1": arrears > 90,
        "D2": row["enforcement_open"],
        "D3": "住宅项目开发" in row["purpose"] or "crypto" in row["purpose"],
        "R1": founded.replace(year=founded.year + 2) > AS_OF,
        "R2": not row["audited"] and row["amount_thousand"] > 5000,
        "R3": equity is not None and row["lawsuits_thousand"] > equity / 10,
        "R4": not is_whole,
        "C1": debt is not None and debt > 70,
        "C2": current is not None and current < 1,
        "C3": row["largest_customer_pct"] > 50,
        "C4": last["operating_cash_flow"] < 0,
        "C5": 1 <= arrears <= 90,
    }
    rules = [rule for rule, is_so in applies.items() if is_so]
    decisions = {"D": "decline", "R": "refer", "C": "approve_with_conditions"}
    return {
        "gold_decision": decisions[rules[0][0]] if rules else "approve",
        "gold_rules": rules,
        "gold_debt_ratio_pct": None if debt is None else round(debt, 1),
        "gold_current_ratio": None if current is None else round(current, 2),
        "gold_revenue_growth_pct": round(growth, 1),
    }

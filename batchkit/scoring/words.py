"""Scores and comparisons as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from batchkit.scores import Cost, LabelScore, Measure, Score, Unmatched
from batchkit.scoring.comparison import Compared, Comparison, Side
from batchkit.scoring.values import shown_value
from batchkit.terminal import aligned

_LABELS_SHOWN = 10
_CONFUSIONS_SHOWN = 10


def score_text(score: Score) -> str:
    """A score: what was scored, the measures with their intervals, the labels that go wrong."""
    lines = [
        ("gold", ", ".join(f"{name} by {column}" for name, column in score.gold.items())),
        ("rows", _rows(score)),
        *((name, _measure(measure)) for name, measure in score.measures.items()),
        *_unmatched("gold values", score.unmatched_gold, "no label of the job: always wrong"),
        *_unmatched("answers", score.unmatched_answers, "no label: wrong"),
        *(("cost", _cost(cost)) for cost in score.costs),
        *((f"{name} by", signature) for name, signature in score.signatures.items()),
    ]
    blocks = [aligned(lines, left=2)]
    if score.labels:
        blocks.append(_labels(score.labels))
    if wrong := [cell for cell in score.confusion if cell.answer != cell.gold]:
        most = [
            f"  {cell.rows:>7,}  {shown_value(cell.gold)} answered as {_answer(cell.answer)}"
            for cell in wrong[:_CONFUSIONS_SHOWN]
        ]
        more = len(wrong) - len(most)
        most += [f"  … and {more:,} more kinds in score.json"] if more > 0 else []
        blocks.append("\n".join(["most confused", *most]))
    return "\n\n".join(blocks)


def comparison_text(comparison: Comparison) -> str:
    """Two runs side by side."""
    first, second = comparison.first, comparison.second
    lines = [
        ("first", _side(first)),
        ("second", _side(second)),
        ("rows", f"{comparison.joined:,} in both, compared as {comparison.kind}"),
    ]
    if comparison.gold_differs:
        lines.append(("left out", f"{comparison.gold_differs:,} rows whose gold values differ"))
    rows = [(name, *_compared(measure)) for name, measure in comparison.measures.items()]
    head = ("", "first", "second", "difference", "95 % interval", "p", "test")
    return f"{aligned(lines, left=2)}\n\n{aligned([head, *rows])}"


def _rows(score: Score) -> str:
    parts = [f"{score.scored:,} scored of {score.rows:,}"]
    if score.missing:
        parts.append(f"{score.missing:,} not settled yet")
    if score.failed:
        parts.append(f"{score.failed:,} failed and count as wrong")
    if score.without_gold:
        parts.append(f"{score.without_gold:,} without a gold value left out")
    return ", ".join(parts)


def _measure(measure: Measure) -> str:
    if measure.value is None:
        return "not defined"
    if measure.low is None or measure.high is None:
        return f"{measure.value:.4g}"
    return f"{_number(measure.value)}  ({_number(measure.low)} to {_number(measure.high)})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}"


def _unmatched(what: str, found: Unmatched | None, meaning: str) -> list[tuple[str, str]]:
    if found is None:
        return []
    examples = ", ".join(map(repr, found.examples))
    more = ", …" if found.count > len(found.examples) else ""
    return [(what, f"{found.count:,} are {meaning}: {examples}{more}")]


def _cost(cost: Cost) -> str:
    total = f"{cost.total} {cost.currency}"
    if cost.right is None:
        return total
    each = "" if cost.per_right is None else f", {cost.per_right} {cost.currency} each"
    return f"{total} for {cost.right:,} right answers{each}"


def _labels(labels: Sequence[LabelScore]) -> str:
    worst = sorted(
        (label for label in labels if label.gold), key=lambda label: (label.f1 or 0, -label.gold)
    )
    rows = [
        (
            shown_value(label.label),
            f"{label.gold:,}",
            f"{label.answered:,}",
            _number(label.precision),
            _number(label.recall),
            _number(label.f1),
        )
        for label in worst[:_LABELS_SHOWN]
    ]
    head = ("label, worst first", "gold", "answered", "precision", "recall", "f1")
    text = aligned([head, *rows])
    more = len(labels) - len(rows)
    return f"{text}\n… and {more:,} more labels in score.json" if more > 0 else text


def _answer(answer: str | None) -> str:
    return "no label" if answer is None else shown_value(answer)


def _side(side: Side) -> str:
    parts = [side.folder, *map(_cost, side.costs)]
    if side.failed:
        parts.append(f"{side.failed:,} failed and count as wrong")
    if side.missing:
        parts.append(f"{side.missing:,} not settled yet")
    if side.alone:
        parts.append(f"{side.alone:,} rows that the other has not")
    return ", ".join(parts)


def _compared(measure: Compared) -> tuple[str, ...]:
    return (
        _number(measure.first),
        _number(measure.second),
        "-" if measure.difference is None else f"{measure.difference:+.4f}",
        f"{_number(measure.low)} to {_number(measure.high)}",
        f"{measure.p:.4f}" if measure.p >= 0.0001 else f"{measure.p:.1e}",
        measure.test,
    )

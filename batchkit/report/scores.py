"""A run's score in words: what was compared, over how many rows, and each measure's interval."""

from __future__ import annotations

from batchkit.report.facts import ScoreLine
from batchkit.scores import Measure, Score

_MEASURES_MOST = 40  # a record may have any number of fields


def score_lines(score: Score | None) -> list[ScoreLine]:
    """What `score.json` tells, a line each; none if there is no score."""
    if score is None:
        return []
    lines = [
        ScoreLine("kind", score.kind),
        ScoreLine(
            "compared", ", ".join(f"{ours} with {gold}" for ours, gold in score.gold.items())
        ),
        ScoreLine("rows", f"{score.scored:,} scored, {score.failed:,} of them failed"),
    ]
    if score.missing or score.without_gold:
        left_out = f"{score.missing:,} not settled, {score.without_gold:,} without a gold value"
        lines.append(ScoreLine("left out", left_out))
    measures = list(score.measures.items())[:_MEASURES_MOST]
    return [*lines, *(ScoreLine(name, _words(one)) for name, one in measures)]


def _words(measure: Measure) -> str:
    if measure.value is None:
        return "not defined"
    if measure.low is None or measure.high is None:
        return f"{measure.value:.4g}"
    return f"{measure.value:.4g} ({measure.low:.4g} to {measure.high:.4g})"

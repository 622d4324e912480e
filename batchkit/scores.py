"""A score as it is kept in a run's folder: what other parts may read without what made it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from batchkit.folder import write_json
from batchkit.job import ScoreKind

FORMAT = 1  # of the file; another one is as good as none


class Measure(msgspec.Struct, frozen=True):
    """A number and its 95 % bootstrap interval; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


class LabelScore(msgspec.Struct, frozen=True):
    """One label, over all rows."""

    label: str
    gold: int  # rows that have it
    answered: int  # answers that give it
    precision: float | None  # null if it was never answered
    recall: float | None  # null if no row has it
    f1: float | None


class Confusion(msgspec.Struct, frozen=True):
    """Rows with one gold label by their answer."""

    gold: str
    answer: str | None  # null: a failed row, or no label at all
    rows: int


class Unmatched(msgspec.Struct, frozen=True):
    """Values that are no label."""

    count: int
    examples: list[str]  # the first few different ones, cut short


class Cost(msgspec.Struct, frozen=True):
    """What the scored rows cost; amounts as text, exact but for `per_right`."""

    total: str
    currency: str
    right: int | None  # rows; null for translations, which are not right or wrong
    per_right: str | None  # rounded to twelve decimals; null if none is right


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How good the answers of a run are; `score.json`."""

    format: int = FORMAT
    kind: ScoreKind
    gold: dict[str, str]  # what of the answer (`content` or a field of `output`) -> the gold column
    rows: int  # of the run
    missing: int  # not settled yet
    scored: int
    failed: int  # scored rows that failed: they count as wrong
    without_gold: int  # settled rows whose gold value is null
    measures: dict[str, Measure]  # accuracy, macro_f1, total.exact, …
    labels: list[LabelScore] = []
    confusion: list[Confusion] = []  # most frequent first
    unmatched_gold: Unmatched | None = None  # gold values that the job's labels do not have
    unmatched_answers: Unmatched | None = None  # answers that are no label; they count as wrong
    signatures: dict[str, str] = {}  # sacrebleu's, per measure
    costs: list[Cost] = []  # per currency
    draws: int
    seed: int
    scored_at: float  # seconds since the epoch
    version: str


_decode = msgspec.json.Decoder(Score).decode


def score_path(folder: Path) -> Path:
    return folder / "score.json"


def read_score(folder: Path) -> Score | None:
    """The score in a run's folder; None if there is none, or none that can be read."""
    try:
        score = _decode(score_path(folder).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return score if score.format == FORMAT else None


def write_score(folder: Path, score: Score) -> None:
    """Keep `score`; the file is whole from the moment it is there."""
    write_json(score_path(folder), score)

"""Translations: chrF and BLEU by sacrebleu (Popović 2015; Papineni et al. 2002; Post 2018).

Both are functions of counts that add up over rows, so resampling needs no second look at the text.
A row that failed is an empty translation. The signature says how it was measured.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from batchkit.errors import UsageError
from batchkit.job import ScoreKind
from batchkit.scoring.kind import MeasureOf
from batchkit.scoring.resampling import Numbers
from batchkit.scoring.values import as_text

TOKENIZERS = ("13a", "intl", "zh", "char", "none")  # of sacrebleu; the others load models
TranslationKey: TypeAlias = tuple[float, ...]


class TranslationKind:
    """Rows whose gold value is a translation by a person."""

    name = ScoreKind.TRANSLATION
    key_type = tuple[float, ...]
    tests: Mapping[str, Callable[[Any], bool]] = {}

    def __init__(self, tokenizer: str) -> None:
        try:
            from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415  # an extra
            from sacrebleu.metrics.chrf import CHRF  # noqa: PLC0415
        except ImportError as error:
            raise UsageError(
                "sacrebleu is missing, which measures translations; pip install 'batchkit[score]'"
            ) from error
        self._metrics: dict[str, Any] = {"chrf": CHRF(), "bleu": BLEU(tokenize=tokenizer)}
        widths = [len(_counts(metric, "a", "a")) for metric in self._metrics.values()]
        self.width = sum(widths)
        self.measures: dict[str, MeasureOf] = {
            "chrf": _measure(self._metrics["chrf"], slice(0, widths[0])),
            "bleu": _measure(self._metrics["bleu"], slice(widths[0], self.width)),
        }

    def judge(self, gold: Sequence[Any], answer: Sequence[Any] | None) -> TranslationKey | None:
        if gold[0] is None or gold[0] == "":
            return None
        reference = as_text(gold[0])
        text = "" if answer is None or answer[0] is None else as_text(answer[0])
        counts: list[float] = []
        for metric in self._metrics.values():
            counts += _counts(metric, text, reference)
        return tuple(counts)

    def statistics(self, key: TranslationKey) -> Numbers:
        return np.array(key, dtype=np.float64)

    def is_right(self, _key: TranslationKey) -> None:
        return None

    def details(self, _total: Numbers) -> dict[str, Any]:
        signatures = {name: str(one.get_signature()) for name, one in self._metrics.items()}
        return {"signatures": signatures}


def tokenizer_for(texts: Sequence[str]) -> str:
    """The tokenizer for BLEU: by the script that most letters of the gold values have.

    Chinese has sacrebleu's own; Japanese, Korean and Thai, whose tokenizers are models, are
    compared by character; everything else by words, as WMT does (13a).
    """
    counts = {"13a": 0, "zh": 0, "char": 0}
    for character in "".join(texts):
        if character.isalpha():
            counts[_tokenizer_of(character)] += 1
    if counts["char"] and counts["char"] * 4 > counts["zh"]:  # Japanese mixes Han and Kana
        counts["char"] += counts["zh"]
    return max(counts, key=lambda name: counts[name])


def _tokenizer_of(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("CJK"):
        return "zh"
    is_unspaced = name.startswith(("HIRAGANA", "KATAKANA", "HANGUL", "THAI"))
    return "char" if is_unspaced else "13a"


# sacrebleu's own significance tests are built on these two methods; its public ones give no counts.


def _counts(metric: Any, text: str, reference: str) -> list[float]:
    found: list[list[float]] = metric._extract_corpus_statistics([text], [[reference]])  # noqa: SLF001
    return found[0]


def _measure(metric: Any, columns: slice) -> MeasureOf:
    def measure(sums: Numbers) -> Numbers:
        counts = np.atleast_2d(sums[..., columns]).astype(int).tolist()
        scores = [metric._compute_score_from_stats(row).score for row in counts]  # noqa: SLF001
        return np.array(scores, dtype=np.float64).reshape(sums.shape[:-1])

    return measure

"""The words that simulated answers are made of; a few are not ASCII, as real answers' are not."""

from __future__ import annotations

from random import Random

_LINES = (
    "the answer account amber balance bridge bright calm card city clear copper delta early field",
    "first garden glass green harbour history island January kind lantern ledger letter light",
    "market meadow method morning mountain narrow north number ocean open paper pattern payment",
    "plain quiet rain reason record river second signal silver simple spring station stone summer",
    "table token transfer valley value water winter window 你好 北京 数据 模型 résumé",
)
WORDS = tuple(word for line in _LINES for word in line.split())


def words(rng: Random, count: int) -> str:
    """`count` words in a row."""
    return " ".join(rng.choices(WORDS, k=count))

"""Repeatable randomness: a generator made from numbers alone, never from time or order."""

from __future__ import annotations

from random import Random

import xxhash


def seeded(*numbers: int) -> Random:
    """The generator of `numbers` (each below 2^64); the same numbers give the same draws."""
    key = b"".join(number.to_bytes(8, "little") for number in numbers)
    return Random(xxhash.xxh3_64_intdigest(key))  # noqa: S311  # repeatable on purpose

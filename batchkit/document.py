"""A row that is several requests, its chunks: parts of a long text, or votes on one question.

Rules:

1. A chunk is a request like any other: it has a slot, retries and attempts of its own.
2. The row settles when its last chunk has, as one result; if the answers are put together by the
   model, the request that does so is the last chunk.
3. A chunk that fails fails the row, after the others have ended too: their answers are kept, so
   asking the row again asks for what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from batchkit.records import Request, Result

CHUNKS_MOST = 65_534  # of a row; with the one that joins them the plan's two bytes are full

Join: TypeAlias = Callable[[Sequence[Result]], Result | Request]
"""What the answers of every chunk, all ok, come to: one result, or the request that makes it."""


class Document(msgspec.Struct, frozen=True):
    """A row that is several requests."""

    chunks: list[Request]  # numbered from 1, of one model
    join: Join
    asks: str  # what `join` does, as text: a part of the row's identity
    word: str = "chunk"  # what a chunk is called in messages
    last_tokens: int | None = (
        None  # estimated prompt of the request that joins; None: there is none
    )
    metadata: str | None = None
    keep: list[Any] | None = None

    @property
    def row(self) -> int:
        return self.chunks[0].row

    @property
    def custom_id(self) -> str:
        return self.chunks[0].custom_id

    @property
    def model(self) -> str:
        return self.chunks[0].model

    @property
    def prompt_tokens(self) -> int:
        """Estimated, over all of its requests."""
        return sum(chunk.prompt_tokens for chunk in self.chunks) + (self.last_tokens or 0)


def requests_of(asked: Request | Document) -> int:
    """How many requests a row is."""
    if isinstance(asked, Request):
        return 1
    return len(asked.chunks) + (asked.last_tokens is not None)


def first_of(asked: Request | Document) -> Request:
    """A row's first request."""
    return asked if isinstance(asked, Request) else asked.chunks[0]

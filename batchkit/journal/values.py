"""What the journal holds, as values: each is msgpack with a checksum behind it.

The checksum is seeded with the value's key, since SQLite notices neither a flipped byte in a value
nor a value that stands under another key.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
import xxhash

from batchkit.errors import StoppedError
from batchkit.records import Attempt, Result

_CHECKSUM = 8  # bytes

encode = msgspec.msgpack.Encoder().encode


class SealedPart(msgspec.Struct, frozen=True):
    """What the journal knows of a sealed part: enough to notice that a file was changed."""

    part: int
    rows: int
    failed: int
    results_bytes: int
    results_xxh3: str
    attempts_bytes: int
    attempts_xxh3: str


class Settled(msgspec.Struct, frozen=True, array_like=True):
    """A result with the attempt that settled it; rows that were never sent have none."""

    result: Result
    attempt: Attempt | None


class SettledChunk(msgspec.Struct, frozen=True, array_like=True):
    """The result of one chunk of a row; `digest` is that of its request, by which it is known."""

    digest: int
    result: Result  # of the chunk's request; tokens, cost and attempts are those of one start
    chunk: int


class EndedChunk(msgspec.Struct, frozen=True):
    """A settled chunk with the attempt that settled it, on its way into the journal."""

    settled: SettledChunk
    attempt: Attempt


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What an original came to, for its copies; `digest` is that of what they ask."""

    digest: int
    result: Result


Record: TypeAlias = Settled | EndedChunk | Attempt
"""What a worker hands over: a row or a chunk that has settled, or an attempt that settled none."""


class Planned(msgspec.Struct, frozen=True):
    """More rows that were checked: the plan with them, whose blocks are durable already."""

    plan: bytes
    rows: int  # in all
    is_whole: bool  # no more rows will come
    invalid: list[Settled]  # those of the new rows that cannot be sent


SETTLED = msgspec.msgpack.Decoder(Settled)
CHUNK = msgspec.msgpack.Decoder(SettledChunk)
ANSWER = msgspec.msgpack.Decoder(KeptAnswer)
ATTEMPT = msgspec.msgpack.Decoder(Attempt)
PART = msgspec.msgpack.Decoder(SealedPart)


class DamagedError(StoppedError):
    """The journal holds bytes that batchkit did not write."""


def seal_value(body: bytes, key: int = 0) -> bytes:
    """`body` with a checksum of itself and its key behind it."""
    return body + xxhash.xxh3_64_digest(body, key)


def open_value(value: Any, place: str, key: int = 0) -> bytes:
    """The body of a sealed value; raises `DamagedError` if it is not what was written."""
    if isinstance(value, bytes) and len(value) >= _CHECKSUM:
        body = value[:-_CHECKSUM]
        if xxhash.xxh3_64_digest(body, key % (1 << 64)) == value[-_CHECKSUM:]:
            return body
    raise DamagedError(f"{place}: the value does not match its checksum; the file was damaged")


def settled_values(settled: Settled) -> tuple[int, bytes]:
    """The columns of table `result`."""
    row = settled.result.row
    return row, seal_value(encode(settled), row)


def attempt_values(attempt: Attempt) -> tuple[int, int, int, bytes]:
    """The columns of table `attempt`."""
    value = seal_value(encode(attempt), attempt.row)
    return attempt.row, attempt.chunk or 0, attempt.attempt, value


def answer_values(kept: KeptAnswer) -> tuple[int, str | None, bytes]:
    """The columns of table `answer`."""
    result = kept.result
    failure = None if result.status == "ok" else result.error_kind or ""
    return signed(kept.digest), failure, seal_value(encode(kept), kept.digest)


def signed(digest: int) -> int:
    """SQLite's integers are signed."""
    return digest - (1 << 64) if digest >> 63 else digest


def decode(decoder: msgspec.msgpack.Decoder[Any], value: Any, place: str, key: int) -> Any:
    """What a sealed value holds; raises `DamagedError` at `place` if it cannot be read."""
    try:
        return decoder.decode(open_value(value, place, key))
    except msgspec.DecodeError as error:
        raise DamagedError(f"{place}: not what batchkit wrote: {error}") from error

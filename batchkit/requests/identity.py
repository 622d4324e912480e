"""Digests by which a request is known again: after a kill, and among equal ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import xxhash

from batchkit.document import Document
from batchkit.records import Request

_encode = msgspec.json.Encoder(order="deterministic").encode


def digest(asked: Request | Document) -> int:
    """xxh3_64 of what is asked: model, messages and parameters, whatever the order of their keys.

    A document asks what its chunks ask, and what becomes of their answers. What only travels along
    (id, metadata, kept columns) does not count.
    """
    return xxhash.xxh3_64_intdigest(_words(asked, digest))


def proof(asked: Request | Document) -> int:
    """64 bits of a BLAKE2b digest of the same words.

    A row that gets another's answer must ask the same. Among 10,000,000 rows two digests are equal
    by chance once in 370,000 runs, and whoever writes rows can make them equal on purpose.
    """
    return int.from_bytes(hashlib.blake2b(_words(asked, proof), digest_size=8).digest(), "little")


def id_digest(custom_id: str) -> int:
    """xxh3_64 of an id."""
    return xxhash.xxh3_64_intdigest(custom_id.encode())


def _words(asked: Request | Document, of: Callable[[Request | Document], int]) -> bytes:
    if isinstance(asked, Request):
        return _encode((asked.model, asked.messages, asked.params))
    return _encode((asked.asks, [of(chunk) for chunk in asked.chunks]))

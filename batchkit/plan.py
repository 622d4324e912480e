"""The plan: one fixed-width entry per row, made in one pass over the input before the row is sent.

An entry knows the row's identity (a digest of its id), what it asks (a digest of the rendered
request), where it stands in the file and which model it goes to; so feeders read only their own
rows, a changed row is noticed, and memory does not grow with the input. Where equal rows are asked
once, it also knows the row's part in that. Entries live in the journal, `BLOCK_ROWS` to a block.

A plan is whole before anything is sent, or it grows beside the sending (`planner`), by whole blocks
until its last: what it has of rows and models stays as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from enum import IntEnum
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import msgspec

from batchkit.document import Document, requests_of
from batchkit.errors import UsageError
from batchkit.records import Request

BLOCK_ROWS = 4096
SHOWN_FAULTS = 20  # as many as a screen takes; the rest is counted
_ENTRY = struct.Struct("<QQQIHHH")
_BITS_MOST = 1 << 28  # 32 MiB: at 10,000,000 ids 2 % are looked at a second time
_SMALLEST_ROW = 32  # bytes; a row has at least an id or a prompt around JSON's own characters


class Role(IntEnum):
    """A row's part among those that ask the very same."""

    ALONE = 0
    ORIGINAL = 1  # it is asked, and its answer is kept for the others
    COPY = 2  # it gets the original's answer


class Entry(NamedTuple):
    """What the plan knows of one row."""

    id_digest: int  # xxh3_64 of custom_id
    digest: int  # xxh3_64 of what is asked
    offset: int  # bytes into the uncompressed input; 0 in columnar files
    prompt_tokens: int  # estimated
    model: int  # index into `Plan.models`
    requests: int  # 0: the row cannot be sent; more than one: its chunks
    role: int = Role.ALONE

    @property
    def invalid(self) -> bool:
        return not self.requests

    @property
    def mean_tokens(self) -> int:
        """Estimated prompt tokens of one request of the row."""
        return mean_tokens(self.prompt_tokens, self.requests)


def mean_tokens(prompt_tokens: int, requests: int) -> int:
    """Of one of so many requests; rounded up, since estimates err upward."""
    return -(-prompt_tokens // requests)


class ModelShare(msgspec.Struct):
    """What one model has to do; copies are among the rows, and nothing else of them is counted."""

    rows: int = 0
    prompt_tokens: int = 0
    requests: int = 0
    longest: int = 0  # prompt tokens of the longest prompt; of a document's, their mean
    copies: int = 0

    def ask_less(self, entry: Entry) -> None:
        """Count a row as a copy."""
        self.copies += 1
        self.prompt_tokens -= entry.prompt_tokens
        self.requests -= entry.requests

    def ask_more(self, entry: Entry) -> None:
        """Count a row as a copy no more."""
        self.copies -= 1
        self.prompt_tokens += entry.prompt_tokens
        self.requests += entry.requests


class Plan(msgspec.Struct):
    """The input as it was planned; kept in the journal."""

    rows: int
    invalid: int
    models: list[str]
    shares: list[ModelShare]
    asks: dict[str, Any]  # what decides the rendered requests, see `Spec.asks`
    input: dict[str, Any]  # path, size, mtime_ns, xxh3
    limit: int | None
    part_rows: int
    format: str  # of the parts
    keep: str  # the kept columns' types, see `sources.keep`
    dedupe: bool = False  # equal rows are asked once
    are_answers_stale: bool = (
        False  # rows changed: originals may have settled without a kept answer
    )
    is_whole: bool = True  # its rows are all of the input's; else its `input` has no hash

    @property
    def copies(self) -> int:
        return sum(share.copies for share in self.shares)

    def rows_by_model(self) -> dict[str, int]:
        return {model: share.rows for model, share in zip(self.models, self.shares, strict=True)}

    def become(self, later: Plan) -> None:
        """Have what has come to the plan since; another thread may read rows at the same time."""
        self.models.extend(later.models[len(self.models) :])
        self.shares, self.invalid, self.input = later.shares, later.invalid, later.input
        self.rows = later.rows  # after the models that its rows name
        self.is_whole = later.is_whole

    def share(self, model: str) -> ModelShare:
        return self.shares[self.models.index(model)]


encode_plan = msgspec.msgpack.Encoder().encode
decode_plan = msgspec.msgpack.Decoder(Plan).decode


class Fault(NamedTuple):
    """A row that cannot be sent: where it stands and why."""

    row: int
    custom_id: str
    place: str
    reason: str


class BlockStore(Protocol):
    """Where blocks are kept (the journal)."""

    def write_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> None: ...
    def block(self, number: int) -> bytes: ...


class InvalidInputError(UsageError):
    """Rows that cannot be sent; the message has a line for each, up to a screenful."""

    def __init__(
        self, faults: list[Fault], count: int, rows: int, *, is_begun: bool = False
    ) -> None:
        """`count` of the `rows` that were checked are bad; `is_begun` if others were sent."""
        lines = [f"{fault.place}: {fault.reason}" for fault in faults]
        if count > len(lines):
            lines.append(f"… and {count - len(lines):,} more")
        remedy = "mend them, or run with --skip-invalid"
        if is_begun:
            remedy = "mend them and go on with --update, or go on with --skip-invalid"
        lines.append(f"{count:,} of {rows:,} rows cannot be sent; {remedy}")
        super().__init__("\n".join(lines))
        self.count = count


class RepeatedIds:
    """Finds ids that may occur twice, in memory that does not grow with their number.

    One bit per hash bucket tells which ids to look at again (Bloom, "Space/Time Trade-offs in Hash
    Coding", CACM 1970, with one hash function).
    """

    def __init__(self, input_bytes: int) -> None:
        rows = max(input_bytes // _SMALLEST_ROW, 1)
        size = min(_BITS_MOST, 1 << max(13, (16 * rows).bit_length()))
        self._mask = size - 1
        self._seen = bytearray(size >> 3)
        self._suspects: set[int] = set()

    @property
    def suspects(self) -> int:
        """How many are to be looked at."""
        return len(self._suspects)

    def add(self, id_digest: int) -> None:
        bucket = id_digest & self._mask
        bit = 1 << (bucket & 7)
        if self._seen[bucket >> 3] & bit:
            self._suspects.add(id_digest)
        else:
            self._seen[bucket >> 3] |= bit

    def rows(self, id_digests: Iterable[int]) -> dict[int, list[int]]:
        """Those of all rows' `id_digests` that occur more than once, each with its rows.

        A second call looks only at what was added since.
        """
        suspects, self._suspects = self._suspects, set()
        if not suspects:
            return {}
        found: dict[int, list[int]] = {}
        for row, id_digest in enumerate(id_digests):
            if id_digest in suspects:
                found.setdefault(id_digest, []).append(row)
        return {digest: rows for digest, rows in found.items() if len(rows) > 1}


def read_entries(store: BlockStore, rows: int, start: int = 0) -> Iterator[Entry]:
    """Entries of rows from `start` on, in order."""
    for number in range(start // BLOCK_ROWS, -(-rows // BLOCK_ROWS)):
        entries = block_entries(store.block(number))
        skipped = max(0, start - number * BLOCK_ROWS)
        yield from entries[skipped:] if skipped else entries


def read_id_digests(store: BlockStore, rows: int) -> Iterator[int]:
    """The digest of every row's id, in order."""
    for number in range(-(-rows // BLOCK_ROWS)):
        for id_digest, *_ in _ENTRY.iter_unpack(store.block(number)):
            yield id_digest


def block_entries(block: bytes) -> list[Entry]:
    return [Entry._make(values) for values in _ENTRY.iter_unpack(block)]


def pack_entries(entries: Iterable[Entry]) -> bytes:
    return b"".join(_ENTRY.pack(*entry) for entry in entries)


def offset_of(store: BlockStore, row: int) -> int:
    """Where `row` stands in the input."""
    number, index = divmod(row, BLOCK_ROWS)
    return Entry._make(_ENTRY.unpack_from(store.block(number), index * _ENTRY.size)).offset


class PlanWriter:
    """Packs entries into blocks and counts what each model has to do."""

    def __init__(
        self,
        store: BlockStore,
        *,
        digests: Callable[[Request | Document], tuple[int, int]],
        after: Plan | None = None,
    ) -> None:
        """`after` is a plan of whole blocks, to which rows are added."""
        self.store = store
        self._digests = digests
        self._block = bytearray()
        self.models: list[str] = []
        self.shares: list[ModelShare] = []
        self.rows = self.invalid = 0
        if after is not None:
            assert after.rows % BLOCK_ROWS == 0, "a plan that grows has whole blocks"
            self.models, self.shares = list(after.models), deepcopy(after.shares)
            self.rows, self.invalid = after.rows, after.invalid
        self._number = self.rows // BLOCK_ROWS
        self._models = {name: at for at, name in enumerate(self.models)}

    def add(self, request: Request | Document, offset: int) -> tuple[int, int]:
        """Add the next row, which stands at `offset` of the input; its entry's two digests."""
        model = self._model(request.model)
        tokens, requests = request.prompt_tokens, requests_of(request)
        share = self.shares[model]
        share.rows += 1
        share.prompt_tokens += tokens
        share.requests += requests
        share.longest = max(share.longest, mean_tokens(tokens, requests))
        id_digest, digest = self._digests(request)
        self._append(_ENTRY.pack(id_digest, digest, offset, tokens, model, requests, Role.ALONE))
        return id_digest, digest

    def add_invalid(self, offset: int) -> None:
        """Add the next row as one that cannot be sent."""
        self.invalid += 1
        self._append(_ENTRY.pack(0, 0, offset, 0, 0, 0, Role.ALONE))

    def finish(self) -> None:
        if self._block:
            self._flush()

    def invalidate(self, row: int) -> None:
        """Mark a row that was planned as one that cannot be sent."""
        number, index = divmod(row, BLOCK_ROWS)
        block = bytearray(self.store.block(number))
        entry = Entry._make(_ENTRY.unpack_from(block, index * _ENTRY.size))
        assert entry.role == Role.ALONE, f"row {row} has a role already"
        _ENTRY.pack_into(block, index * _ENTRY.size, *entry._replace(requests=0))
        self.store.write_blocks([(number, bytes(block))])
        share = self.shares[entry.model]
        share.rows -= 1
        share.prompt_tokens -= entry.prompt_tokens
        share.requests -= entry.requests
        self.invalid += 1

    def assign(self, roles: Iterable[tuple[int, Role]]) -> None:
        """Note the roles of rows, given in input order, and count copies as rows that ask nothing.

        Call it last: afterwards no row may become invalid.
        """
        for number, group in groupby(roles, key=lambda one: one[0] // BLOCK_ROWS):
            entries = block_entries(self.store.block(number))
            for row, role in group:
                entry = entries[row % BLOCK_ROWS]
                entries[row % BLOCK_ROWS] = entry._replace(role=role)
                if role is Role.COPY:
                    self.shares[entry.model].ask_less(entry)
            self.store.write_blocks([(number, pack_entries(entries))])

    def _append(self, entry: bytes) -> None:
        self._block += entry
        self.rows += 1
        if self.rows % BLOCK_ROWS == 0:
            self._flush()

    def _flush(self) -> None:
        self.store.write_blocks([(self._number, bytes(self._block))])
        self._block.clear()
        self._number += 1

    def _model(self, name: str) -> int:
        index = self._models.get(name)
        if index is None:
            index = self._models[name] = len(self.models)
            self.models.append(name)
            self.shares.append(ModelShare())
        return index

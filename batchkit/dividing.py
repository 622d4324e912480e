"""Rows as documents: a long text cut into chunks, or one request asked several times for a vote.

A row that fits is one request, as if there were no `[split]`; a chunk's template sees the chunk in
the place of the column, and `chunk` (1-based) and `chunks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from batchkit import joining
from batchkit.document import CHUNKS_MOST, Document, Join
from batchkit.document_job import DocumentJob, SplitSection
from batchkit.errors import ErrorKind, RowError
from batchkit.models import Model
from batchkit.records import Request, Result
from batchkit.sources import Raw
from batchkit.sources.grouped import ROWS
from batchkit.splitting import By, Piece, split_rows, split_text
from batchkit.translation import Build
from batchkit.wording import kind_of, shown, shown_names

_SPARE = "."  # stands for a chunk's text, or for an answer, where only what is around it counts
_ANSWER_SHARE = 4  # a part of the context is kept free for an answer whose length nobody gave
_MERGES: dict[str, joining.Merge] = {"first": joining.first, "union": joining.union}
_encode = msgspec.json.Encoder(enc_hook=str, order="deterministic").encode


class Chunk(msgspec.Struct, frozen=True):
    """A chunk as its template sees it, and the white space behind it in the document."""

    names: dict[str, Any]
    separator: str


class Divider:
    """Makes requests and documents of one job's rows.

    Args:
        build: Makes a request of a row, or of a chunk of it.
        build_join: Makes the request that joins answers; None if a rule joins them.
        read: Validates a joined output.
        model: The one that is asked.
        max_tokens: What an answer may have; None if the job does not say.
    """

    def __init__(
        self,
        job: DocumentJob,
        *,
        build: Build,
        build_join: Build | None,
        join_columns: frozenset[str] | None,
        read: joining.Read | None,
        model: Callable[[Request], Model],
        max_tokens: int | None,
    ) -> None:
        self._job = job
        self._build = build
        self._build_join = build_join
        self._join_columns = join_columns
        self._read = read
        self._model = model
        self._max_tokens = max_tokens

    def divide(self, raw: Raw) -> Request | Document:
        """The request of a row, or its several requests; raises `RowError`."""
        split = self._job.split
        if split is not None:
            return self._chunked(raw, split)
        assert self._job.votes is not None
        request = self._build(raw)
        requests = [request] * self._job.votes
        return _document(requests, joining.majority, "majority", word="vote")

    # -- chunks ------------------------------------------------------------------------------------

    def _chunked(self, raw: Raw, split: SplitSection) -> Request | Document:
        if raw.values is None:
            return self._build(raw)  # which says why
        chunks = self._chunks(raw, raw.values, split)
        if len(chunks) > CHUNKS_MOST:
            raise RowError(
                f"split: {len(chunks):,} chunks; at most {CHUNKS_MOST:,} are taken: "
                "raise split.tokens"
            )
        requests = [
            self._build(raw, {**chunk.names, "chunk": number, "chunks": len(chunks)})
            for number, chunk in enumerate(chunks, 1)
        ]
        if len(requests) == 1:
            return requests[0]
        return self._joined(raw, requests, [chunk.separator for chunk in chunks[:-1]])

    def _chunks(self, raw: Raw, values: dict[str, Any], split: SplitSection) -> list[Chunk]:
        if self._job.group is not None:
            rows: list[dict[str, Any]] = values[ROWS]
            texts = [_text(row, split.column) for row in rows]
            spare = {ROWS: [{**rows[0], split.column: _SPARE}], split.column: _SPARE}
            size = self._size(raw, spare, split)
            cuts = split_rows(texts, By(split.by), size, split.overlap)
            return [_chunk_of_rows(rows, texts, pieces, split.column) for pieces in cuts]
        text = _text(values, split.column)
        size = self._size(raw, {split.column: _SPARE}, split)
        return [
            Chunk({split.column: text[span.lead : span.end]}, _space_at(text, span.end))
            for span in split_text(text, By(split.by), size, split.overlap)
        ]

    def _size(self, raw: Raw, spare: dict[str, Any], split: SplitSection) -> int:
        """The most tokens that a chunk of this row may have."""
        frame = self._build(raw, {**spare, "chunk": 1, "chunks": 1})
        model = self._model(frame)
        answer = self._max_tokens or min(
            model.max_output or model.context, model.context // _ANSWER_SHARE
        )
        room = model.context - frame.prompt_tokens - answer
        size = room if split.tokens is None else min(split.tokens, room)
        if size <= split.overlap:
            raise RowError(
                f"split: of the context of {model.context} ({model.name}) the prompt takes "
                f"{frame.prompt_tokens} and the answer {answer}: {max(room, 0)} are left for a "
                f"chunk with {split.overlap} of overlap; shorten the prompt, or lower max_tokens"
            )
        return size

    # -- joining -----------------------------------------------------------------------------------

    def _joined(self, raw: Raw, requests: list[Request], separators: list[str]) -> Document:
        section = self._job.join
        assert section is not None
        if section.by == "order":
            return _document(
                requests, lambda answers: joining.in_order(answers, separators), "order"
            )
        if section.by is not None:
            merge, read = _MERGES[section.by], self._read
            assert read is not None
            return _document(
                requests, lambda answers: joining.merged(answers, merge, read), section.by
            )
        return self._joined_by_model(raw, requests)

    def _joined_by_model(self, raw: Raw, requests: list[Request]) -> Document:
        assert self._build_join is not None
        assert raw.values is not None
        self._check_join_columns(raw.values)
        build, has_schema = self._build_join, self._read is not None
        chunk = len(requests) + 1

        def join(answers: Sequence[Result]) -> Request | Result:
            told = [
                msgspec.json.decode(one.output) if has_schema and one.output else one.content
                for one in answers
            ]
            try:
                request = build(raw, {"answers": told})
            except RowError as error:
                return _cannot_join(answers[-1], str(error))
            return _chunk(request, chunk)

        asks = _encode(("ask", msgspec.to_builtins(self._job.join), self._seen_by_join(raw.values)))
        answers = self._max_tokens or 0
        return _document(requests, join, asks.decode(), last_tokens=len(requests) * answers)

    def _seen_by_join(self, values: dict[str, Any]) -> dict[str, Any]:
        names = self._join_columns
        return {name: value for name, value in values.items() if names is None or name in names}

    def _check_join_columns(self, values: dict[str, Any]) -> None:
        """A column that is missing is found before anything is sent, not after the chunks."""
        for name in sorted((self._join_columns or frozenset()) - {"answers"}):
            if name not in values:
                names = shown_names(list(values))
                raise RowError(f"join: column {shown(name)} is missing; the row has {names}")


def _document(
    requests: list[Request],
    join: Join,
    asks: str,
    *,
    word: str = "chunk",
    last_tokens: int | None = None,
) -> Document:
    first = requests[0]
    chunks = [_chunk(request, number) for number, request in enumerate(requests, 1)]
    return Document(chunks, join, asks, word, last_tokens, first.metadata, first.keep)


def _chunk(request: Request, number: int) -> Request:
    """A request as a chunk: what travels along is its document's."""
    return msgspec.structs.replace(request, chunk=number, metadata=None, keep=None)


def _cannot_join(answer: Result, why: str) -> Result:
    return msgspec.structs.replace(
        answer,
        status="failed",
        content=None,
        output=None,
        error_kind=ErrorKind.INVALID_REQUEST,
        error_message=f"join: {why}",
    )


def _text(values: Mapping[str, Any], column: str) -> str:
    if column not in values:
        names = shown_names(list(values))
        raise RowError(f"split: column {shown(column)} is missing; the row has {names}")
    value = values[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"split: column {shown(column)}: expected text, got {kind_of(value)}")
    return value


def _space_at(text: str, cut: int) -> str:
    """The white space on both sides of a cut."""
    start = end = cut
    while start > 0 and text[start - 1].isspace():
        start -= 1
    while end < len(text) and text[end].isspace():
        end += 1
    return text[start:end]


def _chunk_of_rows(
    rows: Sequence[dict[str, Any]], texts: Sequence[str], pieces: Sequence[Piece], column: str
) -> Chunk:
    shown_rows = [
        rows[piece.row]
        if piece.end - piece.start == len(texts[piece.row])
        else {**rows[piece.row], column: texts[piece.row][piece.start : piece.end]}
        for piece in pieces
    ]
    last = pieces[-1]
    is_whole = last.end == len(texts[last.row])
    text = "\n".join(texts[piece.row][piece.start : piece.end] for piece in pieces)
    names = {ROWS: shown_rows, column: text}
    return Chunk(names, "\n" if is_whole else _space_at(texts[last.row], last.end))

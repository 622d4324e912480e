"""What a job file says of documents: `[group]`, `[split]`, `[join]`, and votes.

The sections as values, and which of them go together.
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchkit.errors import UsageError
from batchkit.splitting import By
from batchkit.wording import shown

VOTES_MOST = 99
_JOINS = ("order", "first", "union")


class GroupSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows that follow each other with the same value become one document."""

    by: str  # a column


class SplitSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text that is too long for one request is cut into chunks."""

    column: str
    by: str = By.PARAGRAPH
    tokens: int | None = None  # the most of a chunk; None: what fits the context
    overlap: int = 0  # tokens that a chunk repeats of the one before


class JoinSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the answers to the chunks become one: by a rule, or by asking the model."""

    by: str | None = None  # order, first or union
    user: str | None = None
    system: str | None = None


class DocumentJob(msgspec.Struct, frozen=True):
    """How rows of a job become requests, where that is not one to one."""

    group: GroupSection | None = None
    split: SplitSection | None = None
    join: JoinSection | None = None
    votes: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether each row is one request."""
        return self.split is None and self.votes is None

    def asks(self) -> dict[str, Any]:
        """What decides the requests; a section that is not there decides nothing."""
        said: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in said.items() if value is not None}


def check_documents(job: DocumentJob, *, has_prompt: bool, has_fields: bool) -> DocumentJob:
    """`job`, with what it leaves unsaid; raises `UsageError` for what does not go together."""
    for name in ("group", "split"):
        if getattr(job, name) is not None and not has_prompt:
            raise UsageError(f"{name}: needs [prompt]: rows that are requests stay as they are")
    if job.votes is not None:
        _check_votes(job)
    if job.split is None:
        if job.join is not None:
            raise UsageError("join: there is nothing to join without [split]")
        return job
    _check_split(job.split)
    join = job.join
    if join is None:
        if has_fields:
            raise UsageError(
                'join: is missing; with output.schema or labels say by = "first" or by = "union", '
                "or give a prompt (user)"
            )
        join = JoinSection(by="order")
    _check_join(join, has_fields=has_fields)
    return msgspec.structs.replace(job, join=join)


def _check_votes(job: DocumentJob) -> None:
    assert job.votes is not None
    if not 2 <= job.votes <= VOTES_MOST:
        raise UsageError(f"output.votes: expected 2 to {VOTES_MOST}, got {job.votes}")
    if job.split is not None:
        raise UsageError("output.votes: does not go with [split]; vote on rows of one request")


def _check_split(split: SplitSection) -> None:
    if split.by not in set(By):
        raise UsageError(f"split.by: expected one of {', '.join(By)}, got {shown(split.by)}")
    if split.tokens is not None and split.tokens < 1:
        raise UsageError(f"split.tokens: expected at least 1, got {split.tokens}")
    if split.overlap < 0:
        raise UsageError(f"split.overlap: expected at least 0, got {split.overlap}")
    if split.tokens is not None and split.overlap >= split.tokens:
        raise UsageError(
            f"split.overlap: {split.overlap} is not less than split.tokens, {split.tokens}: "
            "a chunk would hold nothing new"
        )


def _check_join(join: JoinSection, *, has_fields: bool) -> None:
    if (join.by is None) is (join.user is None):
        raise UsageError("join: expected either by or user (a prompt over the answers)")
    if join.by is not None and join.by not in _JOINS:
        raise UsageError(f"join.by: expected one of {', '.join(_JOINS)}, got {shown(join.by)}")
    if join.system is not None and join.user is None:
        raise UsageError("join.system: goes with join.user only")
    if join.by == "order" and has_fields:
        raise UsageError(
            'join.by: "order" joins texts, but output.schema or labels ask for fields; '
            'expected "first" or "union"'
        )
    if join.by in {"first", "union"} and not has_fields:
        raise UsageError(
            f'join.by: "{join.by}" joins fields; give output.schema or labels, or say "order"'
        )

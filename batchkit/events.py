"""What of a run's life is an event of its log: settled rows, sealed parts, limits, bursts.

Refusals come by the thousand. They are counted in bursts, by looks a few times a second, so that
the way of a request has nothing to do with them.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from batchkit.journal import SealedPart
from batchkit.log import EventLog
from batchkit.records import Result
from batchkit.verdicts import REPEATED

_LIMIT_STEP = 0.1  # a limit that moved by this share is told, once a second at most
_LIMIT_EVERY_S = 1.0
_LIMIT_LATEST_S = 10.0  # and a smaller change after this
_BURST_ENDS_S = 2.0  # without a refusal
_BURST_MOST_S = 60.0  # a longer burst is told in pieces


class ModelLook(msgspec.Struct, frozen=True):
    """One model at one moment."""

    name: str
    limit: int
    refused: int  # attempts since the run began


class _Watched(msgspec.Struct):
    """What was seen of a model and has not been told yet."""

    limit: int
    limit_told_at: float
    refused: int
    refused_told: int
    burst_from: float | None = None
    last_refused_at: float = 0.0


class RunLog:
    """Turns what happens to a run into lines of its log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._watched: dict[str, _Watched] = {}

    def settled(self, result: Result) -> None:
        """A row is durable."""
        if result.status == "ok":
            if self._log.keeps_texts:
                texts = {"content": result.content}
                self._log.event("row_ok", row=result.row, texts=texts)
            return
        name = "retries_given_up" if result.error_kind in REPEATED else "row_failed"
        self._log.event(
            name,
            row=result.row,
            kind=result.error_kind,
            code=result.error_code,
            attempts=result.attempts,
            texts={"message": result.error_message, "content": result.content},
        )

    def sealed(self, part: SealedPart) -> None:
        """A part is whole under its final name."""
        self._log.event("part_sealed", part=part.part, rows=part.rows, failed=part.failed)

    def look(self, now: float, models: Iterable[ModelLook]) -> None:
        """Tell what has changed since the last look; `now` is in monotonic seconds."""
        for model in models:
            watched = self._watched.get(model.name)
            if watched is None:
                self._watched[model.name] = _Watched(
                    model.limit, now, refused=model.refused, refused_told=model.refused
                )
                continue
            self._look_at_limit(now, model, watched)
            self._look_at_refusals(now, model, watched)

    def end(self, now: float, models: Iterable[ModelLook]) -> None:
        """The last look: what is under way has ended."""
        self.look(now, models)
        for name, watched in self._watched.items():
            self._tell_burst(name, watched)

    def _look_at_limit(self, now: float, model: ModelLook, watched: _Watched) -> None:
        moved = abs(model.limit - watched.limit)
        due_s = _LIMIT_EVERY_S if moved >= _LIMIT_STEP * watched.limit else _LIMIT_LATEST_S
        if moved and now - watched.limit_told_at >= due_s:
            self._log.event(
                "limit_changed", model=model.name, before=watched.limit, after=model.limit
            )
            watched.limit, watched.limit_told_at = model.limit, now

    def _look_at_refusals(self, now: float, model: ModelLook, watched: _Watched) -> None:
        if model.refused > watched.refused:
            watched.refused, watched.last_refused_at = model.refused, now
            if watched.burst_from is None:
                watched.burst_from = now
        if watched.burst_from is not None and (
            now - watched.last_refused_at >= _BURST_ENDS_S
            or now - watched.burst_from >= _BURST_MOST_S
        ):
            self._tell_burst(model.name, watched)

    def _tell_burst(self, model: str, watched: _Watched) -> None:
        if watched.burst_from is None:
            return
        self._log.event(
            "refused_burst",
            model=model,
            refusals=watched.refused - watched.refused_told,
            seconds=round(watched.last_refused_at - watched.burst_from, 2),
            limit=watched.limit,
        )
        watched.refused_told, watched.burst_from = watched.refused, None

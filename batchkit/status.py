"""What a run has come to, read from its folder; also while another process works on it."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import msgspec

from batchkit.damage import find_damage
from batchkit.errors import UsageError
from batchkit.folder import RunFolder
from batchkit.journal import Journal
from batchkit.live import Live
from batchkit.plan import Plan, decode_plan
from batchkit.progress import duration, in_flight
from batchkit.summary import RunSummary, as_table, summarize
from batchkit.tally import Tally, decode_tally

_decode_live = msgspec.msgpack.Decoder(Live).decode


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A look at a run."""

    state: str  # running, paused, complete, stopped, planning
    summary: RunSummary
    live: Live | None  # while it runs
    damage: list[str]  # what is not as it was left; not looked for while the run goes on
    rows_left: int
    seconds_left: float | None  # at the present limits


def read_status(path: Path, version: str) -> RunStatus:
    """The status of the run in `path`; raises `UsageError` if there is none."""
    folder = RunFolder(path)
    if not folder.journal.is_file():
        raise UsageError(f"{path}: no run here; expected a folder that batchkit run has made")
    is_running = folder.is_held()
    journal = Journal.open(folder.journal, read_only=True)
    with closing(journal):
        plan_blob, live_blob = journal.get("plan"), journal.get("live")
        plan = decode_plan(plan_blob) if plan_blob is not None else None
        damage = [] if is_running or plan is None else find_damage(folder, journal, plan)
        summary = summary_of(journal, plan, path, version)
    live = _decode_live(live_blob) if is_running and live_blob is not None else None
    left = summary.rows - summary.ok - summary.failed
    return RunStatus(
        state="paused"
        if live and live.paused
        else _state(is_running=is_running, is_planned=bool(plan and plan.rows), summary=summary),
        summary=summary,
        live=live,
        damage=[str(one) for one in damage],
        rows_left=left,
        seconds_left=None if live is None else live.seconds_left,
    )


def summary_of(journal: Journal, plan: Plan | None, path: Path, version: str) -> RunSummary:
    """The totals of the run in `path`, as its journal has them now."""
    blob = journal.get("tally")
    return summarize(
        decode_tally(blob) if blob is not None else Tally(),
        rows=plan.rows_by_model() if plan is not None else {},
        total_rows=plan.rows if plan is not None else 0,
        all_rows=plan is not None and plan.is_whole,
        out=str(path),
        version=version,
    )


def _state(*, is_running: bool, is_planned: bool, summary: RunSummary) -> str:
    if is_running:
        return "running" if is_planned else "planning"
    return "complete" if summary.complete else "stopped"


def as_text(status: RunStatus) -> str:
    """The status for a terminal."""
    so_far = "" if status.summary.all_rows else ", and those that are not checked yet"
    lines = [f"{status.state}, {status.rows_left:,} rows left{so_far}"]
    if status.live is not None:
        age = max(0.0, time.time() - status.live.updated_at)
        lines += [f"{model.name}: {in_flight(model)}" for model in status.live.models]
        lines.append(
            f"{status.live.rows_per_s:,.1f} rows/s, {status.live.tokens_per_s:,.0f} tokens/s, "
            f"{age:.0f} s ago, process {status.live.pid}"
        )
        cpus = " + ".join(f"{cpu:.0%}" for cpu in (status.live.cpu, *status.live.worker_cpus))
        workers = f", {len(status.live.worker_cpus)} workers" if status.live.worker_cpus else ""
        lines.append(f"{cpus} of a core{workers}")
        if status.seconds_left is not None:
            lines.append(f"about {duration(status.seconds_left)} left")
    if status.damage:
        lines += [*status.damage, "mend it with batchkit run … --reask-damaged"]
    return "\n".join([*lines, "", as_table(status.summary)])

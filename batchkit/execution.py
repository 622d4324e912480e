"""The composition root: puts a run together from its parts and sees it through."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

import anyio
import msgspec

from batchkit import __version__
from batchkit.accounting import to_text
from batchkit.audit import Audit
from batchkit.budget import open_purse
from batchkit.clock import SystemClock
from batchkit.connections import fit_connections, refusal_of
from batchkit.endpoints import Endpoint
from batchkit.errors import StoppedError, UsageError
from batchkit.events import RunLog
from batchkit.expectation import Expectation
from batchkit.folder import RunFolder, write_json
from batchkit.garbage import rare_collections
from batchkit.growth import Growth
from batchkit.history import History
from batchkit.inputs import Input
from batchkit.journal import FORMAT, Journal, Planned, SealedPart
from batchkit.lane_plan import LanePlan, plan_lanes
from batchkit.lanes import Shared, build_lanes, open_copies, requests_left, share_of, take_reins
from batchkit.learned import LearnedLimits, key_fingerprint, state_folder
from batchkit.log import EventLog
from batchkit.opening import OpenRun
from batchkit.originals import Originals
from batchkit.parts import seal
from batchkit.plan import decode_plan
from batchkit.planner import BesideSending, Planner
from batchkit.progress import View
from batchkit.recorder import Recorder, WriteError, disk_trouble
from batchkit.scheduler import Lane, Scheduler
from batchkit.sending import Sending, cores, new_sending, processes_needed
from batchkit.session import LaneNote, Session, encode_session
from batchkit.shares import Alone
from batchkit.spec import Spec
from batchkit.steering import Steering, open_lender
from batchkit.stopping import Cause, Stopper, StopReason
from batchkit.summary import RunSummary, summarize
from batchkit.tally import Tally, encode_tally
from batchkit.tuning import Wishes
from batchkit.watch import Watch

_BACKLOG_LEAST = 16  # records that are not durable yet; few slots must not wait for each fsync


class Ending(msgspec.Struct, frozen=True):
    """How one start of a run ended."""

    summary: RunSummary
    reasons: tuple[StopReason, ...]  # why it stopped early; empty if it did not
    strangers: tuple[str, ...] = ()  # models that rows named too late to have lanes

    @property
    def goes_on(self) -> bool:
        """Whether nothing is in its way, and only other lanes are needed: it is to start again."""
        return bool(self.strangers) and not self.reasons

    @property
    def was_interrupted(self) -> bool:
        """Whether a signal stopped it: somebody wants it out of the way."""
        return any(reason.signal is not None for reason in self.reasons)


class Console(msgspec.Struct, frozen=True):
    """Where a run's talk goes."""

    say: Callable[[str], None]
    tell: Callable[[str], None] | None  # every event, for those who want to know more
    progress: Callable[[int, int], View]  # (total rows, settled rows)
    confirm: Callable[[str], bool] | None = None  # asks a person; None where there is nobody


class Execution:
    """One start of a run."""

    def __init__(
        self,
        spec: Spec,
        given: Input,
        opened: OpenRun,
        *,
        folder: RunFolder,
        endpoints: Mapping[str, Endpoint],
        console: Console,
    ) -> None:
        self.spec = spec
        self.opened = opened
        self.endpoints = endpoints
        self.console = console
        self._given = given
        self._folder = folder
        self._layout = given.layout(folder, opened.plan, __version__)
        self._log = EventLog(folder.log, console.tell, keeps_texts=spec.log_content)
        self.only: frozenset[int] | None = None  # rows to ask, if not all
        self.expectation = self._expect()
        self._growth = Growth(opened.plan, endpoints)
        self._starts = [*folder.starts(), self._start()]
        self._readers: list[Journal] = []
        self._stopper: Stopper | None = None
        self._scheduler: Scheduler | None = None

    def confirm(self) -> None:
        """Raise `UsageError` if the rest is likely to cost more than is wanted without a word."""
        if self.spec.confirm_above is None:
            return
        share_left = 1 - self.opened.settled.count / self.opened.plan.rows
        words = self.expectation.too_dear(float(self.spec.confirm_above), share_left)
        if words is not None and not (self.console.confirm and self.console.confirm(words)):
            raise UsageError(f"--confirm-above: {words}; raise it to go on")

    @property
    def is_stopping(self) -> bool:
        return self._stopper is not None and self._stopper.is_stopping

    def stop(self, reason: StopReason) -> None:
        """Begin nothing more, let what is in flight finish; the second call breaks that off too."""
        if self._stopper is None or self._scheduler is None:
            return
        if self._stopper.is_stopping:
            self._scheduler.cancel()
        self._stopper.stop(reason)

    def close(self) -> None:
        """Nothing more will be logged."""
        self._log.close()

    async def run(self) -> Ending:
        """See the run through; returns when nothing is in flight and everything is committed.

        Raises `StoppedError` if the run's folder cannot be written before anything is sent.
        """
        plans = fit_connections(plan_lanes(self.spec, self.opened.plan), self.console.say)
        processes = self._processes(plans)
        session = _session(plans, at_once=2 if self.spec.hedge else 1)
        self._log_start(plans, processes)
        try:
            self._begin(session)
        except WriteError as error:
            raise StoppedError(disk_trouble(error)) from error
        shared = self._shared(session, processes)
        self._stopper = shared.stopper
        planner = self._planner(shared.recorder)
        try:
            lanes = build_lanes(plans, self.endpoints, shared)
            self._scheduler = Scheduler(
                lanes,
                shared.recorder,
                shared.stopper,
                session=session,
                drain_s=self.spec.drain_s,
                originals=shared.originals,
                growth=self._growth,
                planning=planner,
                copies=open_copies(shared),
            )
            steering = self._steering(lanes, plans, shared)
            watch = self._watch(lanes, steering, shared)
            await self._work(self._scheduler, shared.sending, steering, watch)
        finally:
            await shared.sending.aclose()
            for reader in self._readers:
                reader.close()
        return self._end(shared.recorder, shared.stopper, lanes)

    def _log_start(self, plans: list[LanePlan], processes: int) -> None:
        self._log.event(
            "started",
            rows=self.opened.plan.rows,
            settled=self.opened.settled.count,
            slots={plan.name: plan.slots for plan in plans},
            processes=processes,
        )
        self._log.event("estimated", models=self.expectation.estimates)

    def _shared(self, session: Session, processes: int) -> Shared:
        clock, stopper, originals = SystemClock(), Stopper(), Originals()
        return Shared(
            given=self._given,
            opened=self.opened,
            growth=self._growth,
            recorder=self._recorder(stopper, session.backlog, originals),
            originals=originals,
            stopper=stopper,
            sending=new_sending(
                self.endpoints.values(),
                processes,
                transport=self.spec.transport,
                clock=clock,
                notice=self._notice,
            ),
            clock=clock,
            purse=open_purse(self.spec, self.opened),
            rng=Random(),  # noqa: S311  # jitter, not secrets
            reader=self._reader,
            only=self.only,
        )

    def _watch(self, lanes: list[Lane], steering: Steering, shared: Shared) -> Watch:
        """Who looks at the run while it goes on: now and then, and before each commit."""
        recorder, run_log = shared.recorder, RunLog(self._log)
        watch = Watch(
            lanes,
            recorder,
            self.console.progress(self.opened.plan.rows, recorder.tally.settled),
            growth=self._growth,
            purse=shared.purse,
            steering=steering,
            sending=shared.sending,
            clock=shared.clock,
            run_log=run_log,
        )
        audit = Audit(
            lanes,
            self.opened.tally,
            binding=watch.binding,
            clock=shared.clock,
            plan=self.opened.plan,
            most_failed=self.spec.max_failed,
            stopper=shared.stopper,
            drifted=self._hold_against_estimate,
        )
        recorder.before_commit = audit.look
        recorder.on_settled, recorder.on_sealed = run_log.settled, run_log.sealed
        return watch

    async def _work(
        self, scheduler: Scheduler, sending: Sending, steering: Steering, watch: Watch
    ) -> None:
        try:
            await steering.start()
            with rare_collections():
                async with anyio.create_task_group() as group:
                    group.start_soon(steering.run, name="steering")
                    await group.start(sending.run, name="sending")
                    group.start_soon(watch.run, name="watch")
                    await scheduler.run()
                    group.cancel_scope.cancel()
        finally:
            steering.close(is_quiet=not scheduler.is_cancelled)
        steering.keep()

    def _steering(self, lanes: list[Lane], plans: list[LanePlan], shared: Shared) -> Steering:
        state, say = state_folder(os.environ), self.console.say
        is_apart = self.spec.endpoint in {"sim", "local"}  # their addresses come and go
        learned = None if is_apart else LearnedLimits(state)
        return Steering(
            [
                take_reins(lane, plan, self.endpoints[plan.model.name], shared, learned)
                for lane, plan in zip(lanes, plans, strict=True)
            ],
            Alone() if is_apart else open_lender(state, say),
            state=state,
            wishes=Wishes(self._folder.path, shared.clock.wall),
            learned=learned,
            make_room=self._make_room,
            say=say,
            clock=shared.clock,
        )

    async def _make_room(self, slots: Mapping[str, int]) -> str | None:
        """Prepare for so many requests of each lane in flight; why not, if they cannot be."""
        assert self._scheduler is not None
        if self.is_stopping:
            return "the run is stopping"
        if (refusal := refusal_of(slots)) is not None:
            return refusal
        noted = await self._scheduler.note_slots(slots)
        return None if noted else f"{self._folder.path}: cannot be written"

    def _processes(self, plans: list[LanePlan]) -> int:
        """How many processes send: as many as were asked for, or as the job needs."""
        if self.spec.processes is not None:
            return max(1, self.spec.processes)
        if self.only is not None or self.spec.endpoint in {"sim", "local"}:
            return 1  # a few rows, or a service that needs the cores itself
        opened, latencies = self.opened, self.expectation.latencies()
        asked = [plan for plan in plans if plan.model.name in opened.plan.models]
        shares = [share_of(plan, opened, latencies.get(plan.model.name)) for plan in asked]
        return processes_needed(shares, requests=requests_left(opened), cores=cores())

    def _notice(self, words: str) -> None:
        self._log.event("worker_lost", message=words)
        self.console.say(words)

    def _begin(self, session: Session) -> None:
        """Note that requests may be in flight from now on, and what a kill left unknown before."""
        self._write_run_json()
        tally = self.opened.tally
        for lost in self.opened.at_kill:
            model = tally.of(lost.model, lost.currency)
            model.killed_attempts += lost.attempts
            model.killed_bound += lost.bound
            self.console.say(
                f"{lost.model}: the last start was killed with at most {lost.attempts:,} requests "
                f"in flight, which may have cost at most {to_text(lost.bound)} {lost.currency}"
            )
        self.opened.journal.put_all(
            {"tally": encode_tally(tally), "session": encode_session(session)}
        )

    def _hold_against_estimate(self, tally: Tally) -> None:
        if (words := self.expectation.look(tally)) is not None:
            self.console.say(words)
            self._log.event("drifted", message=words)

    # -- parts -------------------------------------------------------------------------------------

    def _reader(self) -> Journal:
        reader = self.opened.journal.reader()
        self._readers.append(reader)
        return reader

    def _recorder(self, stopper: Stopper, backlog: int, originals: Originals) -> Recorder:
        opened = self.opened
        reader = self._reader()

        def seal_part(number: int) -> SealedPart:
            rows = opened.settled.part(number)
            return seal(
                self._layout,
                number,
                reader.settled(rows.start, rows.stop),
                reader.attempts(rows.start, rows.stop),
            )

        recorder = Recorder(
            opened.journal,
            opened.tally,
            opened.settled,
            seal=seal_part,
            currency=lambda model: self.spec.table[model].price.currency,
            stopper=stopper,
            backlog=backlog,
            originals=originals,
        )
        for part in opened.unsealed:
            recorder.seal_later(part)
        return recorder

    # -- a plan that grows -------------------------------------------------------------------------

    def _expect(self) -> Expectation:
        history = History(state_folder(os.environ))
        return Expectation(self.spec, self.opened.plan, history, now=time.time())

    def _planner(self, recorder: Recorder) -> Planner | None:
        """What adds the rows to the plan that it lacks, by way of `recorder`."""
        planner = self.opened.planner
        if planner is not None:
            planner.store = BesideSending(recorder, self._reader())
            recorder.on_planned = self._grow
        return planner

    def _grow(self, planned: Planned) -> None:
        self._growth.grow(decode_plan(planned.plan))
        if planned.is_whole:
            self._layout = self._given.layout(self._folder, self.opened.plan, __version__)
            self.expectation = self._expect()
            self._log.event("planned", rows=planned.rows)
            self._log.event("estimated", models=self.expectation.estimates)

    # -- at the end --------------------------------------------------------------------------------

    def _end(self, recorder: Recorder, stopper: Stopper, lanes: list[Lane]) -> Ending:
        plan, tally = self.opened.plan, recorder.tally
        summary = summarize(
            tally,
            rows=plan.rows_by_model(),
            total_rows=plan.rows,
            all_rows=plan.is_whole,
            out=str(self._folder.path),
            version=__version__,
        )
        if self.opened.planner is not None:
            self._write(self._write_run_json, stopper)
        if summary.complete and recorder.is_complete:
            self._write(partial(write_json, self._folder.summary_json, summary), stopper)
            for found in self.expectation.keep(self.opened.journal, self._layout, tally):
                self._log.event("measured", **found)
        stoppers = [stopper, *(lane.stopper for lane in lanes)]
        reasons = dict.fromkeys(
            self._with_rest(s.reason, tally) for s in stoppers if s.reason is not None
        )
        for reason in reasons:
            self._log.event("stopped", cause=reason.cause, message=reason.message)
        self._log.event("ended", settled=tally.settled, complete=summary.complete)
        return Ending(summary, tuple(reasons), tuple(self._growth.strangers))

    def _write(self, write: Callable[[], None], stopper: Stopper) -> None:
        try:
            write()
        except OSError as error:
            stopper.stop(StopReason(Cause.DISK, disk_trouble(error)))

    def _with_rest(self, reason: StopReason, tally: Tally) -> StopReason:
        """A reason that is the budget's, with what the rows that are left would cost."""
        left = self.opened.plan.rows - tally.settled
        if reason.cause is not Cause.BUDGET or not left:
            return reason
        cost, currency = self.expectation.rest(tally, left)
        rows = "rows" if self.opened.plan.is_whole else "rows checked so far"
        words = f"{reason.message}; the {left:,} {rows} that are left would cost about"
        return msgspec.structs.replace(reason, message=f"{words} {cost:,.4g} {currency}")

    def _start(self) -> dict[str, Any]:
        """What `run.json` records of this start."""
        spec, endpoints = self.spec, self.endpoints.items()
        return {
            "at": time.time(),
            "tier": spec.tier,
            "endpoint": spec.endpoint,
            "keys": {name: one.key and key_fingerprint(one.key) for name, one in endpoints},
            "endpoints": {name: one.url for name, one in endpoints},
            "models": spec.table.as_rows(list(self.endpoints)),
            "batchkit": __version__,
        }

    def _write_run_json(self) -> None:
        spec, plan = self.spec, self.opened.plan
        write_json(
            self._folder.run_json,
            {
                "spec": str(spec.path),
                "spec_sha256": self._given.sha256(),
                "asks": self._given.asks(),
                "score": spec.score,
                "input": plan.input,
                "rows": plan.rows,
                "part_rows": plan.part_rows,
                "format": plan.format,
                "journal_format": FORMAT,
                "starts": self._starts,
            },
        )


def _session(plans: list[LanePlan], *, at_once: int) -> Session:
    notes = {
        plan.name: LaneNote(plan.model.name, plan.slots, plan.model.price.currency, at_once)
        for plan in plans
    }
    slots = sum(plan.slots for plan in plans)
    return Session(notes, backlog=max(_BACKLOG_LEAST, slots))

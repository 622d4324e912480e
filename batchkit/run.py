"""The composition root: puts a run together from its parts and sees it through."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random

import anyio
import msgspec

from batchkit import __version__
from batchkit.accounting import from_decimal
from batchkit.clock import SystemClock
from batchkit.endpoints import Endpoint, resolve
from batchkit.errors import UsageError
from batchkit.feed import Feed
from batchkit.feeder import Feeder
from batchkit.folder import RunFolder, write_json
from batchkit.inputs import Input, open_input
from batchkit.journal import Journal, SealedPart
from batchkit.limits import FixedLimit, Gate
from batchkit.opening import OpenRun, open_run
from batchkit.parts import seal
from batchkit.pool import Fed, Pool
from batchkit.progress import Live, ModelLive, Pace, Progress
from batchkit.providers.aiohttp_transport import AiohttpTransport
from batchkit.providers.descriptors import raise_descriptor_limit
from batchkit.providers.provider import Provider
from batchkit.providers.transport import Transport
from batchkit.purse import Purse
from batchkit.recorder import Recorder
from batchkit.requests import digest
from batchkit.retry import RetryPolicy
from batchkit.scheduler import Lane, Scheduler
from batchkit.spec import Spec
from batchkit.stopping import Stopper, StopReason
from batchkit.summary import RunSummary, summarize
from batchkit.tally import Tally

DRAIN_S = 30.0  # how long requests in flight may take after a stop
_LOOK_EVERY_S = 0.25
_SAVE_EVERY_S = 1.0
_CHUNK_MOST = 256  # rows that a feeder reads at once


class Ending(msgspec.Struct, frozen=True):
    """How one start of a run ended."""

    summary: RunSummary
    reasons: tuple[StopReason, ...]  # why it stopped early; empty if it did not


class Console(msgspec.Struct, frozen=True):
    """Where a run's talk goes."""

    say: Callable[[str], None]
    progress: Callable[[int, int], Progress]  # (total rows, settled rows)


@contextmanager
def prepared(spec: Spec, console: Console) -> Iterator[Execution]:
    """A run whose input was checked, whose folder is locked and whose keys are there.

    Raises `UsageError` if it cannot start as asked; then nothing was sent.
    """
    folder = RunFolder(spec.out)
    with served(spec, console.say) as address:
        if spec.model is not None:
            resolve(
                spec, spec.table[spec.model], os.environ, address
            )  # a missing key is told first
        given = open_input(spec)
        with folder.locked():
            opened = open_run(folder, spec, given.source, given.rendering(), given.keeping())
            try:
                endpoints = {
                    name: resolve(spec, spec.table[name], os.environ, address)
                    for name in opened.plan.models
                }
                yield Execution(
                    spec, given, opened, folder=folder, endpoints=endpoints, console=console
                )
            finally:
                opened.journal.close()


@contextmanager
def served(spec: Spec, say: Callable[[str], None]) -> Iterator[str | None]:
    """The address of the server that this process runs for `spec`, if it asks for one."""
    if spec.endpoint == "sim":
        # Servers are imported only by a run that asks for one.
        from batchkit.simulator.options import SimulatorOptions  # noqa: PLC0415
        from batchkit.simulator.server import serve_in_thread  # noqa: PLC0415

        options = spec.simulate or SimulatorOptions(tier=spec.tier)
        with serve_in_thread(options, table=spec.table) as running:
            yield running.url
    elif spec.endpoint == "local":
        from batchkit.local.model_file import find_model  # noqa: PLC0415
        from batchkit.local.model_row import NOTICE  # noqa: PLC0415
        from batchkit.local.server import serve_local  # noqa: PLC0415

        model = find_model(spec.local_model, say=say)
        say(
            NOTICE
            if spec.local_model is None
            else f"answers come from {model.name} on this machine"
        )
        with serve_local(model) as address:
            yield address
    else:
        yield None


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
        self._rng = Random()  # noqa: S311  # jitter, not secrets
        self._readers: list[Journal] = []
        self._stopper: Stopper | None = None
        self._scheduler: Scheduler | None = None

    def stop(self, reason: StopReason) -> None:
        """Begin nothing more, let what is in flight finish; the second call breaks that off too."""
        if self._stopper is None or self._scheduler is None:
            return
        if self._stopper.is_stopping:
            self._scheduler.cancel()
        self._stopper.stop(reason)

    async def run(self) -> Ending:
        """See the run through; returns when nothing is in flight and everything is committed."""
        self._write_run_json()
        clock = SystemClock()
        began, wall_before = clock.now(), self.opened.tally.wall_s
        self._stopper = stopper = Stopper()
        recorder = self._recorder(stopper)
        transport = AiohttpTransport()
        try:
            lanes = self._lanes(recorder, stopper, transport, clock)
            self._scheduler = Scheduler(lanes, recorder, stopper, drain_s=DRAIN_S)
            occupied = {name: self._occupied(name) for name in self.opened.tally.models}

            def complete(tally: Tally) -> None:
                tally.wall_s = wall_before + clock.now() - began
                for lane in lanes:
                    _add_occupancy(tally, lane, occupied)

            recorder.before_commit = complete
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, recorder, lanes, clock, name="progress")
                await self._scheduler.run()
                group.cancel_scope.cancel()
        finally:
            await transport.aclose()
            for reader in self._readers:
                reader.close()
        return self._end(recorder.tally, stopper, lanes)

    # -- parts -------------------------------------------------------------------------------------

    def _reader(self) -> Journal:
        reader = self.opened.journal.reader()
        self._readers.append(reader)
        return reader

    def _recorder(self, stopper: Stopper) -> Recorder:
        opened, layout = self.opened, self._layout
        reader = self._reader()

        def seal_part(number: int) -> SealedPart:
            rows = opened.settled.part(number)
            return seal(
                layout,
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
            backlog=max(1024, 4 * sum(self.spec.slots(name) for name in opened.plan.models)),
        )
        for part in opened.unsealed:
            recorder.seal_later(part)
        return recorder

    def _lanes(
        self, recorder: Recorder, stopper: Stopper, transport: Transport, clock: SystemClock
    ) -> list[Lane]:
        purse = self._purse()
        slots = {name: self.spec.slots(name) for name in self.opened.plan.models}
        fit = raise_descriptor_limit(sum(slots.values()))
        if fit < sum(slots.values()):
            self.console.say(
                f"only {fit:,} of {sum(slots.values()):,} connections fit the limit on open files; "
                f"raise it (ulimit -n {sum(slots.values()) + 256}) or give --concurrency {fit}"
            )
            share = fit / sum(slots.values())
            slots = {name: max(1, int(share * slot)) for name, slot in slots.items()}
        return [
            self._lane(
                name,
                slots=slots[name],
                recorder=recorder,
                stopper=stopper,
                transport=transport,
                clock=clock,
                purse=purse,
            )
            for name in self.opened.plan.models
        ]

    def _lane(
        self,
        name: str,
        *,
        slots: int,
        recorder: Recorder,
        stopper: Stopper,
        transport: Transport,
        clock: SystemClock,
        purse: Purse | None,
    ) -> Lane:
        spec, opened, endpoint = self.spec, self.opened, self.endpoints[name]
        model = spec.table[name]
        chunk = min(_CHUNK_MOST, max(16, slots))
        feed: Feed[Fed] = Feed(chunk)
        lane_stopper = stopper.child()
        structured = self._given.structured
        workers = min(slots, opened.plan.share(name).rows)
        pool = Pool(
            model,
            provider=Provider(
                transport,
                endpoint=endpoint.url,
                dialect=endpoint.dialect,
                api_key=endpoint.key,
                wall=clock.wall,
            ),
            gate=Gate(FixedLimit(slots), clock=clock.now),
            feed=feed,
            recorder=recorder,
            stopper=lane_stopper,
            run_stopper=stopper,
            policy=RetryPolicy(max_attempts=spec.max_attempts),
            timeout_s=spec.timeout_s,
            read=structured.read if structured is not None else None,
            purse=purse,
            key_env=endpoint.key_env,
            most_backing_off=max(16, slots),
            clock=clock,
            rng=self._rng,
        )
        feeder = Feeder(
            plan=opened.plan,
            model=name,
            store=self._reader(),
            cursor=self._given.source.cursor(),
            builder=self._given.rendering(opened.plan),
            digest=digest,
            settled=opened.settled,
            prior=opened.prior,
            chunk_rows=chunk,
        )
        return Lane(pool, feed, feeder, lane_stopper, workers)

    def _purse(self) -> Purse | None:
        if self.spec.budget is None:
            return None
        currencies = {self.spec.table[name].price.currency for name in self.opened.plan.models}
        if len(currencies) > 1:
            raise UsageError(
                f"--budget: the models cost {' and '.join(sorted(currencies))}; "
                "a budget has one currency"
            )
        models = self.opened.tally.models.values()
        spent = sum(model.cost + model.unknown_bound for model in models)
        return Purse(from_decimal(self.spec.budget), spent)

    # -- while it runs -----------------------------------------------------------------------------

    async def _watch(self, recorder: Recorder, lanes: list[Lane], clock: SystemClock) -> None:
        pace = Pace()
        progress = self.console.progress(self.opened.plan.rows, recorder.tally.settled)
        saved_at = clock.now()
        try:
            while True:
                rows_per_s, tokens_per_s = pace.look(clock.now(), recorder.tally)
                live = Live(
                    os.getpid(),
                    clock.wall(),
                    [_live(lane) for lane in lanes],
                    rows_per_s,
                    tokens_per_s,
                )
                progress.show(clock.now(), recorder.tally, live)
                if clock.now() - saved_at >= _SAVE_EVERY_S:
                    saved_at = clock.now()
                    await recorder.save("live", live)
                await anyio.sleep(_LOOK_EVERY_S)
        finally:
            progress.finish(recorder.tally)

    def _occupied(self, name: str) -> tuple[float, float]:
        tally = self.opened.tally.models[name]
        return tally.used_slot_s, tally.offered_slot_s

    # -- at the end --------------------------------------------------------------------------------

    def _end(self, tally: Tally, stopper: Stopper, lanes: list[Lane]) -> Ending:
        plan = self.opened.plan
        summary = summarize(
            tally,
            rows={name: share.rows for name, share in zip(plan.models, plan.shares, strict=True)},
            total_rows=plan.rows,
            out=str(self._folder.path),
            version=__version__,
        )
        if summary.complete:
            write_json(self._folder.summary_json, summary)
        stoppers = [stopper, *(lane.stopper for lane in lanes)]
        reasons = dict.fromkeys(s.reason for s in stoppers if s.reason is not None)
        return Ending(summary, tuple(reasons))

    def _write_run_json(self) -> None:
        spec, plan = self.spec, self.opened.plan
        write_json(
            self._folder.run_json,
            {
                "spec": str(spec.path),
                "asks": spec.asks(),
                "spec_sha256": spec.sha256(),
                "input": plan.input,
                "rows": plan.rows,
                "part_rows": plan.part_rows,
                "format": plan.format,
                "tier": spec.tier,
                "endpoints": {name: endpoint.url for name, endpoint in self.endpoints.items()},
                "models": spec.table.as_rows(plan.models),
                "versions": {"batchkit": __version__, "format": 1},
            },
        )


def _live(lane: Lane) -> ModelLive:
    gate = lane.pool.gate
    return ModelLive(lane.pool.model.name, gate.in_flight, gate.limit.slots, lane.pool.backing_off)


def _add_occupancy(tally: Tally, lane: Lane, before: Mapping[str, tuple[float, float]]) -> None:
    model = lane.pool.model
    lane.pool.gate.utilization()  # brings its account up to now
    used, offered = before.get(model.name, (0.0, 0.0))
    kept = tally.of(model.name, model.price.currency)
    kept.used_slot_s = used + lane.pool.gate.occupancy.used
    kept.offered_slot_s = offered + lane.pool.gate.occupancy.offered

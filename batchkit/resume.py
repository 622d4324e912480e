"""Going on with a run: what changed since it was begun, what was damaged, what is asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

from batchkit import __version__
from batchkit.accounting import Rates, to_text
from batchkit.damage import Damage, find_damage, remedy
from batchkit.errors import ErrorKind, UsageError
from batchkit.folder import RunFolder
from batchkit.inputs import Input
from batchkit.invalid_rows import invalid_row
from batchkit.journal import DamagedError, Journal, Settled
from batchkit.mending import mend_answers
from batchkit.opening import (
    OpenRun,
    begin_plan,
    check_room,
    clear_remains,
    new_plan,
    open_journal,
    read_tally,
    remove_journal,
    scan_input,
    take_up,
)
from batchkit.parts import Layout
from batchkit.plan import Fault, Plan, encode_plan
from batchkit.planner import Planner
from batchkit.prepare import Report
from batchkit.records import Attempt, Result
from batchkit.revision import Difference, Revision, ToAsk
from batchkit.tally import ModelTally, Tally, encode_tally
from batchkit.unseal import read_part

Say = Callable[[str], None]


class Resumption:
    """One start's look at a run's folder, which is locked."""

    def __init__(self, folder: RunFolder, given: Input, *, say: Say, report: Report) -> None:
        self._folder = folder
        self._given = given
        self._say = say
        self._report = report

    def open(self) -> OpenRun:
        """The run, planned if it is new, brought up to date and checked if it is not.

        Raises:
            UsageError: rows cannot be sent, the run was begun with something else, or there is no
                room on the disk.
            DamagedError: the journal or a part is not what batchkit wrote.
        """
        is_new = not self._folder.journal.exists()
        journal, plan = open_journal(self._folder)
        try:
            if plan is None:
                plan = self._new_plan(journal)
            else:
                clear_remains(self._folder, journal, plan)
                plan = self._updated(journal, plan)
                self._check(journal, plan)
                if self._given.spec.retry_failed is not None:
                    self._reopen_failed(journal, plan, self._given.spec.retry_failed)
            opened = take_up(journal, plan)
            if not plan.is_whole:
                self._plan_on(opened)
            if plan.are_answers_stale:
                layout = self._layout(plan)
                mend_answers(
                    journal,
                    plan,
                    opened.settled,
                    lambda part: read_part(layout, part, self._given.read_output),
                )
            check_room(self._folder, plan, opened.settled)
        except BaseException:
            journal.close()
            if is_new:
                remove_journal(self._folder.journal)
            raise
        return opened

    # -- the plan ----------------------------------------------------------------------------------

    def _new_plan(self, journal: Journal) -> Plan:
        if self._given.spec.eager:
            return begin_plan(journal, self._given)
        return new_plan(journal, self._given, self._report)

    def _plan_on(self, opened: OpenRun) -> None:
        """Plan the rows that are lacking: all, or until there are some to send."""
        planner = Planner(self._given, opened.plan, opened.journal)
        while not opened.plan.is_whole and not (self._given.spec.eager and opened.plan.models):
            planned = planner.step()
            self._report(planner.checked)
            if planned is not None:
                opened.take_in(planned)
        if opened.plan.is_whole:
            planner.close()
        else:
            opened.planner = planner

    # -- a changed input or job --------------------------------------------------------------------

    def _updated(self, journal: Journal, plan: Plan) -> Plan:
        differs = changes(plan, self._given)
        if not differs:
            return plan
        if journal.is_untouched():
            return self._new_plan(journal)
        self._refuse_relayout(plan)
        faults: list[Fault] = []
        with closing(Revision(journal, plan)) as revision:
            now = self._staged(revision, faults)
            difference = revision.compare(now)
            if not difference.is_none and not self._given.spec.update:
                raise UsageError(self._refusal(differs, difference, revision.to_ask(now), journal))
            if not difference.is_none:
                self._say(f"updating: {self._words(difference, revision.to_ask(now), journal)}")
            self._apply(journal, revision, plan, now, faults)
        return now

    def _staged(self, revision: Revision, faults: list[Fault]) -> Plan:
        on_fault = faults.append if self._given.spec.skip_invalid else None
        return scan_input(self._given, revision, on_fault, self._report)

    def _apply(
        self, journal: Journal, revision: Revision, was: Plan, now: Plan, faults: list[Fault]
    ) -> None:
        if was.keep != now.keep:
            raise UsageError(
                f"{self._folder.path}: was begun with kept columns of other types; "
                "use another folder with -o"
            )
        layout = self._layout(was)
        now.are_answers_stale = now.dedupe
        self._folder.summary_json.unlink(missing_ok=True)
        reopened = revision.apply(
            now,
            read_tally(journal),
            invalid=[invalid_row(fault, self._given.spec) for fault in faults],
            read_part=lambda part: read_part(layout, part, self._given.read_output),
            values={"plan": encode_plan(now)},
        )
        for part in reopened:  # rows have other places now: readers must not mix old and new
            layout.results_path(part).unlink(missing_ok=True)
            layout.attempts_path(part).unlink(missing_ok=True)

    def _refuse_relayout(self, plan: Plan) -> None:
        """What every part has in common cannot change under the parts that are there."""
        spec = self._given.spec
        for name, now, was in (
            ("--format", spec.format, plan.format),
            ("keep", list(spec.keep), plan.asks.get("keep")),
            ("dedupe", spec.dedupe, plan.dedupe),
        ):
            if now != was:
                begun = str(was).lower() if isinstance(was, bool) else was
                raise UsageError(
                    f"{name}: {self._folder.path} was begun with {begun}; "
                    "use another folder with -o"
                )

    def _refusal(
        self, differs: list[str], difference: Difference, to_ask: list[ToAsk], journal: Journal
    ) -> str:
        return (
            f"{self._given.spec.path}: {self._folder.path} was begun with {' and '.join(differs)}: "
            f"{self._words(difference, to_ask, journal)}; go on with --update, "
            "or use another folder with -o"
        )

    def _words(self, difference: Difference, to_ask: list[ToAsk], journal: Journal) -> str:
        rows = sum(one.rows for one in to_ask)
        return f"{difference.words()}; {rows:,} to ask{self._price(to_ask, journal)}"

    def _price(self, to_ask: list[ToAsk], journal: Journal) -> str:
        """What asking costs: as long as the answers so far, and at most."""
        tally, spec = read_tally(journal), self._given.spec
        about: dict[str, int] = {}
        most: dict[str, int] = {}
        for one in to_ask:
            model = spec.table[one.model]
            rates = Rates.of(model.price)
            longest = spec.params.get("max_tokens") or model.max_output or model.context
            seen = tally.models.get(one.model, ModelTally())
            mean = seen.usage.completion // seen.answered if seen.answered else longest
            for costs, tokens in ((about, mean), (most, longest)):
                cost = rates.bound(one.prompt_tokens, tokens * one.requests)
                costs[rates.currency] = costs.get(rates.currency, 0) + cost
        if not any(most.values()):
            return ""
        amounts = [
            f"about {to_text(about[currency])} {currency}, at most {to_text(most[currency])}"
            for currency in most
        ]
        return f" ({'; '.join(amounts)})"

    # -- damage ------------------------------------------------------------------------------------

    def _check(self, journal: Journal, plan: Plan) -> None:
        damages = find_damage(self._folder, journal, plan)
        foreign = [damage for damage in damages if damage.path is not None]
        if foreign:
            raise DamagedError("\n".join(map(str, foreign)))
        if not damages:
            plan.are_answers_stale |= plan.dedupe and self._given.spec.reask_damaged
            return
        if not self._given.spec.reask_damaged:
            raise DamagedError(
                "\n".join(map(str, damages))
                + f"\nput back what was there, or give --reask-damaged, which {remedy(damages)}"
            )
        self._reask(journal, plan, damages)

    def _reask(self, journal: Journal, plan: Plan, damages: list[Damage]) -> None:
        layout = self._layout(plan)
        self._folder.summary_json.unlink(missing_ok=True)
        plan.are_answers_stale = plan.dedupe
        with journal.revising():
            journal.keep("plan", encode_plan(plan))
            for damage in damages:
                if damage.answer is not None:
                    journal.drop_answer(damage.answer)
                elif damage.part is not None:
                    journal.drop_part(damage.part)
                elif damage.rows is not None:
                    journal.drop_row(damage.rows.start)
                    journal.drop_attempts(damage.rows.start)
            journal.keep("tally", encode_tally(self._recount(journal, layout)))
        for damage in damages:
            if damage.part is not None:
                for path in (layout.results_path(damage.part), layout.attempts_path(damage.part)):
                    if path.exists():  # hidden from readers, not destroyed
                        path.replace(path.with_name(f".{path.name}.damaged"))
        if rows := sum(len(damage.rows or ()) for damage in damages):
            self._say(f"{rows:,} rows were damaged and will be asked again")
        if answers := sum(damage.answer is not None for damage in damages):
            self._say(f"{answers:,} kept answers were damaged and will be taken from results again")

    def _recount(self, journal: Journal, layout: Layout) -> Tally:
        """The tally of what is still there; what the rest had cost is kept apart."""
        was, now = read_tally(journal), Tally()
        for part in journal.parts():
            _count(now, read_part(layout, part.part, self._given.read_output))
        _count(now, journal.settled(0, _ALL))
        _count(now, journal.attempts(0, _ALL))
        now.wall_s, now.retired = was.wall_s, was.retired
        for name, before in was.models.items():
            now.retire_rest(name, before)
        return now

    # -- failed rows -------------------------------------------------------------------------------

    def _reopen_failed(self, journal: Journal, plan: Plan, kinds: frozenset[str]) -> None:
        """Take failed rows of `kinds` (none: all) back; what they spent stays theirs."""
        layout, tally, count = self._layout(plan), read_tally(journal), 0
        self._folder.summary_json.unlink(missing_ok=True)
        plan.are_answers_stale = plan.dedupe
        with journal.revising():  # before its original is asked again no copy may take an answer
            journal.drop_failed_answers(kinds)
            journal.keep("plan", encode_plan(plan))
        for part in journal.parts():
            if not part.failed:
                continue
            records = list(read_part(layout, part.part, self._given.read_output))
            again = [
                one for one in records if isinstance(one, Settled) and _is_failed(one.result, kinds)
            ]
            if again:
                count += len(again)
                with journal.revising():
                    journal.take_back(part, records)
                    self._unsettle(journal, again, tally)
        again = [one for one in journal.settled(0, _ALL) if _is_failed(one.result, kinds)]
        with journal.revising():
            journal.drop_failed_chunks()
            self._unsettle(journal, again, tally)
        self._say(f"{count + len(again):,} failed rows will be asked again")

    def _unsettle(self, journal: Journal, again: Iterable[Settled], tally: Tally) -> None:
        for one in again:
            journal.unsettle(one)
            tally.forget_result(one.result)
        journal.keep("tally", encode_tally(tally))

    def _layout(self, plan: Plan) -> Layout:
        return self._given.layout(self._folder, plan, __version__)


_ALL = 1 << 62  # more rows than any input has


def _is_failed(result: Result, kinds: frozenset[str]) -> bool:
    if result.status != "failed" or result.error_kind is ErrorKind.INVALID_ROW:
        return False  # what could not be sent cannot be sent again
    return not kinds or result.error_kind in kinds


def _count(tally: Tally, records: Iterable[Settled | Attempt]) -> None:
    for record in records:
        attempt = record if isinstance(record, Attempt) else record.attempt
        if attempt is not None:
            currency = record.result.currency if isinstance(record, Settled) else "CNY"
            tally.of(attempt.model, currency).add_attempt(attempt)
        if isinstance(record, Settled):
            result = record.result
            tally.of(result.model, result.currency).add_result(result)


def changes(plan: Plan, given: Input) -> list[str]:
    """What differs from what the run was begun with, in words; hashes the input if it must."""
    spec, source = given.spec, given.source
    asks = given.asks()
    found = [f"another {key}" for key in plan.asks | asks if asks.get(key) != plan.asks.get(key)]
    if spec.limit != plan.limit:
        found.append(f"--limit {plan.limit}" if plan.limit else "no --limit")
    if not source.is_as_noted(plan.input):
        found.append(f"another input ({plan.input['path']})")
    if spec.dedupe != plan.dedupe:
        found.append("--dedupe" if plan.dedupe else "no --dedupe")
    if spec.format != plan.format:
        found.append(f"--format {plan.format}")
    return found

"""The simulated account: what is in flight, what is refused, what has been answered.

No I/O and no waiting: `admit` says what to do with a request and for how long to hold it; the
server does so, then calls `finish` for what it is about to send, and `release` in every case. An
answer is counted before its first byte leaves, so that no client knows of one that is not counted.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping

import msgspec
import xxhash

from batchkit.errors import UsageError
from batchkit.models import Model, builtin_models
from batchkit.simulator.answers import Answer, answer
from batchkit.simulator.faults import FaultPlan, Latency, Mode, marked
from batchkit.simulator.keys import refused_key
from batchkit.simulator.options import SimulatorOptions
from batchkit.simulator.provider_errors import PROVIDER_ERRORS, ErrorAnswer, error_answer
from batchkit.simulator.seeds import seeded
from batchkit.simulator.slots import Arrivals, Slots, refusal_probability
from batchkit.simulator.validate import Call, last_text, read_call
from batchkit.simulator.wire import Dialect, Reply, new_id
from batchkit.tokens import estimate, texts

LONG_PROMPT = 8192  # tokens; above it the flash models' prompts have a pool of their own
LONG_POOL = "+long"  # after the model's name in `Stats.models`
_CACHED_STEP = 1024  # characters


class ModelStats(msgspec.Struct, frozen=True):
    """Counts of one pool: a model, or its long prompts."""

    limit: int
    requests: int
    answered: int
    refused: int  # over the limit or too dense
    in_flight: int
    max_in_flight: int
    in_flight_s: float  # slot-seconds: in flight, integrated over time


class Stats(msgspec.Struct, frozen=True):
    """Counts of the whole service.

    `requests` is the sum of `answered`, `abandoned`, all `codes`, and what is in flight.
    """

    requests: int
    answered: int
    refused: int  # over a limit or too dense; also among `codes`
    abandoned: int  # the client went away first
    codes: dict[str, int]  # errors sent, by code or mode
    models: dict[str, ModelStats]


class Admission(msgspec.Struct, gc=False):
    """A request that holds a slot."""

    call: Call
    slots: Slots
    fault: str | None
    hold_s: float  # until the answer; infinite for one that never comes
    answer: Answer
    digest: str | None  # under which it is recorded
    finished: bool = False


class Service:
    """One account at the provider; not thread-safe, but reading `stats` from another thread is."""

    def __init__(
        self,
        options: SimulatorOptions | None = None,
        table: Mapping[str, Model] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options or SimulatorOptions()
        self.table = builtin_models() if table is None else table
        self.arrears = False
        self.seen: dict[str, int] = {}
        """Answers by the xxh3_64 of the last message, in order of arrival; with `record` only."""
        self._clock = clock
        self._latency = Latency.parse(self.options.latency)
        self._faults = FaultPlan(self.options.faults)
        self._slots: dict[str, Slots] = {}
        self._arrivals: dict[str, Arrivals] = {}
        self._begun: dict[int, int] = {}  # attempts of a digest since its last answer
        self._prefixes: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._codes: Counter[str] = Counter()
        self._requests = self._answered = self._abandoned = 0
        self._soft = seeded(self.options.seed)
        for name, model in self.table.items():
            self.set_limit(name, model.slots(self.options.tier))
        for name, limit in self.options.limits.items():
            self.set_limit(name, limit)

    def set_limit(self, model: str, limit: int) -> None:
        """Let `limit` requests of `model` be in flight from now on; raises `UsageError`."""
        if model not in self.table:
            raise UsageError(f"limits: the table has no model {model!r}")
        if limit < 0:
            raise UsageError(f"limits: {model}: expected at least 0, got {limit}")
        self._slots.setdefault(model, Slots(limit)).limit = limit
        if self.options.long_prompt_pool and _is_flash(model):
            apart = max(1, limit // 100)
            self._slots.setdefault(model + LONG_POOL, Slots(apart)).limit = apart

    def set_faults(self, faults: Mapping[str, float]) -> None:
        """Draw faults by these probabilities from now on; raises `UsageError`."""
        self._faults = FaultPlan(faults)

    def hold_after(self, requests: int | None) -> None:
        """Answer so many more requests of each model, and hold what comes then; None: hold none."""
        for slots in self._slots.values():
            slots.until_hold = requests

    def admit(
        self, raw: bytes, authorization: str | None = None, dialect: Dialect = Dialect.GLM
    ) -> Admission | ErrorAnswer:
        """Take a slot for the request in `raw`, or say with which error it is answered at once."""
        self._requests += 1
        admitted = self._refused_key(authorization, dialect) or self._admit(raw)
        if isinstance(admitted, ErrorAnswer):
            self._codes[admitted.code] += 1
        return admitted

    def finish(self, admission: Admission) -> None:
        """Count what is about to be sent: an answer, or the admission's fault."""
        assert not admission.finished
        admission.finished = True
        fault = admission.fault
        if fault not in {None, Mode.SLOW, Mode.PROSE}:
            self._codes["1301" if fault == Mode.FILTERED else str(fault)] += 1
            return
        self._answered += 1
        admission.slots.answered += 1
        self._begun.pop(admission.call.digest, None)
        if admission.digest is not None:
            self.seen[admission.digest] += 1

    def release(self, admission: Admission) -> None:
        """Give the slot back; an admission that was not finished was abandoned by its client."""
        admission.slots.give_back(self._clock())
        self._abandoned += not admission.finished

    def reply(self, admission: Admission) -> Reply:
        """The answer of an admission with id, time and usage."""
        now = time.time()
        return Reply(
            call=admission.call,
            answer=admission.answer,
            id=new_id(now, self._requests),
            created=int(now),
            cached_tokens=self._cached_tokens(admission.call),
        )

    @property
    def stats(self) -> Stats:
        """The counts at this moment."""
        now = self._clock()
        return Stats(
            requests=self._requests,
            answered=self._answered,
            refused=sum(slots.refused for slots in self._slots.values()),
            abandoned=self._abandoned,
            codes=dict(self._codes),
            models={name: _model_stats(slots, now) for name, slots in self._slots.items()},
        )

    def _refused_key(self, authorization: str | None, dialect: Dialect) -> ErrorAnswer | None:
        options = self.options
        if dialect is not Dialect.GLM or not (options.check_key or options.keys):
            return None
        code = refused_key(authorization, options.keys, time.time())
        return None if code is None else error_answer(code)

    def _admit(self, raw: bytes) -> Admission | ErrorAnswer:
        call = read_call(raw, self.table)
        if isinstance(call, ErrorAnswer):
            return call
        pool = call.model.name
        if call.prompt_tokens > LONG_PROMPT and pool + LONG_POOL in self._slots:
            pool += LONG_POOL
        slots = self._slots[pool]
        slots.requests += 1
        after = self.options.arrears_after
        if self.arrears or (after is not None and self._requests > after):
            return error_answer("1113")
        code = self._refused_for_load(pool, slots)
        if code is not None:
            slots.refused += 1
            return error_answer(code, slots.refused)
        slots.take(self._clock())
        return self._admission(call, slots)

    def _refused_for_load(self, pool: str, slots: Slots) -> str | None:
        options = self.options
        if options.arrivals is not None:
            if pool not in self._arrivals:
                self._arrivals[pool] = Arrivals(options.arrivals, options.arrival_window_s)
            if self._arrivals[pool].is_dense(self._clock()):
                return options.arrival_code
        likely = refusal_probability(slots.in_flight, slots.limit, options.softness)
        return "1302" if likely == 1 or self._soft.random() < likely else None

    def _admission(self, call: Call, slots: Slots) -> Admission:
        options = self.options
        text = last_text(call) if options.marks or options.record else ""
        fault = marked(text, options.marks)
        latency_s = self._latency.median
        if self._faults or self._latency.sigma:
            begun = self._begun.get(call.digest, 0)
            self._begun[call.digest] = begun + 1
            rng = seeded(options.seed, call.digest, begun)
            fault = fault or self._faults.fault(rng)
            latency_s = self._latency.seconds(rng)
        if slots.is_held():
            fault = Mode.HANG
        said = answer(
            call,
            seeded(options.seed, call.digest),
            options.answer_chars,
            prose=fault == Mode.PROSE,
        )
        latency_s += options.seconds_per_token * said.completion_tokens
        digest = xxhash.xxh3_64_hexdigest(text.encode()) if options.record else None
        if digest is not None:
            self.seen.setdefault(digest, 0)
        hold_s = _hold_s(fault, latency_s, options.slow_s)
        return Admission(call, slots, fault, hold_s, said, digest)

    def _cached_tokens(self, call: Call) -> int | None:
        options = self.options
        if not options.cache:
            return 0 if options.token_details else None
        best = 0
        for text in _prefixes(call):
            prefix = (call.model.name, xxhash.xxh3_64_intdigest(text.encode()))
            if prefix in self._prefixes:
                best = max(best, min(call.prompt_tokens, estimate(text)))
            self._prefixes[prefix] = None
            self._prefixes.move_to_end(prefix)
            if len(self._prefixes) > options.cache_prefixes:
                self._prefixes.popitem(last=False)
        return best


def _prefixes(call: Call) -> list[str]:
    """What of a prompt is cached: its system message, and its text in steps of `_CACHED_STEP`."""
    first = call.messages[0]["content"]
    text = "".join(texts(call.messages))
    found = [text[:end] for end in range(_CACHED_STEP, len(text) + 1, _CACHED_STEP)]
    if call.messages[0]["role"] == "system" and isinstance(first, str) and first not in found:
        found.append(first)
    return found


def _hold_s(fault: str | None, latency_s: float, slow_s: float) -> float:
    """How long a request is in flight: a refusal is quick, an error inside takes its time."""
    if fault == Mode.HANG:
        return float("inf")
    if fault == Mode.SLOW:
        return latency_s + slow_s
    known = PROVIDER_ERRORS.get(fault or "")
    refused = fault == Mode.FILTERED or (known is not None and known.status < 500)
    return 0.0 if refused else latency_s


def _is_flash(model: str) -> bool:
    """The free flash models, to which alone the provider's console applies the long-prompt rule."""
    return model == "glm-4-flash" or model.startswith("glm-4-flash-")


def _model_stats(slots: Slots, now: float) -> ModelStats:
    return ModelStats(
        limit=slots.limit,
        requests=slots.requests,
        answered=slots.answered,
        refused=slots.refused,
        in_flight=slots.in_flight,
        max_in_flight=slots.max_in_flight,
        in_flight_s=slots.held_s(now),
    )

"""`--metrics`: a running run's numbers as Prometheus text, served by prometheus-client.

Every number is read from the last look at the run when somebody scrapes; nothing is counted twice,
and a request has nothing to do with it. Totals are over all starts of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from batchkit.accounting import to_decimal
from batchkit.errors import UsageError
from batchkit.live import Live
from batchkit.tally import Tally

LOOPBACK = "127.0.0.1"

Values: TypeAlias = Iterable[tuple[tuple[str, ...], float]]  # values of labels -> number


class Metrics(Collector):
    """The last look at a run, as a collector of prometheus-client's and a view of the watch's."""

    def __init__(self) -> None:
        self._rows = 0
        self._tally = Tally()
        self._live: Live | None = None

    def expect(self, rows: int) -> None:
        """Say how many rows the run has."""
        self._rows = rows

    def show(self, _now: float, tally: Tally, live: Live) -> None:
        self._tally, self._live = tally, live
        self._rows = max(self._rows, live.rows)

    def finish(self, tally: Tally) -> None:
        self._tally, self._live = tally, None

    def collect(self) -> Iterator[Metric]:
        """The metrics, for prometheus-client."""
        yield _gauge("batchkit_rows", "rows of the run", [((), self._rows)])
        yield from self._counters()
        yield from self._moment()

    def _counters(self) -> Iterator[Metric]:
        models = list(self._tally.models.items())
        settled = [((name, "ok"), one.ok) for name, one in models]
        settled += [((name, "failed"), one.failed) for name, one in models]
        yield _counter("batchkit_rows_settled", "rows settled", ("model", "status"), settled)
        attempts = [((name,), one.attempts) for name, one in models]
        yield _counter("batchkit_attempts", "HTTP exchanges ended", ("model",), attempts)
        errors = [
            ((name, kind, code), count)
            for name, one in models
            for kind, codes in one.errors.items()
            for code, count in codes.items()
        ]
        text = "HTTP exchanges that failed"
        yield _counter("batchkit_errors", text, ("model", "kind", "code"), errors)
        tokens = [
            ((name, kind), getattr(one.usage, kind))
            for name, one in models
            for kind in ("prompt", "cached", "completion")
        ]
        text = "tokens billed; cached ones are a part of prompt"
        yield _counter("batchkit_tokens", text, ("model", "kind"), tokens)
        costs = [((name, one.currency), float(to_decimal(one.cost))) for name, one in models]
        yield _counter("batchkit_cost", "money spent", ("model", "currency"), costs)

    def _moment(self) -> Iterator[Metric]:
        live = self._live
        if live is None:
            return
        for name, text in (
            ("in_flight", "requests in flight"),
            ("limit", "requests that may be in flight"),
            ("backing_off", "requests that wait to be retried"),
        ):
            values = [((model.name,), getattr(model, name)) for model in live.models]
            yield _gauge(f"batchkit_{name}", text, values, ("model",))
        rates = (("rows", live.rows_per_s), ("tokens", live.tokens_per_s))
        for name, rate in rates:
            text = f"{name} per second over the last seconds"
            yield _gauge(f"batchkit_{name}_per_second", text, [((), rate)])


def _counter(name: str, text: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _gauge(name: str, text: str, values: Values, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def address_of(words: str) -> tuple[str, int]:
    """`PORT` or `HOST:PORT` as an address; loopback unless a host is named."""
    host, _, port = words.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--metrics: expected PORT or HOST:PORT, got {words!r}")
    return host.strip("[]") or LOOPBACK, int(port)


@contextmanager
def serving_metrics(words: str) -> Iterator[tuple[Metrics, str]]:
    """Serve metrics at the address that `words` gives; the metrics, and where they are.

    Raises `UsageError` if the address cannot be had.
    """
    host, port = address_of(words)
    metrics, registry = Metrics(), CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise UsageError(f"--metrics: {host}:{port}: {words}; give another") from error
    try:
        shown = f"[{host}]" if ":" in host else host
        yield metrics, f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

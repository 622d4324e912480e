"""`--metrics`: a run is scraped as Prometheus would, on loopback, and only while it goes on."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from batchkit.errors import UsageError
from batchkit.live import Live, ModelLive
from batchkit.metrics import address_of, serving_metrics
from batchkit.tally import Tally
from tests.e2e.conftest import Command, Simulate, prompts, write_rows
from tests.samples import new_attempt, new_result

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
FLASH = "glm-4-flash-250414"


def scrape(address: str) -> Samples:
    """Every sample, by its name and labels."""
    with urlopen(address, timeout=10) as answer:  # noqa: S310  # the address is the test's own
        text = answer.read().decode()
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


@contextmanager
def running(here: Path, url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run as a process of its own, and where its metrics are."""
    words = ["run", "q.jsonl", "--endpoint", url, "--concurrency", "20", "--metrics", "0"]
    command = [sys.executable, "-m", "batchkit.cli", *words, "--no-report"]
    with subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.fullmatch(r"metrics at (http://127\.0\.0\.1:\d+/metrics)\n",
                             process.stderr.readline())  # fmt: skip
        assert found is not None
        try:
            yield process, found[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def test_a_running_run_is_scraped(here: Path, simulate: Simulate) -> None:
    write_rows(here / "q.jsonl", prompts(3000))
    with running(here, simulate(latency="0.2").url) as (process, address):
        samples: Samples = {}
        settled = ("batchkit_rows_settled_total", (("model", FLASH), ("status", "ok")))
        deadline = time.monotonic() + 30
        while not samples.get(settled) and time.monotonic() < deadline:
            samples = scrape(address)
        assert process.poll() is None
    model = (("model", FLASH),)
    assert samples["batchkit_rows", ()] == 3000
    assert 0 < samples[settled] < 3000
    assert samples["batchkit_limit", model] == 20
    assert 0 < samples["batchkit_in_flight", model] <= 20
    assert samples["batchkit_attempts_total", model] >= samples[settled]
    with pytest.raises(URLError):
        scrape(address)


def test_every_number_is_that_of_the_last_look() -> None:
    hostile = 'a"\n\\{}'
    tally = Tally()
    tally.of(hostile, "CNY").add_attempt(new_attempt(model=hostile, cost=1_500_000_000_000))
    tally.of(hostile, "CNY").add_result(new_result(model=hostile))
    live = Live(1, 0.0, [ModelLive(hostile, 3, 5, 2)], rows_per_s=1.5, tokens_per_s=20.0)
    with serving_metrics("0") as (metrics, address):
        metrics.expect(10)
        before = scrape(address)
        metrics.show(0.0, tally, live)
        during = scrape(address)
        metrics.finish(tally)
        after = scrape(address)
    model = ("model", hostile)
    totals = {
        ("batchkit_rows", ()): 10,
        ("batchkit_rows_settled_total", (model, ("status", "ok"))): 1,
        ("batchkit_rows_settled_total", (model, ("status", "failed"))): 0,
        ("batchkit_attempts_total", (model,)): 1,
        ("batchkit_tokens_total", (("kind", "prompt"), model)): 10,
        ("batchkit_tokens_total", (("kind", "cached"), model)): 4,
        ("batchkit_tokens_total", (("kind", "completion"), model)): 5,
        ("batchkit_cost_total", (("currency", "CNY"), model)): 1.5,
    }
    assert before == {("batchkit_rows", ()): 10}
    assert after == totals
    assert during == totals | {
        ("batchkit_in_flight", (model,)): 3,
        ("batchkit_limit", (model,)): 5,
        ("batchkit_backing_off", (model,)): 2,
        ("batchkit_rows_per_second", ()): 1.5,
        ("batchkit_tokens_per_second", ()): 20.0,
    }


def test_nothing_of_the_process_is_told() -> None:
    """Its own registry: prometheus-client's default one tells of Python and the machine."""
    with serving_metrics("0") as (_, address):
        assert {name for name, _ in scrape(address)} == {"batchkit_rows"}


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),  # noqa: S104  # what a person may ask for
        ("[::1]:9100", ("::1", 9100)),
    ],
)
def test_it_is_loopback_unless_a_host_is_named(words: str, address: tuple[str, int]) -> None:
    assert address_of(words) == address


@pytest.mark.parametrize("words", ["", "x", "1:", "-1", "70000", "host:"])
def test_what_is_no_address_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="--metrics: expected PORT or HOST:PORT, got"):
        address_of(words)


def test_a_port_that_is_taken_is_said_before_anything_is_sent(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    write_rows(here / "q.jsonl", prompts(2))
    service = simulate()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = batchkit("run", "q.jsonl", "--endpoint", service.url, "--metrics", port)
    fault = f"--metrics: 127.0.0.1:{port}: address already in use; give another\n"
    assert done == (2, "", fault)
    assert not (here / "runs").exists()


def test_without_the_library_it_says_what_to_install(
    here: Path, batchkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "batchkit.metrics", None)
    write_rows(here / "q.jsonl", prompts(2))
    done = batchkit("run", "q.jsonl", "--endpoint", "sim", "--metrics", "0")
    assert done == (
        2,
        "",
        "--metrics: prometheus-client is not installed; pip install 'batchkit[metrics]'\n",
    )

"""The simulated account in a process of its own: it outlives every victim and counts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import msgspec

from batchkit.simulator.service import Stats
from tests.crash.victim import ENVIRONMENT


class Service:
    """A simulated service that listens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._address = url.removeprefix("http://").partition("/")[0]

    @property
    def stats(self) -> Stats:
        return msgspec.json.decode(self._ask("/_stats"), type=Stats)

    @property
    def in_flight(self) -> int:
        return sum(model.in_flight for model in self.stats.models.values())

    def quiet_stats(self) -> Stats:
        """The counts once the service has noticed that its client is gone."""
        deadline = time.monotonic() + 30
        while self.in_flight:
            assert time.monotonic() < deadline, "the service still has requests in flight"
            time.sleep(0.005)
        return self.stats

    def control(self, **changes: Any) -> None:
        """Change the service while it runs."""
        self._ask("/_control", msgspec.json.encode(changes))

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        with closing(HTTPConnection(self._address, timeout=10)) as connection:
            connection.request("GET" if body is None else "POST", path, body)
            response = connection.getresponse()
            assert response.status == 200, path
            return response.read()


@contextmanager
def serving(*options: str) -> Iterator[Service]:
    """`batchkit simulate` with `options`, until the block ends."""
    command = [sys.executable, "-m", "batchkit.cli", "simulate", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            yield Service(process.stdout.readline().removeprefix("listening on ").strip())
        finally:
            process.terminate()

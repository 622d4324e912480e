"""A disk that refuses, fails or crawls at each place where a run writes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crash.conftest import write_requests
from tests.crash.ledger import Ledger, check_finished, read_ledger
from tests.crash.service import Service, serving
from tests.crash.tracing import needs_strace, spoiled, spoiling
from tests.crash.victim import Ended, Victim, run, start

ROWS = 120
WORDS = {
    "ENOSPC": "no space left on device",
    "EDQUOT": "disk quota exceeded",
    "EIO": "input/output error",
    "EROFS": "read-only file system",
}
_FULL = "database or disk is full"
REMEDIES = {
    WORDS["ENOSPC"]: "make room",
    WORDS["EDQUOT"]: "make room",
    WORDS["EIO"]: "see to the disk",
    WORDS["EROFS"]: "make it writable",
    _FULL: "make room",
    "disk i/o error": "see to the disk",
}


class Site(NamedTuple):
    """A call that fails: on which of the run's files, how, and at which of a thread's calls.

    The main thread makes 11 `pwrite64` and 5 `fdatasync` on the journal before anything is sent.
    """

    syscall: str
    name: str
    error: str
    when: str

    @property
    def words(self) -> str:
        """What is said of it: SQLite has words of its own, and knows a full disk by writes only."""
        if not self.name.startswith("journal") or self.syscall == "rename":
            return WORDS[self.error]
        is_full = self.error == "ENOSPC" and self.syscall == "pwrite64"
        return _FULL if is_full else "disk i/o error"


WHILE_SENDING = [
    Site("pwrite64", "journal.db-wal", "ENOSPC", "20..23"),
    Site("write", "results/part-00000.arrow.tmp", "ENOSPC", "1"),
]
WHILE_SENDING_TOO = [
    Site("fdatasync", "journal.db-wal", "EIO", "7"),
    Site("fsync", "results", "EIO", "1"),
    Site("pwrite64", "journal.db-wal", "EIO", "20"),
    Site("fdatasync", "journal.db-wal", "ENOSPC", "7..8"),
    Site("mkdir", "results", "ENOSPC", "1"),
    Site("openat", "results/part-00000.arrow.tmp", "EDQUOT", "1"),
    Site("write", "results/part-00001.arrow.tmp", "EIO", "2"),
    Site("write", "attempts/part-00000.arrow.tmp", "EDQUOT", "1"),
    Site("fsync", "results/part-00001.arrow.tmp", "EIO", "1"),
    Site("fsync", "attempts/part-00001.arrow.tmp", "ENOSPC", "1"),
    Site("rename", "results/part-00000.arrow.tmp", "ENOSPC", "1"),
    Site("rename", "attempts/part-00000.arrow.tmp", "EIO", "1"),
    Site("fsync", "attempts", "EIO", "1"),
]
AT_THE_START = [Site("pwrite64", "journal.db-wal", "ENOSPC", "2")]
AT_THE_START_TOO = [
    Site("pwrite64", "journal.db.tmp", "ENOSPC", "2"),
    Site("rename", "run.json.tmp", "EIO", "1"),
    Site("fdatasync", "journal.db.tmp", "EIO", "1"),
    Site("rename", "journal.db.tmp", "ENOSPC", "1"),
    Site("fdatasync", "journal.db-wal", "EIO", "2"),
    Site("write", "run.json.tmp", "ENOSPC", "1"),
    Site("fsync", "run.json.tmp", "EIO", "1"),
]
AT_THE_END = [Site("write", "summary.json.tmp", "ENOSPC", "1")]
AT_THE_END_TOO = [
    Site("fsync", "summary.json.tmp", "EIO", "1"),
    Site("rename", "summary.json.tmp", "EIO", "1"),
]


def sites(bounded: list[Site], rest: list[Site]) -> pytest.MarkDecorator:
    params = [*bounded, *(pytest.param(site, marks=pytest.mark.long) for site in rest)]
    return pytest.mark.parametrize("site", params, ids=lambda site: " ".join(site[:3]))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving("--latency", "0.01") as running:
        yield running


class Bench:
    """One run of one file, in a folder that may be on a disk of its own."""

    def __init__(self, here: Path, service: Service, rows: int = ROWS) -> None:
        self.here, self.out, self.service = here, here / "out", service
        self.ids = write_requests(here / "q.jsonl", rows)
        self.words = ["q.jsonl", "--endpoint", service.url, "--concurrency", "3", "-q"]
        self._before = service.stats

    def start(self, *words: str, site: Site | None = None, record: Path | None = None) -> Victim:
        tracer: list[str] = []
        if site is not None:
            places, what = [self.out / site.name], f"error={site.error}"
            tracer = spoiling(site.syscall, places, what, when=site.when, record=record)
        return start(self.here, *self.words, "-o", self.out, *words, tracer=tracer)

    @property
    def asked_now(self) -> int:
        return self.service.stats.requests - self._before.requests

    @property
    def is_still(self) -> bool:
        """Whether nothing is asked for a while."""
        before = self.asked_now
        time.sleep(0.1)
        return self.asked_now == before

    @property
    def asked(self) -> int:
        """Requests up to now, none of which is in flight any more."""
        return self.service.quiet_stats().requests - self._before.requests

    def ledger(self) -> Ledger:
        ledger = read_ledger(self.out)
        assert ledger is not None
        return ledger

    def finish(self) -> None:
        """The same command goes on to the end, and asks nothing twice."""
        ended = run(self.here, *self.words, "-o", self.out)
        assert (ended.code, ended.err) == (0, "")
        check_finished(self.out, self.ids)
        assert self.asked == len(self.ids)


@pytest.fixture
def bench(tmp_path: Path, service: Service) -> Bench:
    return Bench(tmp_path, service)


def check_stopped(ended: Ended, words: str, safe: str) -> None:
    """One line that names the trouble and the way out."""
    assert ended.code == 3, ended.err
    place = "the run's folder cannot be written"
    assert ended.err == f"{place}: {words}; {REMEDIES[words]} and run again{safe}\n"


@needs_strace
@sites(WHILE_SENDING, WHILE_SENDING_TOO)
def test_a_write_that_fails_stops_the_sending_and_loses_nothing(site: Site, bench: Bench) -> None:
    """The disk is well again a moment later: what was in memory is committed then."""
    ended = bench.start(site=site).wait()
    ledger = bench.ledger()
    safe = len(ledger.results)
    check_stopped(ended, site.words, f": {safe:,} of {ROWS} rows are safe in {bench.out}")
    assert bench.asked == len(ledger.attempts) == safe
    assert ledger.unrecorded_at_most == 0
    assert not (bench.out / "summary.json").exists() or safe == ROWS
    bench.finish()


@needs_strace
@sites(AT_THE_START, AT_THE_START_TOO)
def test_nothing_is_sent_when_the_start_cannot_be_written(site: Site, bench: Bench) -> None:
    check_stopped(bench.start(site=site).wait(), site.words, "")
    assert bench.asked == 0
    bench.finish()


@needs_strace
@sites(AT_THE_END, AT_THE_END_TOO)
def test_a_summary_that_cannot_be_written_is_written_next_time(site: Site, bench: Bench) -> None:
    safe = f": {ROWS} of {ROWS} rows are safe in {bench.out}"
    check_stopped(bench.start(site=site).wait(), site.words, safe)
    assert not (bench.out / "summary.json").exists()
    bench.finish()


@needs_strace
@sites(
    [Site("fdatasync", "journal.db-wal", "EIO", "7+")],
    [
        Site("pwrite64", "journal.db-wal", "ENOSPC", "20+"),
        Site("write", "results/part-00000.arrow.tmp", "ENOSPC", "1+"),
    ],
)
def test_a_disk_that_stays_bad_ends_the_run_within_the_drain(site: Site, bench: Bench) -> None:
    """What could not be committed in time is lost, and reported; it never looks complete.

    How long it tried is told by its tries, of which there is one a second: of the group, the part,
    what `status` shows and the session. 30 s, which are the default, would be over 40.
    """
    record = bench.here / "calls"
    ended = bench.start("--drain", "1", site=site, record=record).wait()
    assert 1 <= spoiled(record) <= 12
    ledger = bench.ledger()
    safe = len(ledger.results)
    check_stopped(ended, site.words, f": {safe:,} of {ROWS} rows are safe in {bench.out}")
    assert not (bench.out / "summary.json").exists()
    assert bench.asked - len(ledger.attempts) <= ledger.unrecorded_at_most
    ended = run(bench.here, *bench.words, "-o", bench.out)
    assert ended.code == 0, ended.err
    check_finished(bench.out, bench.ids)


@needs_strace
def test_a_slow_fsync_keeps_what_a_kill_can_lose_bounded(bench: Bench) -> None:
    """Answers do not pile up unwritten: the bound that is reported holds."""
    tracer = spoiling("fdatasync", [bench.out / "journal.db-wal"], "delay_enter=300000", when="7+")
    victim = start(bench.here, *bench.words, "-o", bench.out, tracer=tracer)
    victim.wait_until(lambda: bench.asked_now >= 30 and bench.is_still)
    victim.kill()
    unrecorded = bench.asked - len(bench.ledger().attempts)
    assert 0 < unrecorded <= bench.ledger().unrecorded_at_most < ROWS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB, mounted in a folder."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(mounted)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return ballast


def test_a_full_disk_stops_the_run_until_there_is_room(
    small_disk: Path, tmp_path: Path, service: Service
) -> None:
    bench = Bench(tmp_path, service, 1200)
    bench.out = small_disk / "out"
    victim = bench.start()
    victim.wait_until(lambda: bench.asked_now >= 100)
    ballast = fill(small_disk)
    victim.wait_until(lambda: bench.service.in_flight == 0 and bench.is_still, 40)
    assert victim.is_running
    ballast.unlink()
    ended, ledger = victim.wait(), bench.ledger()
    safe = f": {len(ledger.results):,} of 1,200 rows are safe in {bench.out}"
    words = _FULL if _FULL in ended.err else WORDS["ENOSPC"]  # whichever write came first
    check_stopped(ended, words, safe)
    assert bench.asked == len(ledger.results) < 1200
    bench.finish()


def test_room_is_checked_before_anything_is_sent(
    small_disk: Path, tmp_path: Path, service: Service
) -> None:
    bench = Bench(tmp_path, service)
    bench.out = small_disk / "out"
    (small_disk / "other").write_bytes(bytes(20 << 20))
    ended = bench.start().wait()
    assert ended.code == 2
    assert f"{bench.out}: the disk has " in ended.err
    assert bench.asked == 0
    assert [path.name for path in bench.out.iterdir()] == ["run.lock"]


def test_a_read_only_folder_is_named(small_disk: Path, tmp_path: Path, service: Service) -> None:
    bench = Bench(tmp_path, service)
    bench.out = small_disk / "out"
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ended = bench.start().wait()
    assert (ended.code, bench.asked) == (2, 0)
    assert ended.err == f"{bench.out}: cannot be used: read-only file system\n"
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    bench.finish()

"""Where a row's processor time goes: each stage of the way alone, on the rows of one file.

    python -m benchmarks.stages [--rows 20000] [--in-flight 300] [--keep]

CPU seconds per 1,000 requests. The stages are run one after the other, each over all rows and
nothing else; HTTP is a bare aiohttp loop in a process of its own, less the JSON that it reads and
writes; the whole is `batchkit run`, its start included, and what remains of it is scheduling, the
event loop, threads and what they cost each other. Stages in brackets are not part of the whole:
this file has no template, no schema and no terminal.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from batchkit.document import first_of
from batchkit.inputs import Input, open_input
from batchkit.journal import Journal
from batchkit.live import Live, ModelLive
from batchkit.options import Options
from batchkit.parts import Layout, seal
from batchkit.prepare import scan
from batchkit.progress import Progress
from batchkit.providers.codec import Dialect, decode, encode
from batchkit.providers.transport import Reply
from batchkit.schema import OutputSchema
from batchkit.spec import Format, load_spec
from batchkit.tally import Tally, encode_tally
from batchkit.template import Template
from benchmarks.instant_server import answer
from benchmarks.measuring import keep, make_rows, run_pinned, serving, table
from benchmarks.records import settled_row
from benchmarks.resume import Blocks
from benchmarks.storage import groups_of

PROMPT_CHARS = 1900
GROUP = 64  # rows of a commit, about as many as 300 in flight make
LOOKS_PER_S = 4.0  # of the bar
PART = 10_000
SCHEMA = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "score": {"type": "number"}},
    "required": ["topic", "score"],
}


class Stages(dict[str, float]):
    """CPU seconds per 1,000 requests, by stage."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows

    @contextmanager
    def stage(self, name: str, rows: int | None = None) -> Iterator[None]:
        began = time.process_time()
        yield
        self[name] = (time.process_time() - began) / (rows or self._rows) * 1000


def input_stages(stages: Stages, given: Input) -> None:
    """From the file to the bytes of a request; a row is read and made a request twice."""
    with stages.stage("read, twice"):
        for _ in range(2):
            for _raw in given.source.scan():
                pass
    raws = list(given.source.scan())
    build = given.rendering().build
    with stages.stage("[render a template]"):
        template = Template("You label.", "Question: {{ custom_id }} {{ model }}")
        for raw in raws:
            template.render(raw.values or {})
    with stages.stage("check, plan and check again"):
        scan(given.source, given.rendering(), Blocks())
        requests = [first_of(build(raw)) for raw in raws]
    stages["check, plan and check again"] -= stages["read, twice"] / 2
    model = given.spec.table[requests[0].model]
    with stages.stage("encode"):
        for request in requests:
            encode(request, model, Dialect.GLM)


def answer_stages(stages: Stages, rows: int) -> None:
    """From the bytes of an answer to what is kept of it."""
    reply = Reply(200, {}, answer(1200).partition(b"\r\n\r\n")[2])
    with stages.stage("decode"):
        for _ in range(rows):
            decode(reply, now=0.0)
    schema = OutputSchema.load(SCHEMA, "schema")
    with stages.stage("[validate]"):
        for _ in range(rows):
            schema.read('{"topic": "rivers", "score": 0.5}')


def storage_stages(stages: Stages, rows: int, folder: Path) -> None:
    """From an answer in memory to a sealed part."""
    settled = [settled_row(row) for row in range(rows)]
    tally = Tally()
    tally.of("glm-4-plus", "CNY")
    blob = encode_tally(tally)
    layout = Layout(folder, Format.ARROW, None, (), {})
    with closing(Journal.create(folder / "journal.db")) as journal:
        with stages.stage("journal"):
            for group in groups_of(settled, GROUP):
                journal.commit(group, [], blob)
        with closing(journal.reader()) as reader, stages.stage("part"):
            for number in range(-(-rows // PART)):
                first, last = number * PART, min((number + 1) * PART, rows)
                part = seal(layout, number, reader.settled(first, last), [])
                journal.record_part(part, first, last)


def bar_stage(stages: Stages, rows_per_s: float) -> None:
    """The bar on a terminal, at its looks a second."""
    looks = 200

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    tally, progress = Tally(), Progress(looks, 0, stream=Terminal())
    tally.of("glm-4-plus", "CNY")
    live = Live(1, 0.0, [ModelLive("glm-4-plus", 300, 300, 0)], rows_per_s, 1e6)
    with stages.stage("[bar]", rows=int(looks / LOOKS_PER_S * rows_per_s)):
        for look in range(looks):
            progress.show(float(look), tally, live)


def whole_stages(stages: Stages, file: Path, rows: int, in_flight: int) -> float:
    """The bare loop and the whole command; requests per second of the latter."""
    python = sys.executable
    with serving() as address, tempfile.TemporaryDirectory() as out:
        words = ["-m", "benchmarks.whole.bare", "aiohttp", str(file), address, str(in_flight)]
        bare = run_pinned([python, *words])
        words = ["run", str(file), "--endpoint", address, "--tier", "V3", "-o", f"{out}/run"]
        words += ["--no-report"]
        run = run_pinned(
            [
                python,
                "-m",
                "batchkit.cli",
                *words,
                "--concurrency",
                str(in_flight),
                "--processes",
                "1",
            ]
        )
    stages["bare loop: HTTP and JSON"] = bare.cpu_s / rows * 1000
    stages["whole"] = run.cpu_s / rows * 1000
    return rows / run.seconds


def as_text(stages: Stages) -> str:
    alone = [name for name in stages if name[0] != "[" and name not in {"whole", BARE}]
    json_s = sum(stages[name] for name in ("encode", "decode"))
    http = stages[BARE] - json_s - stages["read, twice"] / 2
    counted = sum(stages[name] for name in alone) + http
    rows = [(name, value) for name, value in stages.items() if name not in {"whole", BARE}]
    rows.insert(4, ("HTTP", http))
    rows += [("scheduling, loop, threads, start", stages["whole"] - counted)]
    rows += [("whole", stages["whole"]), (BARE, stages[BARE])]
    lines = [["", "CPU s per 1,000", "share"]]
    lines += [[name, f"{value:.4f}", f"{value / stages['whole']:.1%}"] for name, value in rows]
    engine = 1 - (http + json_s) / stages["whole"]
    return f"{table(lines)}\n\neverything but HTTP and JSON: {engine:.0%}"


BARE = "bare loop: HTTP and JSON"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=300)
    parser.add_argument("--keep", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    stages = Stages(options.rows)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        file = make_rows(here / "q.jsonl", options.rows, PROMPT_CHARS)
        given = open_input(load_spec(file, Options(out=here / "unused")))
        input_stages(stages, given)
        answer_stages(stages, options.rows)
        storage_stages(stages, options.rows, here)
        bar_stage(stages, whole_stages(stages, file, options.rows, options.in_flight))
    text = as_text(stages)
    print(text)
    if options.keep:
        keep("stages", text, stages)


if __name__ == "__main__":
    main()

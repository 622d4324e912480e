"""What a job's sections cost per row: `python -m benchmarks.recipes [--quick]`.

Each section's rendering is compared with that of the same prompt without it, in one process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from batchkit.fidelity import Fidelity, Kind
from batchkit.inputs import open_input
from batchkit.labels import Given, LabelSet
from batchkit.sources.context import with_rows_before
from batchkit.spec import load_spec

JOBS = Path(__file__).parents[1] / "jobs"
HEAD = 'input = "in.jsonl"\nmodel = "glm-4-plus"\n[prompt]\nsystem = "S"\nuser = "{{ en }}%s"\n'
NEAREST = '[examples]\nfile = "%s.jsonl"\ninput = "text"\noutput = "label"\nchoose = "nearest"\n'
FIXED = NEAREST.replace("nearest", "first")


def rows_of(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (JOBS / name).read_text("utf-8").splitlines()]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def per_row(times: int, count: int, work: Callable[[], object]) -> float:
    """Microseconds a row, the best of `times`."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best / count * 1e6


def rendering(folder: Path, section: str, extra: str = "") -> Callable[[], object]:
    job = folder / "job.toml"
    job.write_text(HEAD % extra + section, "utf-8")
    given = open_input(load_spec(job))
    builder = given.rendering()
    raws = list(with_rows_before(given.source.scan(), builder.rows_before))
    return lambda: [builder.build(raw) for raw in raws]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    times = 1 if parser.parse_args().quick else 7
    news = rows_of("translate_news/ntrex.jsonl")
    questions = rows_of("classify_intents/banking77.jsonl")
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "in.jsonl", news)
        for size in (1_000, 10_000):
            pool = islice(enumerate(cycle(questions)), size)
            write(folder / f"{size}.jsonl", [q | {"text": f"{q['text']} {n}"} for n, q in pool])
        terms = {word for row in news for word in row["en"].split() if word.isalpha()}
        listed = "".join(f"{term}\tx\n" for term in {term.lower() for term in terms})
        (folder / "t.tsv").write_text(listed, "utf-8")
        translate = '[translate]\ntext = "en"\n'
        cases = {
            "prompt alone": ("", ""),
            "one of 3 labels": ('[labels]\nvalues = ["a", "b", "c"]\n', ""),
            "4 fixed examples": (FIXED % 1_000, ""),
            "4 nearest of 1,000 examples": (NEAREST % 1_000, ""),
            "4 nearest of 10,000 examples": (NEAREST % 10_000, ""),
            "2 texts before": (f"{translate}context = 2\n", "{{ translate.context }}"),
            f"{listed.count(chr(10)):,} terms": (
                f'{translate}glossary = "t.tsv"\n', "{{ translate.glossary }}",
            ),
        }  # fmt: skip
        spent = {
            case: per_row(times, len(news), rendering(folder, section, extra))
            for case, (section, extra) in cases.items()
        }
    fidelity = Fidelity(list(Kind))
    labels = LabelSet(
        [Given(label, "") for label in {q["label"] for q in questions}],
        multiple=False,
        similar=None,
    )
    spent["checking a translation"] = per_row(
        times, len(news), lambda: [fidelity.read(row["zh_CN"], row["en"]) for row in news]
    )
    spent["reading a label"] = per_row(
        times, len(questions), lambda: [labels.read(q["label"]) for q in questions]
    )
    for case, microseconds in spent.items():
        print(
            f"{case:<30} {microseconds:9.0f} µs a row  {microseconds / spent['prompt alone']:6.1f}"
        )


if __name__ == "__main__":
    main()

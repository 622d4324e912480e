"""The job file and the options, merged: who wins, and what the result is."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from batchkit.document_job import DocumentJob
from batchkit.job import PromptSection, ScoreKind, ScoreSection
from batchkit.models import Price, Tier, builtin_models
from batchkit.options import Options
from batchkit.patience import MostFailed
from batchkit.spec import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_TIMEOUT_S,
    Format,
    Spec,
    TransportName,
    effective_table,
    load_spec,
    spec_name,
)

PLUS, AIR, FLASH = "glm-4-plus", "glm-4-air-250414", "glm-4-flash-250414"
SCHEMA = {"type": "object", "properties": {"intent": {"type": "string"}}}
FULL = """
input  = "banking77.parquet"
id     = "id"
keep   = ["label", "split"]
model  = "GLM-4-Flash-250414"
fallback = ["GLM-4-Air-250414"]
tier   = "V1"
endpoint = "sim"
dialect = "glm"
transport = "httptools"
api_key_env = "MY_KEY"

[prompt]
system = "You label questions."
user   = "Question: {{ text }}"

[params]
temperature = 0.25
max_tokens  = 32
thinking = { budget = 0.5, stop = ["a", 1.5] }

[output]
schema = "intent.schema.json"
repair = 2

[score]
gold = { intent = "label" }
kind = "label"

[limits]
budget = "20.00"
concurrency = { "glm-4-flash-250414" = 150 }
timeout = 60
max_attempts = 4
hedge = true
max_failed = "5%"

[models."glm-4-flash-250414"]
price = { input = "0.2", output = 0.3 }
"""


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a job file beside a schema."""

    def write(text: str) -> Path:
        (tmp_path / "intent.schema.json").write_text(json.dumps(SCHEMA), "utf-8")
        path = tmp_path / "demo.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def load(path: Path, **options: Any) -> Spec:
    return load_spec(path, Options(**options))


def test_every_key_of_a_job_file_counts(write: Write) -> None:
    path = write(FULL)
    spec = load(path)
    assert spec == Spec(
        path=path,
        input=path.parent / "banking77.parquet",
        out=Path("runs/demo"),
        id_column="id",
        keep=("label", "split"),
        model=FLASH,
        fallback=(AIR,),
        tier=Tier.V1,
        endpoint="sim",
        dialect="glm",
        transport=TransportName.HTTPTOOLS,
        api_key_env="MY_KEY",
        prompt=PromptSection(user="Question: {{ text }}", system="You label questions."),
        documents=DocumentJob(),
        params={
            "temperature": 0.25,
            "max_tokens": 32,
            "thinking": {"budget": 0.5, "stop": ["a", 1.5]},
        },
        schema=SCHEMA,
        labels=None,
        translate=None,
        examples=None,
        repair=2,
        score=ScoreSection(gold={"intent": "label"}, kind=ScoreKind.LABEL),
        confirm_above=None,
        budget=Decimal("20.00"),
        concurrency={FLASH: 150},
        timeout_s=60.0,
        max_attempts=4,
        max_failed=MostFailed("5%", share=Fraction(1, 20)),
        hedge=True,
        limit=None,
        dedupe=False,
        format=Format.ARROW,
        skip_invalid=False,
        eager=False,
        processes=None,
        drain_s=30.0,
        log_content=False,
        update=False,
        retry_failed=None,
        reask_damaged=False,
        table=spec.table,
        local_model=None,
        simulate=None,
    )
    assert spec.table[FLASH].price == Price(Decimal("0.2"), Decimal("0.3"), currency="CNY")
    assert type(spec.params["temperature"]) is float


def test_a_flag_wins_over_the_job_file(write: Write, tmp_path: Path) -> None:
    models = tmp_path / "m.toml"
    models.write_text('[models."new"]\nconcurrency = 9\n', "utf-8")
    spec = load(
        write(FULL),
        out="elsewhere",
        input="other.jsonl",
        model="new",
        tier="V3",
        endpoint="http://127.0.0.1:8000/v1",
        dialect="openai",
        transport="aiohttp",
        api_key_env="OTHER",
        concurrency={FLASH: 2},
        timeout=1.5,
        max_attempts=1,
        budget="0",
        limit=10,
        models=models,
        format="parquet",
        skip_invalid=True,
        local_model="x.gguf",
        simulate="as given",
    )
    told = [
        (spec.out, spec.input, spec.model, spec.tier),
        (spec.endpoint, spec.dialect, spec.api_key_env, spec.concurrency, spec.transport),
        (spec.timeout_s, spec.max_attempts, spec.budget, spec.limit),
        (spec.format, spec.skip_invalid, spec.local_model, spec.simulate),
    ]
    assert told == [
        (Path("elsewhere"), Path("other.jsonl"), "new", Tier.V3),
        ("http://127.0.0.1:8000/v1", "openai", "OTHER", {FLASH: 2}, TransportName.AIOHTTP),
        (1.5, 1, Decimal(0), 10),
        (Format.PARQUET, True, Path("x.gguf"), "as given"),
    ]


def test_what_is_not_said_has_a_default(write: Write) -> None:
    path = write('input = "a.jsonl"')
    spec = load(path)
    told = [
        (spec.input, spec.model, spec.tier, spec.endpoint, spec.dialect, spec.api_key_env),
        (spec.prompt, spec.params, spec.schema, spec.repair, spec.budget, spec.concurrency),
        (spec.timeout_s, spec.max_attempts, spec.limit, spec.format, spec.skip_invalid),
        (spec.transport,),
    ]
    assert told == [
        (path.parent / "a.jsonl", None, Tier.V0, "bigmodel", None, None),
        (None, {}, None, 1, None, {}),
        (DEFAULT_TIMEOUT_S, DEFAULT_MAX_ATTEMPTS, None, Format.ARROW, False),
        (TransportName.AIOHTTP,),
    ]
    assert spec.table.as_rows() == effective_table(None).as_rows()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".arrow"])
def test_a_request_file_is_its_own_input(tmp_path: Path, suffix: str) -> None:
    spec = load(tmp_path / f"requests{suffix}", model=PLUS)
    assert (spec.input, spec.out) == (tmp_path / f"requests{suffix}", Path("runs/requests"))
    assert load(spec.path, input="b.jsonl").input == Path("b.jsonl")


def test_a_run_is_named_for_its_file_or_for_its_jobs_folder(tmp_path: Path) -> None:
    assert spec_name(Path("a/b.c.jsonl.gz")) == "b.c"
    assert spec_name(Path("a/demo.toml")) == "demo"
    assert spec_name(tmp_path / "intents" / "job.toml") == "intents"


def test_an_inline_schema_needs_no_file_and_is_repaired_once(write: Write) -> None:
    spec = load(write('input = "a.jsonl"\n[output.schema]\ntype = "object"\n'))
    assert (spec.schema, spec.repair) == ({"type": "object"}, 1)


def test_later_tables_override_earlier_ones(tmp_path: Path) -> None:
    """Built in, then the file, then the job."""
    file = tmp_path / "m.toml"
    file.write_text(f'[models."{PLUS}"]\ncontext = 1\nmax_output = 2\n', "utf-8")
    table = effective_table(file, {PLUS: {"max_output": 3}}, "job.toml")
    plus = table[PLUS]
    assert (plus.context, plus.max_output) == (1, 3)
    assert plus.concurrency == builtin_models()[PLUS].concurrency
    assert set(table) == {*builtin_models(), "smollm2-135m-instruct"}


@pytest.mark.parametrize(
    ("job", "flag", "plus", "air"),
    [
        ("", None, 50, 30),
        ("", 40, 40, 30),
        ("", {PLUS: 10}, 10, 30),
        ("", {"": 20, PLUS: 10}, 10, 20),
        ("concurrency = 25", None, 25, 25),
        ("concurrency = 25", 40, 40, 30),
        (f'concurrency = {{ "{PLUS}" = 5 }}', 40, 5, 30),
        (f'concurrency = {{ "{PLUS.upper()}" = 5 }}', {PLUS: 7}, 7, 30),
        ("concurrency = 9999", None, 50, 30),
    ],
)
def test_slots_are_the_tables_under_every_ceiling(
    write: Write, job: str, flag: Any, plus: int, air: int
) -> None:
    spec = load(write(f'input = "a.jsonl"\n[limits]\n{job}\n'), concurrency=flag)
    assert (spec.slots(PLUS), spec.slots(AIR)) == (plus, air)


@pytest.mark.parametrize(
    ("written", "budget"),
    [('"20.00"', "20.00"), ("20", "20"), ("0.1", "0.1"), ('"0.000000000001"', "1E-12"), ("0", "0")],
)
def test_a_budget_is_exact(write: Write, written: str, budget: str) -> None:
    spec = load(write(f'input = "a.jsonl"\n[limits]\nbudget = {written}\n'))
    assert spec.budget == Decimal(budget)


@pytest.mark.parametrize(
    "options",
    [
        {"tier": "V3", "transport": "aiohttp"},
        {"endpoint": "http://127.0.0.1:1/v1", "dialect": "openai", "api_key_env": "K"},
        {"concurrency": 3, "timeout": 1.0, "max_attempts": 2, "budget": "1"},
        {"out": "x", "input": "y.jsonl", "limit": 5, "format": "parquet", "skip_invalid": True},
    ],
)
def test_the_identity_of_a_job_is_not_how_it_is_run(write: Write, options: dict[str, Any]) -> None:
    path = write(FULL)
    assert load(path, **options).sha256() == load(path).sha256()


def test_the_identity_of_a_job_is_not_its_prices(write: Write) -> None:
    before = load(write(FULL)).sha256()
    assert load(write(FULL.replace('"0.2"', '"9"'))).sha256() == before
    assert load(write(FULL + "concurrency = 3\n")).sha256() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Question:", "question:"),
        ("You label", "You tag"),
        ("temperature = 0.25", "temperature = 0.5"),
        ("max_tokens  = 32\n", ""),
        ('schema = "intent.schema.json"', 'schema = { type = "object" }'),
        ('id     = "id"', 'id     = "key"'),
        ('"split"]', '"fold"]'),
        ("GLM-4-Flash-250414", AIR),
        ("[limits]", '[labels]\nvalues = ["a"]\n[limits]'),
        ("[limits]", '[translate]\ntext = "t"\n[limits]'),
        ("[limits]", '[examples]\nfile = "a"\noutput = "o"\n[limits]'),
    ],
)
def test_the_identity_of_a_job_is_what_it_asks(write: Write, old: str, new: str) -> None:
    before = load(write(FULL)).sha256()
    assert FULL.count(old) == 1
    assert load(write(FULL.replace(old, new))).sha256() != before


def test_the_identity_of_a_job_does_not_depend_on_the_order_of_its_keys(write: Write) -> None:
    swapped = FULL.replace(
        "temperature = 0.25\nmax_tokens  = 32", "max_tokens = 32\ntemperature = 0.25"
    )
    assert load(write(swapped)).sha256() == load(write(FULL)).sha256()

"""What no run begins with: each fault with its place, its value and a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import UsageError
from batchkit.job import Job
from batchkit.options import Options
from batchkit.spec import load_spec

Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Why a job file with `text`, under options, is refused; without the folder's name."""

    def refuse(text: str | bytes, **options: Any) -> str:
        path = tmp_path / "demo.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UsageError) as caught:
            load_spec(path, Options(**options))
        return str(caught.value).replace(f"{tmp_path}/", "")

    return refuse


KEYS = ", ".join(Job.__struct_fields__)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('inptu = "x"', "unknown key 'inptu'; did you mean 'input'?"),
        ("zzz = 1", f"unknown key 'zzz'; known keys: {KEYS}"),
        ('[prompt]\nusr = "x"', "unknown key 'prompt.usr'; did you mean 'user'?"),
        ("[output]\nrepairs = 1", "unknown key 'output.repairs'; did you mean 'repair'?"),
        ("[score]\ngld = 1", "unknown key 'score.gld'; did you mean 'gold'?"),
        ("[labels]\nvalue = []", "unknown key 'labels.value'; did you mean 'values'?"),
        ("[limits]\nbugdet = 1", "unknown key 'limits.bugdet'; did you mean 'budget'?"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(
    refuse: Refuse, text: str, fault: str
) -> None:
    assert refuse(text) == f"demo.toml: {fault}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("input = 5", "input: expected str | null, got int"),
        ('keep = "label"', "keep: expected array, got str"),
        ("keep = [1]", "keep[0]: expected str, got int"),
        ('tier = "V9"', "tier: invalid enum value 'V9'"),
        ('prompt = "x"', "prompt: expected a table, got 'x'"),
        ("output = 1", "output: expected a table, got 1"),
        ("limits = [1]", "limits: expected a table, got [1]"),
        ("models = 5", "models: expected a table, got 5"),
        ("models = 0", "models: expected a table, got 0"),
        ('models = "x"', "models: expected a table, got 'x'"),
        ("params = 5", "params: expected object, got int"),
        ("[prompt]", "prompt: object missing required field user"),
        ("[prompt]\nuser = 5", "prompt.user: expected str, got int"),
        ("[output]\nschema = 1", "output.schema: expected str | object | null, got int"),
        ('[output]\nschema = {}\nrepair = "x"', "output.repair: expected int, got str"),
        ("[score]\ngold = 5", "score.gold: expected str | object, got int"),
        ('[score]\ngold = "x"\nkind = "bleu"', "score.kind: invalid enum value 'bleu'"),
        ('[score]\ngold = "x"\ndates = "ymd"', "score.dates: invalid enum value 'ymd'"),
        (
            'keep = ["y"]\n[score]\ngold = "x"',
            "score.gold: 'x' is not among keep; add it there, so that it comes back in the results",
        ),
        ('[limits]\ntimeout = "1m"', "limits.timeout: expected float | null, got str"),
        ("[limits]\nmax_attempts = 0", "limits.max_attempts: expected int >= 1"),
        ("[limits]\nmax_attempts = 1.5", "limits.max_attempts: expected int | null, got float"),
        ("[limits]\nconcurrency = 0", "limits.concurrency: expected int >= 1"),
        ("[limits.concurrency]\nm = 0", "limits.concurrency[...]: expected int >= 1"),
    ],
)
def test_a_wrong_type_is_refused_by_its_path(refuse: Refuse, text: str, fault: str) -> None:
    assert refuse(text) == f"demo.toml: {fault}"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('"lots"', "'lots'"),
        ('""', "''"),
        ("-1", "-1"),
        ("true", "True"),
        ("nan", "Decimal('NaN')"),
        ("inf", "Decimal('Infinity')"),
        ("[1]", "[1]"),
        ('"1e400"', "'1e400'"),
        ('"1e999999999"', "'1e999999999'"),
    ],
)
def test_a_budget_is_a_decimal_amount(refuse: Refuse, written: str, shown: str) -> None:
    text = f'input = "a.jsonl"\n[limits]\nbudget = {written}\n'
    assert refuse(text) == f"demo.toml: limits.budget: expected a decimal amount, got {shown}"


def test_a_budget_has_at_most_twelve_decimals(refuse: Refuse) -> None:
    fault = "0.0000000000001 has more than 12 decimals"
    assert refuse('[limits]\nbudget = "1e-13"\n') == f"demo.toml: limits.budget: {fault}"
    assert refuse('input = "a.jsonl"', budget="1e-13") == f"--budget: {fault}"


@pytest.mark.parametrize(
    ("text", "options", "fault"),
    [
        ("", {}, "demo.toml: input is missing; name the data file here or with --input"),
        (
            'model = "gpt"',
            {},
            "demo.toml: model 'gpt' is not in the model table; add it with --models",
        ),
        (
            "",
            {"model": "gpt"},
            "demo.toml: model 'gpt' is not in the model table; add it with --models",
        ),
        (
            "",
            {"fallback": ["gpt"]},
            "--fallback: model 'gpt' is not in the model table; add it with --models",
        ),
        (
            'fallback = ["glm-4-airx", "glm-4-plus", "glm-4-airx"]',
            {},
            "demo.toml: fallback: 'glm-4-airx' would lead back to itself; name each model once",
        ),
        ("", {"timeout": 0}, "--timeout: expected seconds above 0, got 0"),
        ("", {"timeout": float("nan")}, "--timeout: expected seconds above 0, got nan"),
        (
            "[limits]\ntimeout = 0",
            {},
            "demo.toml: limits.timeout: expected seconds above 0, got 0.0",
        ),
        (
            "[limits]\ntimeout = inf",
            {},
            "demo.toml: limits.timeout: expected seconds above 0, got inf",
        ),
        ("", {"max_attempts": 0}, "--max-attempts: expected at least 1, got 0"),
        ("", {"processes": -1}, "--processes: expected 0 to 64, got -1"),
        ("", {"processes": 65}, "--processes: expected 0 to 64, got 65"),
        ("", {"limit": 0}, "--limit: expected at least 1, got 0"),
        ("", {"concurrency": 0}, "--concurrency: expected at least 1, got 0"),
        ("", {"concurrency": {"x": 1}}, "--concurrency: model 'x' is not in the model table"),
        (
            "[limits.concurrency]\nx = 1",
            {},
            "demo.toml: limits.concurrency: model 'x' is not in the model table",
        ),
        (
            "",
            {"transport": "httpx"},
            "--transport: expected one of aiohttp, httptools, got 'httpx'",
        ),
        ("", {"tier": "v0"}, "--tier: expected one of V0, V1, V2, V3, got 'v0'"),
        ("", {"format": "csv"}, "--format: expected one of arrow, parquet, got 'csv'"),
        ("", {"budget": "lots"}, "--budget: expected a decimal amount, got 'lots'"),
        (
            "[output]\nrepair = 1",
            {},
            "demo.toml: output.schema: is missing; name a JSON Schema or hold one here",
        ),
        (
            "[output]\nschema = {}\nrepair = -1",
            {},
            "demo.toml: output.repair: expected at least 0, got -1",
        ),
        (
            "[models.x]\nconcurrency = 0",
            {},
            'demo.toml: models."x": concurrency: expected int >= 1',
        ),
    ],
)
def test_a_value_out_of_range_is_refused_where_it_was_said(
    refuse: Refuse, text: str, options: dict[str, Any], fault: str
) -> None:
    given = text if fault.startswith("demo.toml: input") else f'input = "a.jsonl"\n{text}'
    assert refuse(given, **options) == fault


@pytest.mark.parametrize(
    "url",
    [
        "https://open.bigmodel.cn/api/paas/v4",
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000/v1",
        "HTTPS://api.example.com",
    ],
)
def test_an_address_is_taken_as_it_is_given(tmp_path: Path, url: str) -> None:
    assert load_spec(tmp_path / "a.jsonl", Options(endpoint=url)).endpoint == url


@pytest.mark.parametrize(
    "url",
    [
        "bigmdel",
        "ftp://h/v1",
        "http://",
        "//h/v1",
        "http://[::1/v1",
        "http://h:99999",
        "http://h:x",
    ],
)
def test_what_is_no_address_is_refused(refuse: Refuse, url: str) -> None:
    fault = f"expected bigmodel, local, sim or an http(s) URL, got {url!r}"
    assert refuse('input = "a.jsonl"', endpoint=url) == f"--endpoint: {fault}"
    given = f'input = "a.jsonl"\nendpoint = "{url}"'
    assert refuse(given) == f"demo.toml: endpoint: {fault}"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:s3cret@h/v1",
        "https://s3cret@h/v1",
        "https://h/v1?key=s3cret",
        "https://h/v1#s3cret",
        "ftp://user:s3cret@h/v1",
        "user:s3cret@h",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_shown(refuse: Refuse, url: str) -> None:
    fault = "an endpoint has no user, query or fragment; the key is read from the environment"
    assert refuse('input = "a.jsonl"', endpoint=url) == f"--endpoint: {fault}"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff", "cannot be read: not UTF-8"),
        (b"input", "not TOML: "),
        (b'input = "a"\ninput = "b"', "not TOML: "),
    ],
)
def test_a_job_file_that_cannot_be_read_is_refused(
    refuse: Refuse, content: bytes, fault: str
) -> None:
    assert refuse(content).startswith(f"demo.toml: {fault}")


@pytest.mark.parametrize("name", ["job.yaml", "requests.csv", "requests", "x.jsonl.bz2"])
def test_a_file_that_is_no_spec_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_spec(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name}: not a spec; expected a file that ends in one of "
        ".jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow, .toml"
    )


def test_a_job_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_spec(tmp_path / "job.toml")
    assert str(caught.value) == f"{tmp_path}/job.toml: cannot be read: no such file or directory"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            None,
            "demo.toml: output.schema: x.json cannot be read as JSON: no such file or directory",
        ),
        (b"{", "demo.toml: output.schema: x.json cannot be read as JSON: input data was truncated"),
        (b"\xff", "demo.toml: output.schema: x.json cannot be read as JSON: "),
        (b"[]", "x.json: expected a JSON Schema object, got list"),
    ],
)
def test_a_schema_file_that_holds_no_schema_is_refused(
    refuse: Refuse, tmp_path: Path, content: bytes | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    given = 'input = "a.jsonl"\n[output]\nschema = "x.json"\n'
    assert refuse(given).startswith(fault)

"""Bad input and trouble on the way: what is said, what is sent, which exit code."""

from __future__ import annotations

import codecs
import re
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from batchkit.folder import RunFolder
from tests.e2e.conftest import Command, Simulate, prompts, summary_of, write_rows

SECRET = "SECRETSECRET"


def test_without_a_key_three_ways_out_are_named(batchkit: Command, here: Path) -> None:
    write_rows(here / "q.jsonl", prompts(1))
    done = batchkit("run", "q.jsonl")
    assert done.code == 2
    for way in ("ZAI_API_KEY", "ZHIPUAI_API_KEY", "--endpoint sim", "--endpoint local"):
        assert way in done.err


def test_a_refused_key_stops_at_once_and_is_never_shown(
    batchkit: Command, simulate: Simulate, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = simulate(keys=("another.key",), latency="0.01")
    monkeypatch.setenv("ZAI_API_KEY", SECRET)
    write_rows(here / "q.jsonl", prompts(1000))
    done = batchkit("run", "q.jsonl", "--endpoint", running.url, "--concurrency", "10")
    assert done.code == 3
    assert (
        "glm-4-flash-250414: 401/1002 the key was refused; check the key in ZAI_API_KEY" in done.err
    )
    assert "0 of 1,000 rows are safe in runs/q" in done.err
    assert running.service.stats.requests <= 10
    for path in (here / "runs/q").rglob("*"):
        assert path.is_dir() or b"SECRETSECRET" not in path.read_bytes()
    assert "SECRET" not in done.err + done.out
    monkeypatch.setenv("ZAI_API_KEY", "another.key")
    assert batchkit("run", "q.jsonl", "--endpoint", running.url).code == 0


def test_a_model_that_the_service_does_not_know_stops_the_run(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    (here / "more.toml").write_text('[models."glm-5-nano"]\nconcurrency = 5\n', "utf-8")
    write_rows(here / "q.jsonl", prompts(100, model="glm-5-nano"))
    words = ["run", "q.jsonl", "--models", "more.toml", "--endpoint", simulate().url]
    done = batchkit(*words)
    assert done.code == 3
    assert "glm-5-nano: 400/1211 the service does not know this model" in done.err


def test_arrears_stop_the_job_and_are_never_retried(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate(arrears_after=50, latency="0.01")
    write_rows(here / "q.jsonl", prompts(500))
    words = ["run", "q.jsonl", "--endpoint", running.url, "--concurrency", "20"]
    done = batchkit(*words)
    assert done.code == 3
    assert "429/1113 the account is in arrears; recharge and run again: 50 of 500 rows" in done.err
    assert running.service.stats.requests <= 50 + 20
    words[3] = simulate().url
    assert batchkit(*words).code == 0
    assert summary_of(here / "runs/q")["ok"] == 500


def test_an_endpoint_that_is_not_there_fails_the_rows(batchkit: Command, here: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    write_rows(here / "q.jsonl", prompts(3))
    words = ["run", "q.jsonl", "--endpoint", f"http://127.0.0.1:{port}/v1", "--max-attempts", "2"]
    done = batchkit(*words)
    assert done.code == 1
    (first, *_) = ds.dataset(here / "runs/q/results", format="arrow").to_table().to_pylist()
    assert (first["error_kind"], first["attempts"]) == ("connection", 2)
    assert "cannot connect to 127.0.0.1" in first["error_message"]
    assert summary_of(here / "runs/q")["unknown_billing_attempts"] == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.jsonl", None, "no such file"),
        ("empty.jsonl", b"", "is empty"),
        ("blank.jsonl", b"\n\n", "is empty"),
        ("utf16.jsonl", codecs.BOM_UTF16_LE + "{}".encode("utf-16-le"), "UTF-16"),
        ("latin.jsonl", b'{"prompt": "caf\xe9"}\n', "latin.jsonl:1: "),
        ("text.parquet", b'{"prompt": "x"}\n', "JSON Lines"),
        ("notes.txt", b"hello", "not a spec"),
        ("list.jsonl", b"[1, 2]\n", "list.jsonl:1: "),
        ("nothing.jsonl", b'{"id": "a"}\n', "nothing.jsonl:1: has no 'messages' and no 'prompt'"),
    ],
)
def test_files_that_cannot_be_run_are_refused(
    name: str, content: bytes | None, words: str, batchkit: Command, here: Path
) -> None:
    if content is not None:
        (here / name).write_bytes(content)
    for command in ("check", "run"):
        extra = ["--endpoint", "sim"] if command == "run" else []
        done = batchkit(command, name, "--model", "glm-4-plus", *extra)
        assert (done.code, words in done.err) == (2, True), done.err


def test_a_folder_as_input_is_refused(batchkit: Command, here: Path) -> None:
    (here / "d.jsonl").mkdir()
    done = batchkit("check", "d.jsonl")
    assert done.code == 2
    assert "is a directory" in done.err


def test_bom_crlf_blank_lines_and_a_long_line_are_read(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    long = "x" * 5_000_000
    (here / "more.toml").write_text('[models."glm-4-plus"]\ncontext = 10000000\n', "utf-8")
    rows = [
        '{"prompt": "one"}',
        "",
        f'{{"prompt": "two", "metadata": {{"long": "{long}"}}}}',
        "",
        "",
    ]
    (here / "q.jsonl").write_bytes(codecs.BOM_UTF8 + "\r\n".join(rows).encode())
    words = ["--model", "glm-4-plus", "--models", "more.toml", "--endpoint", simulate().url]
    assert batchkit("run", "q.jsonl", *words).code == 0
    table = ds.dataset(here / "runs/q/results", format="arrow").to_table().to_pylist()
    assert [len(row["metadata"] or "") > 5_000_000 for row in table] == [False, True]


def test_every_bad_row_is_named_and_nothing_is_sent(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    running = simulate()
    lines = [
        '{"custom_id": "a", "prompt": "x"}',
        "not json",
        '{"custom_id": "b", "model": "gpt-9", "prompt": "x"}',
        '{"custom_id": "c", "prompt": "x", "max_tokens": 99999}',
        '{"custom_id": "a", "prompt": "x"}',
        '{"custom_id": "d", "messages": [{"role": "assistant", "content": "x"}]}',
    ]
    (here / "q.jsonl").write_text("\n".join(lines), "utf-8")
    for command in (["check"], ["run", "--endpoint", running.url]):
        done = batchkit(command[0], "q.jsonl", "--model", "glm-4-plus", *command[1:])
        assert done.code == 2
        places = [line.split(" ")[0] for line in done.err.splitlines()]
        assert places[:5] == ["q.jsonl:2:", "q.jsonl:3:", "q.jsonl:4:", "q.jsonl:5:", "q.jsonl:6:"]
        assert "q.jsonl:5: custom_id 'a' was used before, on line 1; ids must be unique" in done.err
        assert "5 of 6 rows cannot be sent" in done.err
    assert running.service.stats.requests == 0
    assert not (here / "runs/q/journal.db").exists()


def test_many_bad_rows_are_summed_up(batchkit: Command, here: Path) -> None:
    (here / "q.jsonl").write_text("x\n" * 1000, "utf-8")
    done = batchkit("check", "q.jsonl")
    assert len(done.err.splitlines()) == 22
    assert "… and 980 more" in done.err


def test_bad_rows_can_be_skipped_and_fail(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    rows = ['{"id": "a", "prompt": "x"}', "not json", '{"id": "a", "prompt": "y"}']
    (here / "q.jsonl").write_text("\n".join(rows), "utf-8")
    words = ["run", "q.jsonl", "--model", "glm-4-plus", "--endpoint", simulate().url]
    assert batchkit(*words, "--skip-invalid").code == 1
    table = ds.dataset(here / "runs/q/results", format="arrow").to_table().to_pylist()
    assert [(r["custom_id"], r["status"], r["error_kind"]) for r in table] == [
        ("a", "ok", None),
        ("row-1", "failed", "invalid_row"),
        ("a", "failed", "invalid_row"),
    ]
    assert "q.jsonl:2: not JSON" in table[1]["error_message"]


def test_two_runs_in_one_folder_are_refused(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(1))
    holder = "import sys, time; from pathlib import Path; from batchkit.folder import RunFolder\n"
    holder += (
        "with RunFolder(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, "runs/q"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        done = batchkit("run", "q.jsonl", "--endpoint", simulate().url)
        process.kill()
    assert done.code == 2
    assert f"process {process.pid} is running here" in done.err
    assert not RunFolder(here / "runs/q").is_held()


def test_a_folder_with_something_else_is_left_alone(
    batchkit: Command, simulate: Simulate, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(1))
    (here / "precious").mkdir()
    (here / "precious/data.txt").write_text("mine", "utf-8")
    done = batchkit("run", "q.jsonl", "--endpoint", simulate().url, "-o", "precious")
    assert done.code == 2
    assert sorted(path.name for path in (here / "precious").iterdir()) == ["data.txt", "run.lock"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--model", "glm-4-air-250414"], "was begun with another model"),
        (
            ["--limit", "3"],
            "runs/q was begun with no --limit: 2 removed; 0 to ask; go on with --update",
        ),
        (["--format", "parquet"], "--format: runs/q was begun with arrow; use another folder"),
    ],
)
def test_another_job_in_the_same_folder_is_refused(
    change: list[str], words: str, batchkit: Command, simulate: Simulate, here: Path
) -> None:
    rows = [{key: row[key] for key in ("custom_id", "prompt")} for row in prompts(5)]
    write_rows(here / "q.jsonl", rows)
    base = ["run", "q.jsonl", "--endpoint", simulate().url]
    assert batchkit(*base, "--model", "glm-4-plus").code == 0
    done = batchkit(*base, *(change if "--model" in change else ["--model", "glm-4-plus", *change]))
    assert (done.code, words in done.err) == (2, True), done.err


def test_another_input_is_noticed(batchkit: Command, simulate: Simulate, here: Path) -> None:
    path = write_rows(here / "q.jsonl", prompts(5))
    words = ["run", "q.jsonl", "--endpoint", simulate().url]
    assert batchkit(*words).code == 0
    path.touch()
    assert batchkit(*words).code == 0
    write_rows(path, prompts(6))
    done = batchkit(*words)
    assert done.code == 2
    assert "was begun with another input" in done.err


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["run"], "required: SPEC"),
        (["run", "q.jsonl", "--tier", "V9"], "--tier: expected one of V0, V1, V2, V3, got 'V9'"),
        (["run", "q.jsonl", "--concurrency", "many"], "--concurrency: expected N or MODEL=N"),
        (["run", "q.jsonl", "--concurrency", "0"], "--concurrency: expected at least 1, got 0"),
        (
            ["run", "q.jsonl", "--endpoint", "ftp://x"],
            "--endpoint: expected bigmodel, local, sim or",
        ),
        (["run", "q.jsonl", "--model", "gpt-9"], "model 'gpt-9' is not in the model table"),
        (["status", "nowhere"], "nowhere: no run here"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    words: list[str], fault: str, batchkit: Command, here: Path
) -> None:
    write_rows(here / "q.jsonl", prompts(1))
    done = batchkit(*words)
    assert (done.code, done.out) == (2, "")
    assert fault in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(("most", "stops"), [("20", True), ("10%", True), ("60", False)])
def test_a_run_stops_when_more_rows_have_failed_than_may(
    most: str, stops: bool, here: Path, batchkit: Command, simulate: Simulate
) -> None:
    rows = prompts(200)
    for row in rows[::4]:
        row["prompt"] = "[[filter]]"
    write_rows(here / "q.jsonl", rows)
    url = simulate(marks={"[[filter]]": "filtered"}, latency="0.01").url
    words = ["run", "q.jsonl", "--endpoint", url, "--concurrency", "4", "--max-failed", most]
    done = batchkit(*words)
    assert done.code == (3 if stops else 1)
    assert (f"rows failed, more than --max-failed {most}; see error_message" in done.err) is stops
    if stops:
        assert done.err.count(" rows are safe in runs/q") == 1
        assert batchkit(*words[:-2]).code == 1
    assert summary_of(here / "runs/q")["failed"] == 50


def test_a_budget_that_ends_a_run_says_what_the_rest_would_cost(
    here: Path, batchkit: Command, simulate: Simulate
) -> None:
    write_rows(here / "q.jsonl", prompts(50, model="glm-4-plus", max_tokens=20))
    done = batchkit("run", "q.jsonl", "--endpoint", simulate().url, "--budget", "0.002")
    assert done.code == 3
    found = re.search(r"the (\d+) rows that are left would cost about (0\.\d+) CNY: ", done.err)
    assert found is not None, done.err
    left = int(found[1])
    safe = re.search(r"(\d+) of 50 rows are safe", done.err)
    assert safe is not None
    assert left + int(safe[1]) == 50
    assert 0 < float(found[2]) < 50 * 0.0005

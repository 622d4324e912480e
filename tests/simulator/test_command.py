"""The command line of the simulator, and the process it starts."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from batchkit.errors import UsageError
from batchkit.models import Tier
from batchkit.simulator.command import add_options, main, options_from
from batchkit.simulator.options import SimulatorOptions

SERVE = (
    "import argparse, sys; from batchkit.simulator.command import add_options, main;"
    "parser = argparse.ArgumentParser(); add_options(parser);"
    "sys.exit(main(parser.parse_args()))"
)


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(arguments)


def test_no_argument_gives_the_defaults() -> None:
    assert options_from(parse()) == SimulatorOptions()


def test_every_option_has_its_argument() -> None:
    arguments = (
        "--seed 3 --tier V2 --limit glm-4-plus=9 --limit glm-4-airx=1 --softness 0.2 --arrivals 5"
        " --arrival-window 2 --arrival-code 1302 --latency lognormal:1,0.5"
        " --seconds-per-token 0.01 --fault 500=0.1"
        " --fault cut=0.2 --mark a=b=1301 --slow 4 --huge 2 --arrears-after 7 --answer-chars 50"
        " --key a.b --keepalive 5 --requests-per-connection 10 --long-prompt-pool --cache"
        " --token-details --int-codes --check-key --record"
    )
    assert options_from(parse(*arguments.split())) == SimulatorOptions(
        seed=3,
        tier=Tier.V2,
        limits={"glm-4-plus": 9, "glm-4-airx": 1},
        softness=0.2,
        long_prompt_pool=True,
        arrivals=5,
        arrival_window_s=2.0,
        arrival_code="1302",
        latency="lognormal:1,0.5",
        seconds_per_token=0.01,
        faults={"500": 0.1, "cut": 0.2},
        marks={"a=b": "1301"},
        slow_s=4.0,
        huge_mb=2,
        arrears_after=7,
        answer_chars=50,
        cache=True,
        token_details=True,
        int_codes=True,
        check_key=True,
        keys=("a.b",),
        record=True,
        keepalive_s=5.0,
        requests_per_connection=10,
    )


@pytest.mark.parametrize("text", ["500", "=0.1", "500=", "500=often"])
def test_a_malformed_pair_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        options_from(parse("--fault", text))
    assert str(caught.value) == f"--fault: expected NAME=VALUE, got {text!r}"


def test_a_models_file_that_is_missing_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        main(parse("--models", str(tmp_path / "none.toml")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_stops_on_a_signal(number: int, tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text('[models."my-model"]\nconcurrency = 3\n')
    command = [sys.executable, "-c", SERVE, "--models", str(models), "--fault", "hang=0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        prefix, url = line.rstrip("\n").rsplit(" ", 1)
        assert prefix == "listening on"
        assert url.endswith("/api/paas/v4")
        origin = url.removesuffix("/api/paas/v4")
        with urllib.request.urlopen(origin + "/v1/models") as response:  # noqa: S310  # loopback
            assert b"my-model" in response.read()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, errors) == (0, b"", b"")


def test_the_options_need_no_heavy_import() -> None:
    code = (
        "import sys; import batchkit.simulator.command;"
        "sys.exit(bool({'aiohttp', 'anyio', 'pyarrow', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

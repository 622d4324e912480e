"""What the command line says of itself."""

from __future__ import annotations

import shlex

import pytest

from batchkit import cli

_SCREEN = (24, 80)  # lines and columns of the smallest terminal in use


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_help_fits_a_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, columns = _SCREEN
    monkeypatch.setenv("COLUMNS", str(columns))
    text = shown(["--help"], capsys)
    assert len(text.splitlines()) <= lines
    assert max(map(len, text.splitlines())) <= columns


def test_every_commands_help_ends_with_an_example_that_is_understood(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    parser = cli._parser()
    listed = shown(["--help"], capsys).split()
    for module in cli.COMMANDS:
        name = "try" if module == "trial" else module
        assert name in listed
        *_, last = shown([name, "--help"], capsys).splitlines()
        start, _, example = last.partition("example: ")
        assert (start, example != "") == ("", True)
        words = shlex.split(example.removeprefix('eval "$(').removesuffix(')"'))
        assert words[:2] == ["batchkit", name]
        assert parser.parse_args(words[1:]).command is not None

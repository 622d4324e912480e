"""Completion: a real shell completes commands, options and files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Command

ASK = """
source ./words
COMP_WORDS=(batchkit {words}) COMP_CWORD={last} COMP_LINE="batchkit {words}" COMP_POINT=99
_shtab_batchkit 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["st"], ["status"]),
        (["run", "--conf"], ["--confirm-above"]),
        (["run", "que"], ["questions.jsonl"]),
    ],
    ids=" ".join,
)
def test_bash_completes(
    words: list[str], expected: list[str], here: Path, batchkit: Command
) -> None:
    done = batchkit("completion", "bash")
    assert (done.code, done.err) == (0, "")
    (here / "words").write_text(done.out)
    (here / "questions.jsonl").write_text("")
    script = ASK.format(words=" ".join(words), last=len(words))
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert answer.stdout.split() == expected


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_are_served(shell: str, batchkit: Command) -> None:
    done = batchkit("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert "simulate" in done.out


def test_an_unknown_shell_is_refused(batchkit: Command) -> None:
    assert batchkit("completion", "csh").code == 2

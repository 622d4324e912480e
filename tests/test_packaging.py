"""The wheel holds the package and nothing else, and works without the tree it came from."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesHeaderParser
from importlib.metadata import version
from pathlib import Path

import pytest

import batchkit

ROOT = Path(__file__).parents[1]
CHECKED_OUT = ("pyproject.toml", "README.md", "LICENSE", "batchkit", "jobs", "tests")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a `build/` that an earlier build left would get into it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in CHECKED_OUT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tree / name)
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    subprocess.run([sys.executable, *words], cwd=tree, check=True, capture_output=True)
    (built,) = (tree / "dist").iterdir()
    return built


def test_it_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    package = ROOT / "batchkit"
    files = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"batchkit/py.typed", "batchkit/models.toml"} <= files
    info = f"batchkit-{batchkit.__version__}.dist-info/"
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if not name.startswith(info)} == files


def test_its_metadata_says_what_it_is(wheel: Path) -> None:
    info = f"batchkit-{batchkit.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = BytesHeaderParser().parsebytes(archive.read(f"{info}/METADATA"))
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert (metadata["Name"], metadata["Version"]) == ("batchkit", batchkit.__version__)
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("MIT", ">=3.11")
    assert scripts.split() == ["[console_scripts]", "batchkit", "=", "batchkit.cli:main"]


def test_it_works_without_the_tree(wheel: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import batchkit; from batchkit.cli import main\n"
        "print(batchkit.__file__); sys.exit(main(['models']))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(wheel)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, *table = done.stdout.splitlines()
    assert first == f"{wheel}/batchkit/__init__.py"
    assert table[1].startswith("glm-4-plus ")


def test_the_version_stands_in_one_place() -> None:
    assert version("batchkit") == batchkit.__version__
    files = [ROOT / "pyproject.toml", *(ROOT / "batchkit").rglob("*.py")]
    holders = [
        str(path.relative_to(ROOT))
        for path in files
        if re.search(rf"(?<![\d.]){re.escape(batchkit.__version__)}(?![\d.])", path.read_text())
    ]
    assert holders == ["batchkit/__init__.py"]

"""Whether a lock file is held is asked of the kernel, and nothing else is touched."""

from __future__ import annotations

import fcntl
from pathlib import Path

from batchkit.locks import is_locked


def test_a_file_is_locked_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with path.open("wb") as file:
        assert not is_locked(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_locked(path)
    assert not is_locked(path)


def test_looking_makes_no_file_and_follows_no_link(tmp_path: Path) -> None:
    path, link = tmp_path / "lock", tmp_path / "link"
    assert not is_locked(path)
    assert list(tmp_path.iterdir()) == []
    link.symlink_to(path)
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not is_locked(link)

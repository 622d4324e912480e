"""What a process wrote, call by call, and every disk that a power cut may leave of it.

strace records the calls; the model is POSIX's: what was written is durable when an fsync of the
file has returned, a name when an fsync of its folder has; until then any part of it may be there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

T = TypeVar("T")

CALLS = (
    "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink,mkdir,"
    # not expected; `read_calls` refuses them
    "pwritev,writev,truncate,fallocate,renameat,renameat2,unlinkat,mkdirat,link,linkat"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<(.*?)>)?.*\n")
_STARTED = re.compile(r"(\d+) +(\w+\(.*) <unfinished \.\.\.>\n")
_ENDED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*\n)")
_FILE = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PASSED_OVER = ("run.lock", "log.jsonl", "journal.db-shm")  # hold nothing that must survive


class Call(NamedTuple):
    """One successful call on a file of the run; names are relative to its folder."""

    kind: str  # make, cut, write, sync, rename, unlink, mkdir
    name: str
    data: bytes = b""
    at: int = 0  # offset of `data`; for `cut` the length
    to: str = ""


def recorder(trace: Path) -> list[str]:
    """A command prefix that writes every call to `trace`."""
    return [
        "strace",
        "-f",
        "-y",
        "-xx",
        "-qq",
        "-s",
        "99999999",
        "-o",
        str(trace),
        f"-etrace={CALLS}",
    ]


def read_calls(trace: Path, folder: Path) -> list[Call]:
    """The calls on the run in `folder`/out, in the order in which they ended."""
    reader = _Reader(folder)
    for call, words, returned, opened in _lines(trace):
        if returned >= 0:
            reader.read(call, words, returned, opened)
    return reader.calls


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.calls: list[Call] = []
        self._folder = folder
        self._places: dict[str, int] = {}  # file offset per descriptor

    def read(self, call: str, words: str, returned: int, opened: str) -> None:
        texts = [_plain(text) for text in _TEXT.findall(words)]
        if call == "openat":
            self._open(words, f"{returned}<{opened}>", _plain(opened).decode())
        elif call in {"rename", "unlink", "mkdir"}:
            names = [self._name(text.decode()) for text in texts]
            if names[0] is not None and names[-1] is not None:
                self.calls.append(Call(call, names[0], to=names[-1]))
        else:
            descriptor, number_and_path = words.partition(",")[0], _FILE.match(words)
            assert number_and_path is not None, words
            name = self._name(_plain(number_and_path[1]).decode())
            if name is not None:
                last = words.rpartition(", ")[2]
                self._write(call, name, descriptor, texts, returned, last)

    def _open(self, words: str, descriptor: str, path: str) -> None:
        name = self._name(path)
        self._places[descriptor] = 0
        if name is not None and "O_CREAT" in words:
            self.calls.append(Call("make", name))
            if "O_TRUNC" in words:
                self.calls.append(Call("cut", name))

    def _write(
        self, call: str, name: str, descriptor: str, texts: list[bytes], returned: int, last: str
    ) -> None:
        if call in {"fsync", "fdatasync"}:
            self.calls.append(Call("sync", name))
        elif call == "ftruncate":
            self.calls.append(Call("cut", name, at=int(last)))
        elif call == "pwrite64":
            self.calls.append(Call("write", name, texts[0][:returned], int(last)))
        else:
            assert call == "write", f"{call} on {name} is not modelled"
            self.calls.append(Call("write", name, texts[0][:returned], self._places[descriptor]))
            self._places[descriptor] += returned

    def _name(self, path: str) -> str | None:
        return os.path.relpath(path, self._folder) if _is_ours(path, self._folder) else None


def _lines(trace: Path) -> Iterator[tuple[str, str, int, str]]:
    begun: dict[str, str] = {}
    with trace.open(encoding="ascii") as file:
        for line in file:
            started, ended = _STARTED.fullmatch(line), _ENDED.fullmatch(line)
            if started:
                begun[started[1]] = started[2]
                continue
            if ended:
                line = f"{ended[1]} {begun.pop(ended[1])}{ended[2]}"  # noqa: PLW2901
            whole = _LINE.fullmatch(line)
            if whole:
                yield whole[2], whole[3], int(whole[4]), whole[5] or ""


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _is_ours(path: str, folder: Path) -> bool:
    """Whether `path` is `folder`, or of the run in its folder `out`."""
    of_run = f"{path}/".startswith(f"{folder}/out/") and not path.endswith(_PASSED_OVER)
    return of_run or path == str(folder)


class _File:
    """A file's content: what is durable, and what was done to it since."""

    def __init__(self) -> None:
        self.durable = b""
        self.pending: list[Call] = []

    def sync(self) -> None:
        self.durable = _applied(self.durable, self.pending)
        self.pending = []

    def left(self, survival: Survival, rng: Random) -> bytes:
        """The content that a power cut may leave."""
        kept = survival.of(self.pending, rng)
        if survival is Survival.SOME:  # in any order, and the last write torn
            kept = [call for call in self.pending if rng.random() < 0.5]
        if survival in {Survival.FIRST, Survival.SOME} and kept and kept[-1].data:
            torn = kept[-1].data[: rng.randrange(len(kept[-1].data))]
            kept = [*kept[:-1], kept[-1]._replace(data=torn)]
        return _applied(self.durable, kept)


def _applied(content: bytes, calls: Iterable[Call]) -> bytes:
    changed = bytearray(content)
    for call in calls:
        end = call.at + len(call.data)
        if call.kind == "cut":
            del changed[call.at :]
        changed.extend(bytes(max(0, end - len(changed))))
        changed[call.at : end] = call.data
    return bytes(changed)


class Survival(Enum):
    """What a power cut leaves of what was not synced."""

    NOTHING = "nothing"
    ALL = "all"  # as after a kill
    FIRST = "first"  # up to some byte of some write
    SOME = "some"  # any of the writes, whatever their order

    def of(self, pending: list[T], rng: Random) -> list[T]:
        """The calls that survive, as a prefix: names in one folder keep their order."""
        if self is Survival.ALL:
            return list(pending)
        return pending[: 0 if self is Survival.NOTHING else rng.randint(0, len(pending))]


_Names = dict[str, _File | None]  # None: a folder
_GONE = _File()


class Disk:
    """A folder on a disk that forgets at a power cut what was not synced."""

    def __init__(self) -> None:
        self._now: _Names = {}
        self._durable: _Names = {}
        self._pending: list[_Names] = []  # what each call did to the names, in order

    def do(self, call: Call) -> None:
        """Let `call` happen."""
        match call.kind:
            case "make":
                if call.name not in self._now:
                    self._rename({call.name: _File()})
            case "mkdir":
                self._rename({call.name: None})
            case "rename":
                self._rename({call.name: _GONE, call.to: self._now[call.name]})
            case "unlink":
                self._rename({call.name: _GONE})
            case "sync":
                self._sync(call.name)
            case _:
                self._file(call.name).pending.append(call)

    def write_to(self, folder: Path, survival: Survival, rng: Random) -> None:
        """Lay out in `folder`, which is empty, what a power cut now may leave."""
        names = dict(self._durable)
        for parent in sorted({_parent(changes) for changes in self._pending}):
            own = [changes for changes in self._pending if _parent(changes) == parent]
            for changes in survival.of(own, rng):
                names |= changes
        for name, file in sorted(names.items()):
            path = folder / name
            if file is _GONE or not path.parent.is_dir():
                continue
            if file is None:
                path.mkdir()
            else:
                path.write_bytes(file.left(survival, rng))

    def _rename(self, changes: _Names) -> None:
        self._now |= changes
        self._now = {name: file for name, file in self._now.items() if file is not _GONE}
        self._pending.append(changes)

    def _sync(self, name: str) -> None:
        if name != "." and self._now[name] is not None:
            self._file(name).sync()
            return
        for changes in self._pending:
            if _parent(changes) == name:
                self._durable |= changes
        self._pending = [changes for changes in self._pending if _parent(changes) != name]

    def _file(self, name: str) -> _File:
        file = self._now[name]
        assert file is not None
        return file


def _parent(changes: _Names) -> str:
    return os.path.dirname(next(iter(changes))) or "."  # noqa: PTH120  # names, not paths

"""A first job file for a data file: its columns looked at, and a commented recipe written.

What the columns are for is guessed from their names and values; every guess stands in the file as a
line that is easy to change.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from batchkit.errors import UsageError
from batchkit.sources import open_source
from batchkit.wording import shown_names

KINDS = ("classify", "extract", "translate")
_LOOKED_AT = 500  # rows
_ID = re.compile(r"^(custom_)?id$|_id$", re.IGNORECASE)
_LABEL = re.compile(r"label|categor|class|intent|topic|sentiment|emotion|类|标签", re.IGNORECASE)
_LANGUAGE = re.compile(r"^[a-z]{2}([_-][A-Za-z]{2,4})?$")
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_FEW = 50  # distinct values that make a column one of labels
_MODEL = "glm-4-flash-250414"
_COMMENTS_AT = 36  # where they begin on a line


class Seen(msgspec.Struct):
    """What the first rows have in one column."""

    name: str
    values: list[Any]  # without nulls

    @property
    def is_text(self) -> bool:
        return bool(self.values) and all(isinstance(value, str) for value in self.values)

    @property
    def is_list(self) -> bool:
        return bool(self.values) and all(isinstance(value, list) for value in self.values)

    @property
    def mean_length(self) -> float:
        return sum(map(len, self.values)) / len(self.values) if self.is_text else 0.0

    @property
    def distinct(self) -> int:
        return len(set(map(repr, self.values)))


def look(path: Path) -> list[Seen]:
    """The columns of a data file; raises `UsageError` if it has no documents."""
    columns: dict[str, Seen] = {}
    for raw in islice(open_source(path).scan(), _LOOKED_AT):
        for name, value in (raw.values or {}).items():
            column = columns.setdefault(name, Seen(name, []))
            if value is not None:
                column.values.append(value)
    if not columns:
        raise UsageError(f"{path}: holds no rows with columns; expected at least one")
    if {"messages", "prompt", "body"} & set(columns):
        raise UsageError(
            f"{path}: its rows are requests already; run it as it is: batchkit run {path}"
        )
    return list(columns.values())


def new_job(kind: str, data: Path, beside: Path) -> str:
    """The text of a job file for `data`, which will stand in the folder `beside`.

    Raises `UsageError` for a file without a column of text.
    """
    columns = look(data)
    text = _text_column(columns, kind)
    if text is None:
        names = shown_names([column.name for column in columns])
        raise UsageError(f"{data}: has no column of text; the columns are {names}")
    kept = _kept(kind, columns, text)
    write = {"classify": _classify, "extract": _extract, "translate": _translate}[kind]
    lines = [*_head(data, beside, columns, kept), *write(text, kept), *_TAIL]
    return "".join(f"{line}\n" for line in lines)


def _head(data: Path, beside: Path, columns: Sequence[Seen], kept: Sequence[Seen]) -> list[str]:
    identity = _id_column(columns)
    rest = [column.name for column in columns if column.name != identity]
    has_id = f"id     = {_quoted(identity)}" if identity is not None else '# id   = "…"'
    return [
        f"# Columns: {_comment(', '.join(rest))}",
        _line(f"input  = {_quoted(_relative(data, beside))}", "relative to this file"),
        _line(has_id, "unique; without it ids are row-<n>"),
        _line(
            f"keep   = {_array(column.name for column in kept)}",
            "come back in the results, are never sent",
        ),
        _line(f'model  = "{_MODEL}"', "batchkit models lists them, batchkit plan prices them"),
        _line('tier   = "V0"', "the account's level"),
    ]


def _classify(text: Seen, kept: Sequence[Seen]) -> list[str]:
    label = kept[0] if kept else None
    named = 'values = ["one", "another"]' if label is None else f"column = {_quoted(label.name)}"
    multiple = str(label is not None and label.is_list).lower()
    return [
        *_prompt("You sort texts. Take the label that fits best.", text),
        "",
        _line("[labels]", "the answer must be one of them"),
        _line(named, 'of the input; or values = ["…", "…"], or file = "labels.txt"'),
        _line(f"multiple = {multiple}", "true: any number of them"),
        *_score(None if label is None else _quoted(label.name)),
        *_params(max_tokens=64),
    ]


def _extract(text: Seen, kept: Sequence[Seen]) -> list[str]:
    properties: Mapping[str, Any] = {column.name: _schema_of(column) for column in kept} or {
        "title": {"type": ["string", "null"]},
        "date": {"type": ["string", "null"], "format": "date"},
    }
    gold = ", ".join(f"{_key(one.name)} = {_quoted(one.name)}" for one in kept)
    return [
        *_prompt("You read fields from a text. A field that it does not show is null.", text),
        "",
        "[output]",
        _line("repair = 2", "extra tries in which the model is told what was wrong"),
        "",
        _line("[output.schema]", "JSON Schema; becomes the typed column `output`"),
        'type = "object"',
        f"required = {_array(properties)}",
        "additionalProperties = false",
        "",
        "[output.schema.properties]",
        *(f"{_key(name)} = {_inline(value)}" for name, value in properties.items()),
        *_score(f"{{ {gold} }}" if gold else None),
        *_params(max_tokens=512),
    ]


def _translate(text: Seen, kept: Sequence[Seen]) -> list[str]:
    target = kept[0].name.replace("_", "-") if kept else "zh-CN"
    return [
        *_prompt(
            "Translate the text into {{ translate.target }}. Answer with the translation alone.",
            text,
        ),
        "",
        _line("[translate]", "numbers, links, tags and placeholders must be kept"),
        f"text   = {_quoted(text.name)}",
        f"target = {_quoted(target)}",
        _line('# glossary = "terms.tsv"', "for {{ translate.glossary }} in the prompt"),
        *_score(_quoted(kept[0].name) if kept else None),
        *_params(),
    ]


_TAIL = [
    "",
    "[limits]",
    '# budget = "1.00"                   # in the model\'s currency; never exceeded',
    "# concurrency = 20                  # requests in flight; default: the tier's",
]


def _line(words: str, comment: str) -> str:
    return f"{words:<{_COMMENTS_AT - 2}}  # {comment}"


def _prompt(system: str, text: Seen) -> list[str]:
    head = _line("[prompt]", "Jinja2 templates over the columns of a row")
    return ["", head, f"system = {_quoted(system)}", f"user   = {_quoted(_placed(text.name))}"]


def _params(**rest: int) -> list[str]:
    return [
        "",
        "[params]",
        "temperature = 0",
        *(f"{name} = {value}" for name, value in rest.items()),
    ]


def _score(gold: str | None) -> list[str]:
    if gold is None:
        return []
    return ["", _line("[score]", "batchkit score DIR"), f"gold = {gold}"]


def _kept(kind: str, columns: Sequence[Seen], text: Seen) -> list[Seen]:
    """The columns with what an answer should be."""
    rest = [c for c in columns if c.name not in {text.name, _id_column(columns)} and c.values]
    if kind == "classify":
        label = _label_column(rest)
        return [] if label is None else [label]
    if kind == "translate":
        return [c for c in rest if _LANGUAGE.match(c.name) and c.is_text][:1]
    return [c for c in rest if not c.is_list and not isinstance(c.values[0], dict)]


def _id_column(columns: Sequence[Seen]) -> str | None:
    for column in columns:
        is_unique = column.distinct == len(column.values) > 0
        if _ID.search(column.name) and is_unique:
            return column.name
    return None


def _text_column(columns: Sequence[Seen], kind: str) -> Seen | None:
    identity = _id_column(columns)
    texts = [column for column in columns if column.is_text and column.name != identity]
    if kind == "translate":
        languages = [column for column in texts if _LANGUAGE.match(column.name)]
        texts = languages[:1] or texts
    return max(texts, key=lambda column: column.mean_length, default=None)


def _label_column(columns: Sequence[Seen]) -> Seen | None:
    """By its name, else by how few distinct values it has."""
    likely = [column for column in columns if column.is_text or column.is_list]
    named = [column for column in likely if _LABEL.search(column.name)]
    few = [c for c in likely if c.is_text and c.distinct <= min(_FEW, len(c.values) // 2)]
    return next(iter([*named, *few]), None)


def _schema_of(column: Seen) -> dict[str, Any]:
    kinds = {type(value) for value in column.values}
    if kinds == {bool}:
        return {"type": ["boolean", "null"]}
    if kinds == {int}:
        return {"type": ["integer", "null"]}
    if kinds <= {int, float}:
        return {"type": ["number", "null"]}
    if kinds == {str} and all(_DATE.match(value) for value in column.values):
        return {"type": ["string", "null"], "format": "date"}
    return {"type": ["string", "null"]}


def _relative(data: Path, beside: Path) -> str:
    """`data` as a job file in `beside` names it."""
    return Path(os.path.relpath(data.resolve(), beside.resolve())).as_posix()


def _placed(name: str) -> str:
    """A template that puts a column's value."""
    return f"{{{{ {name} }}}}" if _NAME.match(name) else f"{{{{ row[{_quoted(name)}] }}}}"


def _quoted(text: str) -> str:
    """A TOML basic string; its escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _array(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _inline(value: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items()) + " }"


def _comment(text: str) -> str:
    """Text that stays on the line of a comment."""
    return "".join(one if one.isprintable() else "�" for one in text)

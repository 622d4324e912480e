"""What a job file may say of documents, and what is refused with its place and a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit.document_job import GroupSection, JoinSection, SplitSection
from batchkit.errors import UsageError
from batchkit.spec import Spec, load_spec

HEAD = 'input = "a.jsonl"\nmodel = "glm-4-plus"\n'
PROMPT = '[prompt]\nuser = "{{ text }}"\n'
SPLIT = '[split]\ncolumn = "text"\n'
SCHEMA = '[output]\nschema = { type = "object" }\n'


def load(here: Path, *parts: str) -> Spec:
    path = here / "job.toml"
    path.write_text(HEAD + "".join(parts))
    return load_spec(path)


def test_a_job_without_these_sections_asks_what_it_asked(tmp_path: Path) -> None:
    spec = load(tmp_path, PROMPT)
    assert spec.documents.is_plain
    assert list(spec.asks()) == ["id", "keep", "model", "prompt", "params", "schema"]


def test_every_key_counts(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        PROMPT,
        '[group]\nby = "doc"\n',
        '[split]\ncolumn = "text"\nby = "sentence"\ntokens = 30\noverlap = 2\n',
        '[join]\nsystem = "S"\nuser = "{{ answers }}"\n',
    )
    assert spec.documents.group == GroupSection(by="doc")
    assert spec.documents.split == SplitSection(column="text", by="sentence", tokens=30, overlap=2)
    assert spec.documents.join == JoinSection(user="{{ answers }}", system="S")
    assert spec.id_column == "doc"


def test_a_text_is_joined_in_order_unless_said_otherwise(tmp_path: Path) -> None:
    spec = load(tmp_path, PROMPT, SPLIT)
    assert spec.documents.join == JoinSection(by="order")
    assert spec.documents.split == SplitSection(column="text", by="paragraph")


def test_a_groups_id_is_its_value_unless_a_column_is_named(tmp_path: Path) -> None:
    assert load(tmp_path, PROMPT, '[group]\nby = "doc"\n').id_column == "doc"
    assert load(tmp_path, 'id = "x"\n', PROMPT, '[group]\nby = "doc"\n').id_column == "x"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            (PROMPT, SPLIT, 'by = "page"\n'),
            "split.by: expected one of heading, paragraph, sentence, got 'page'",
        ),
        ((PROMPT, SPLIT, "tokens = 0\n"), "split.tokens: expected at least 1, got 0"),
        ((PROMPT, SPLIT, "overlap = -1\n"), "split.overlap: expected at least 0, got -1"),
        (
            (PROMPT, SPLIT, "tokens = 50\noverlap = 50\n"),
            "split.overlap: 50 is not less than split.tokens, 50: a chunk would hold nothing new",
        ),
        ((SPLIT,), "split: needs [prompt]: rows that are requests stay as they are"),
        (
            ('[group]\nby = "d"\n',),
            "group: needs [prompt]: rows that are requests stay as they are",
        ),
        (
            (PROMPT, '[join]\nby = "order"\n'),
            "join: there is nothing to join without [split]",
        ),
        (
            (PROMPT, SPLIT, '[join]\nby = "last"\n'),
            "join.by: expected one of order, first, union, got 'last'",
        ),
        (
            (PROMPT, SPLIT, '[join]\nby = "order"\nuser = "x"\n'),
            "join: expected either by or user (a prompt over the answers)",
        ),
        (
            (PROMPT, SPLIT, "[join]\n"),
            "join: expected either by or user (a prompt over the answers)",
        ),
        (
            (PROMPT, SPLIT, '[join]\nby = "order"\nsystem = "x"\n'),
            "join.system: goes with join.user only",
        ),
        (
            (PROMPT, SPLIT, '[join]\nby = "order"\n', SCHEMA),
            (
                'join.by: "order" joins texts, but output.schema or labels ask for fields; '
                'expected "first" or "union"'
            ),
        ),
        (
            (PROMPT, SPLIT, '[join]\nby = "union"\n'),
            'join.by: "union" joins fields; give output.schema or labels, or say "order"',
        ),
        (
            (PROMPT, SPLIT, SCHEMA),
            (
                'join: is missing; with output.schema or labels say by = "first" or by = "union", '
                "or give a prompt (user)"
            ),
        ),
        ((PROMPT, "[output]\nvotes = 1\n"), "output.votes: expected 2 to 99, got 1"),
        (
            (PROMPT, SPLIT, "[output]\nvotes = 3\n"),
            "output.votes: does not go with [split]; vote on rows of one request",
        ),
        (
            (PROMPT, SPLIT, "size = 3\n"),
            "unknown key 'split.size'; known keys: column, by, tokens, overlap",
        ),
        ((PROMPT, '[split]\nby = "sentence"\n'), "split: object missing required field column"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, parts: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, *parts)
    assert str(caught.value) == f"{tmp_path / 'job.toml'}: {message}"

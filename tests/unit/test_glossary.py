"""Which terms stand in a text, and which line of a glossary is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.errors import UsageError
from batchkit.glossary import MOST, Glossary

PLACE = "job.toml: translate.glossary"
NO_TERM = "is no term; expected 1 to 500 characters on a line"
Load = Callable[..., Glossary]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def load(text: str | bytes, name: str = "t.tsv") -> Glossary:
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return Glossary(Path(name), PLACE)

    return load


def terms(load: Load, *sources: str) -> Glossary:
    return load("".join(f"{source}\t{n}\n" for n, source in enumerate(sources)))


def found(glossary: Glossary, text: str) -> list[str]:
    return [term.source for term in glossary.matching(text)]


def test_a_term_stands_where_words_begin_and_end_whatever_its_case(load: Load) -> None:
    glossary = terms(load, "art", "New York", "C++", "étude")
    assert found(glossary, "Party start. ART-house in NEW  YORK\ncity") == ["art", "New York"]
    assert found(glossary, "partly, arts, York; C++17? no, C++ and ÉTUDE.") == ["C++", "étude"]
    assert found(glossary, "ａｒｔ的new york人") == ["art", "New York"]


def test_a_term_without_spaces_around_it_in_its_script_stands_anywhere(load: Load) -> None:
    glossary = terms(load, "银行", "GPU", "東京", "은행")
    assert found(glossary, "在银行里用GPU卡；东京不是東京都。 은행에서") == [
        "银行",
        "GPU",
        "東京",
        "은행",
    ]


def test_of_terms_that_overlap_the_first_and_longest_counts(load: Load) -> None:
    glossary = terms(load, "York", "New York", "New York Times", "Times Square", "行长", "银行行长")
    assert found(glossary, "the New York Times Square of York") == ["New York Times", "York"]
    assert found(glossary, "银行行长和行长") == ["银行行长", "行长"]
    assert found(terms(load, "a b", "b c d", "ca"), "xa b, b c d") == ["b c d"]


def test_a_term_goes_into_the_prompt_once_and_no_more_than_some_do(load: Load) -> None:
    glossary = terms(load, *(f"t{n}" for n in range(2 * MOST)))
    text = " ".join(f"t{n} t0" for n in range(2 * MOST))
    assert found(glossary, text) == [f"t{n}" for n in range(MOST)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", 'source\ttarget\tnote\na "b\t甲\tx\n\n c \t丙 \n'),
        ("t.tsv", '\ufeffa "b\t甲\r\nc\t丙\r\n'),
        ("t.csv", 'Source,Target\n"a ""b",甲\nc,丙,\n'),
        (
            "t.jsonl",
            '{"source": "a \\"b", "target": "甲", "x": 1}\n\n{"source": "c", "target": "丙"}',
        ),
    ],
)
def test_every_kind_of_file_holds_the_same_terms(load: Load, name: str, text: str) -> None:
    assert [tuple(term) for term in load(text, name).matching('c, a "b')] == [
        ("c", "丙"),
        ('a "b', "甲"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("t.tsv", "a\tb\nc\n", "t.tsv:2: expected two columns, source and target, got 1"),
        ("t.tsv", "a\tb\n\tc\n", f"t.tsv:2: '' {NO_TERM}"),
        ("t.tsv", "a\t \n", f"t.tsv:1: '' {NO_TERM}"),
        ("t.tsv", "Ａ\tb\nx\ty\na\tc\n", "t.tsv:3: 'a' was given before, on line 1; keep one"),
        ("t.csv", 'a,b\n"c,d\n', "t.csv:2: not CSV: unexpected end of data"),
        ("t.csv", '"b\nc",a\n', f"t.csv:2: 'b\\nc' {NO_TERM}"),
        ("t.jsonl", "{}\n", 't.jsonl:1: expected {"source": …, "target": …}, got an object'),
        ("t.jsonl", '\n{"source": 1, "target": "b"}', "t.jsonl:2: expected text, got a number"),
        ("t.jsonl", "[", "t.jsonl:1: not JSON: input data was truncated"),
        ("t.txt", "a", f"{PLACE}: t.txt is no glossary; expected .tsv, .csv or .jsonl"),
        ("t.tsv", "\n", f"{PLACE}: t.tsv holds no term"),
        ("t.tsv", b"\xe9\tb", f"{PLACE}: t.tsv cannot be read: not UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(load: Load, name: str, text: str | bytes, fault: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(text, name)
    assert str(caught.value) == fault


def test_a_file_that_is_not_there_is_named(load: Load) -> None:
    with pytest.raises(UsageError, match=r"no\.tsv cannot be read: no such file or directory"):
        Glossary(Path("no.tsv"), PLACE)


WORDS = st.text(st.sampled_from("ab 银行"), min_size=1, max_size=4).filter(str.strip)


@given(st.lists(WORDS, min_size=1, max_size=8), st.text(st.sampled_from("ab 银行."), max_size=30))
def test_a_term_between_spaces_is_found_unless_a_longer_one_covers_it(
    tmp_path_factory: pytest.TempPathFactory, sources: list[str], text: str
) -> None:
    distinct = {" ".join(source.split()): None for source in sources}
    path = tmp_path_factory.getbasetemp() / "p.jsonl"
    path.write_text("\n".join(json.dumps({"source": s, "target": "x"}) for s in distinct), "utf-8")
    glossary = Glossary(path, "p")
    for source in distinct:
        assert found(glossary, f". {source} .") == [source]
    assert set(found(glossary, text)) <= set(distinct)

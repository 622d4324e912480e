"""A translation that lost something is told so, one that only reads otherwise is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.fidelity import Fidelity, Kind
from batchkit.schema import Invalid

JOBS = Path(__file__).parents[2] / "jobs"
ALL = Fidelity(list(Kind))


def lost(source: str, answer: str) -> str | None:
    found = ALL.read(answer, source)
    return (
        found.reason.removeprefix("of the source it lacks ") if isinstance(found, Invalid) else None
    )


@pytest.mark.parametrize(
    ("source", "answer", "fault"),
    [
        ("Hello {name}!", "你好！", "'{name}'"),
        ("Hello {name}!", "你好，{姓名}！", "'{name}'"),
        ("{{ user }} has %d files", "{{user}} 有文件", "'%d'"),
        ("${a} and ${a}", "${a} 和", "'${a}'"),
        ("%(count)s of %1$s", "%(count)s 之", "'%1$s'"),
        ("{0:.2f} and {1!r}", "{0:.2f}", "'{1!r}'"),
        ("See https://a.example/x?y=1.", "见链接。", "'https://a.example/x?y=1'"),
        ("Write to a.b@c.example.", "请来信。", "'a.b@c.example'"),
        ("<b>Go</b><br>", "<b>去<br>", "'</b>'"),
        ("## Head\n\n```\nx\n```", "标题\n\n```\nx\n```", "'##'"),
        ("It cost 1,234 euros.", "花了1243欧元。", "'1,234'"),
        ("In 2018 it was 3.141.", "当时是3.141。", "'2018'"),
        ("Lists: 101,202,303", "101、202", "'101,202,303'"),
        ("16,700 people", "16701人", "'16,700'"),
        ("One.\n\nTwo.\n \nThree.", "一。二。\n三。", "1 of 3 paragraphs"),
        ("{a} {b} {c} {d} {e} {f}", "无", "'{a}', '{b}', '{c}', '{d}', '{e}' and 1 more"),
    ],
)
def test_what_was_lost_is_named(source: str, answer: str, fault: str) -> None:
    assert lost(source, answer) == fault


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("Hello {name}, {{ n }} new", "{name}，您好，{{n}} 条新消息"),
        ("a 50% discount", "打五折"),
        ("100%sure and 5 % more", "百分之百确定"),
        ("%s files", "%sfichiers"),
        ("Visit https://a.example/b now", "请访问https://a.example/b。"),
        ("<a href='x' title='Home'>Home</a><br>", '<a href="x" title="首页">首页</a><br/>'),
        ("1,234,000 people", "123.4万人"),
        ("1.05 billion", "10亿5000万"),
        ("$1,200,000", "一百二十万美元"),
        ("on 12/25/2018 at 17:30", "2018年12月25日下午5:30"),
        ("am 25.12. um 17.30 Uhr", "12月25日下午5点半"),
        ("the 1990s and 1980", "二十世纪九十年代和八十年代"),
        ("a dozen, 12, 17 and 100", "一打、十二、十七和一百"),
        ("100,200,300 are sums", "100、200、300都是和"),
        ("COVID-19 in 2020", "2020年的新冠肺炎"),
        ("One.\n\nTwo.", "一。\n二。"),
        ("a < b and c > d", "a 小于 b"),
        ("", "空"),
        ("see {this or that}", "见此"),
    ],
)
def test_what_only_reads_otherwise_is_no_loss(source: str, answer: str) -> None:
    assert lost(source, answer) is None


@pytest.mark.parametrize("answer", [None, "", " \n"])
def test_nothing_is_no_translation(answer: str | None) -> None:
    assert ALL.read(answer, "x") == Invalid("it is empty")


def test_only_the_kinds_that_are_asked_for_are_looked_at() -> None:
    urls = Fidelity([Kind.URLS])
    assert urls.read("x", "{a} 1,234 <b>") is None
    assert urls.read("x", "http://a.example") == Invalid(
        "of the source it lacks 'http://a.example'"
    )


def test_the_instruction_names_what_is_kept_in_one_order() -> None:
    one, other = Fidelity([Kind.URLS, Kind.NUMBERS]), Fidelity([Kind.NUMBERS, Kind.URLS])
    assert one.instruction == other.instruction
    assert one.instruction.startswith("Keep of the text as they are: numbers, URLs and e-mail ")


def test_what_people_translated_is_no_loss_in_either_direction() -> None:
    lines = (JOBS / "translate_news/ntrex.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 324
    assert [row["id"] for row in rows if lost(row["en"], row["zh_CN"])] == []
    assert [row["id"] for row in rows if lost(row["zh_CN"], row["en"])] == []


@given(st.text(max_size=300))
def test_a_text_keeps_all_of_itself(text: str) -> None:
    assert lost(text, text) in (None, "it is empty")


@pytest.mark.parametrize(
    "part", ["a", "1,", "<a ", "{", "%", "http://", "a@", "\n", "\n ", "```\n"]
)
def test_a_text_of_megabytes_takes_no_time_to_speak_of(part: str) -> None:
    """Quadratic work would take minutes, and the test's time would be up."""
    text = part * (300_000 // len(part))
    assert lost(text, "x\n" + text) is None

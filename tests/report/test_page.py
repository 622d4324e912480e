"""The report in a browser: nothing runs or loads, hostile texts are texts, the search finds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from batchkit.errors import ErrorKind
from batchkit.folder import write_json
from batchkit.journal import Settled
from batchkit.report.writing import write_report
from batchkit.scores import Measure
from tests.report.conftest import Visit
from tests.report.made import make_run
from tests.report.test_reading import SCORE
from tests.samples import NOON, new_attempt, new_result

pytest.importorskip("vl_convert")
pytestmark = pytest.mark.timeout(180)  # a browser starts slowly on a busy machine

Open = Callable[..., Visit]

HOSTILE = [
    "<script>window.hit = 1; document.title = 'hit'</script>",
    "</script></style></title></textarea><script>window.hit = 2</script>",
    "<img src=https://example.com/x.png onerror='window.hit = 3'>",
    "<svg onload='window.hit = 4'><use href='https://example.com/y.svg#a'/></svg>",
    '"><iframe srcdoc="<script>parent.hit = 5</script>"></iframe>',
    "{{ 7 * 7 }}{% raw %}<link rel=stylesheet href=https://example.com/z.css>",
    "<!--",
    "]]>&lt;b&gt; javascript:window.hit=6",
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which every text that comes from outside is hostile."""
    settled = []
    for row, text in enumerate(HOSTILE):
        failed = row % 2
        kind = ErrorKind.INVALID_REQUEST if failed else None
        result = new_result(
            row, custom_id=text, content=text, metadata=f'{{"label": "{row}"}}', model=text.lower(),
            status="failed" if failed else "ok", error_kind=kind,
            error_code=text if failed else None, error_message=text if failed else None,
            finish_reason=text, response_model=text,
        )  # fmt: skip
        attempt = new_attempt(
            row, custom_id=text, model=text.lower(), started_at=NOON + row, error_kind=kind,
            error_code=text if failed else None,
        )  # fmt: skip
        settled.append(Settled(result, attempt))
    folder = make_run(tmp_path_factory.mktemp("hostile") / "<b>run", settled)
    score = structs.replace(SCORE, gold=dict.fromkeys(HOSTILE, "<b>"), measures=dict.fromkeys(
        HOSTILE, Measure(0.5, 0.4, 0.6)))  # fmt: skip
    write_json(folder / "score.json", score)
    return write_report(folder, "<i>0</i>")


def test_nothing_runs_and_nothing_is_loaded(hostile: Path, visit: Open) -> None:
    seen = visit(hostile)
    page = seen.page
    assert page.evaluate("window.hit") is None
    assert seen.requests == [hostile.as_uri()]
    assert seen.said == []
    kinds = page.evaluate(
        "[...new Set([...document.querySelectorAll('*')].map((e) => e.localName))]"
        ".filter((n) => ['script', 'img', 'iframe', 'link', 'use', 'b', 'i'].includes(n))"
    )
    assert kinds == ["script"]
    assert page.locator("script").count() == 1


def test_hostile_texts_are_shown_as_they_are(hostile: Path, visit: Open) -> None:
    rows = visit(hostile).page.locator("#rows tbody tr")
    assert rows.count() == len(HOSTILE)
    for row, text in enumerate(HOSTILE):
        assert text in (rows.nth(row).text_content() or "")


def test_an_inline_handler_or_script_of_another_would_not_run(hostile: Path, visit: Open) -> None:
    """Were a text to become markup after all, the page's policy would still stop it."""
    seen = visit(hostile)
    seen.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        ' \'<img src="https://example.com/a.png" onerror="window.hit = 1">\''
        " + '<iframe src=\"https://example.com/\"></iframe>')"
    )
    seen.page.evaluate(
        "document.body.appendChild(Object.assign(document.createElement('script'),"
        " {textContent: 'window.hit = 2'})) && 0"
    )
    assert seen.page.evaluate("window.hit") is None
    assert seen.sent == [hostile.as_uri()]
    assert len(seen.said) >= 3
    assert all("Content Security Policy" in line for line in seen.said)


ODD = {
    "x" * 1_000_000: "x" * 600 + "… (1,000,000 characters)",
    "\u202egnp.exe\u202c": "[U+202E]gnp.exe[U+202C]",
    "nul \x00 and bell \x07": "nul [U+0000] and bell [U+0007]",
    "half \ud83d of a pair": "half ? of a pair",  # as parts keep it: Arrow is UTF-8
    "中文，没有问题。\n第二行 😀": "中文，没有问题。\n第二行 😀",
}


def test_texts_that_are_long_or_odd_are_cut_or_spelled_out(tmp_path: Path, visit: Open) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in ODD]
    settled = [
        Settled(new_result(row, content=text), new_attempt(row)) for row, text in enumerate(texts)
    ]
    path = write_report(make_run(tmp_path / "run", settled), "0")
    cells = visit(path).page.locator("#rows .text:not(.given)").all_text_contents()
    assert cells == list(ODD.values())
    assert path.stat().st_size < 200_000


def test_the_search_shows_the_rows_that_have_every_word(tmp_path: Path, visit: Open) -> None:
    answers = ["a red apple", "a green apple", "苹果是红色的", "nothing"]
    settled = [
        Settled(new_result(row, content=text), new_attempt(row)) for row, text in enumerate(answers)
    ]
    page = visit(write_report(make_run(tmp_path / "run", settled), "0")).page

    def shown() -> list[str]:
        rows = page.locator("#rows tbody tr:visible").all()
        return [(row.locator(".text").text_content() or "") for row in rows]

    for words, found in (
        ("apple", answers[:2]),
        ("APPLE  red", answers[:1]),
        ("苹果", answers[2:3]),
        ("absent", []),
        ("", answers),
    ):
        page.fill("#search", words)
        assert shown() == found
    assert page.locator("#found").text_content() == "4 of 4 shown"


def test_without_scripts_the_rows_are_there_and_the_search_is_not(
    tmp_path: Path, visit: Open
) -> None:
    path = write_report(make_run(tmp_path / "run", [Settled(new_result(0), new_attempt(0))]), "0")
    page = visit(path, java_script_enabled=False).page
    assert page.locator("#rows tbody tr").count() == 1
    assert not page.locator("#search").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_it_fits_and_can_be_read(scheme: str, width: int, hostile: Path, visit: Open) -> None:
    """No sideways scrolling, and text that stands out from its ground (WCAG 2.2, 1.4.3)."""
    page = visit(hostile, color_scheme=scheme, viewport={"width": width, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_LEAST_CONTRAST) >= 4.5


_LEAST_CONTRAST = """() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!c.endsWith(', 0)')) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  let least = 21;
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.localName === 'script') continue;
    const style = getComputedStyle(e);
    const ink = e.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
    least = Math.min(least, (a + 0.05) / (b + 0.05));
  }
  return least;
}"""


def test_on_paper_it_is_light_and_whole(hostile: Path, visit: Open) -> None:
    page = visit(hostile, color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")


def test_every_drawing_says_in_words_what_it_shows(hostile: Path, visit: Open) -> None:
    drawn = visit(hostile).page.evaluate(
        "[...document.querySelectorAll('figure svg')].map((s) => "
        "[s.getAttribute('role'), s.getAttribute('aria-label')])"
    )
    assert {role for role, _ in drawn} == {"img"}
    told = [label for _, label in drawn]
    assert "Answers per second. 8 answers and 0 refusals in 8 s." in told
    (latency,) = [label for label in told if label.startswith("Latency of answers")]
    assert re.fullmatch(r"Latency of answers\. 8 values: p50 0\.\d+ s, p90 .+, p99 .+\.", latency)

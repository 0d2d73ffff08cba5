"""report.html: self-contained, safe against model-written text, and working in a real browser."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l2s.arms import MODELS
from l2s.jsonl import Row, load_jsonl
from l2s.report import stage
from l2s.report.page.html import embed_json, pack
from l2s.run_dir import RunDir
from support.chromium import CHROMIUM, Page, open_page
from support.synthetic_run import HOSTILE, make_run

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: the page is not opened")
PHONE, DESKTOP = 390, 1280


@pytest.fixture(scope="module")
def report(reported: RunDir) -> Path:
    return reported.evaluation / "report.html"


@pytest.fixture(scope="module")
def html(report: Path) -> str:
    return report.read_text(encoding="utf-8")


def test_350_items_of_5_models_stay_under_5_mb(html: str) -> None:
    items = unpack(html)
    assert len(items) == 350
    assert all(len(item["answers"]) == 5 for item in items)
    assert len(html.encode()) < 5_000_000


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^"']*""", without_namespaces(html))
    assert "@import" not in html
    assert "url(" not in re.sub(r"url\(#", "", html)
    assert "default-src 'none'" in html


def test_answers_are_in_the_page_only_packed(html: str) -> None:
    for text in HOSTILE:
        assert text not in html
    answers = {answer["response"] for item in unpack(html) for answer in item["answers"].values()}
    assert all(any(answer.startswith(text) for answer in answers) for text in HOSTILE)


def test_embedded_json_cannot_close_its_element() -> None:
    embedded = embed_json({"key": "</script><!--<script>"})
    assert "<" not in embedded
    assert json.loads(embedded) == {"key": "</script><!--<script>"}


def test_a_lone_surrogate_does_not_stop_the_report() -> None:
    packed = pack([{"id": "half \ud83d emoji"}])
    assert unpack(f'id="packed-items">{packed}<') == [{"id": "half ? emoji"}]


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4}, teacher_model="<script>alert(1)</script>")
    stage.run(config, run_dir)
    html = (run_dir.evaluation / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_filters_and_colours_are_those_of_the_models_present(html: str) -> None:
    pairs = {frozenset(pair) for pair in re.findall(r'<option value="over (\w+) (\w+)"', html)}
    trained = ("student_sft", "student_kd", "student_opd")
    assert pairs == {frozenset(pair) for pair in itertools.combinations(trained, 2)}
    assert '<option value="over student_kd student_sft">KD right where SFT wrong</option>' in html
    assert all(f"--{model.name}: light-dark({', '.join(model.page_colours)});" in html for model in MODELS.values())


def test_no_filter_names_an_arm_that_was_not_run(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4}, models=("student_base", "student_kd"))
    stage.run(config, run_dir)
    assert 'value="over ' not in (run_dir.evaluation / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_page(tmp_path_factory.mktemp("profile")) as page:
        page.open(report)
        yield page


@pytest.fixture
def fresh(page: Page, report: Path) -> Page:
    page.open(report, width=DESKTOP)
    return page


@needs_chromium
def test_the_page_opens_quietly_and_asks_for_nothing_but_itself(fresh: Page, report: Path) -> None:
    assert fresh.messages == []
    assert set(fresh.requests) <= {report.resolve().as_uri(), "about:blank"}
    assert fresh.evaluate("document.querySelectorAll('.entry').length") == 350


@needs_chromium
def test_what_models_wrote_is_shown_as_text_and_never_runs(fresh: Page) -> None:
    shown = fresh.evaluate(
        "state.shown.map((_, index) => { select(index); return byId('item').textContent; }).join('\\n')"
    )
    assert "</script><script>document.title='owned'</script>" in shown
    assert "<img src=x onerror=" in shown
    assert "⟨U+202E⟩ reversed" in shown
    assert "\u202e" not in shown
    assert fresh.evaluate("document.querySelectorAll('#item script, #item img, #item b').length") == 0
    assert "owned" not in fresh.evaluate("document.title")
    assert fresh.messages == []


@needs_chromium
@pytest.mark.parametrize(
    ("better", "worse"),
    [("student_kd", "student_sft"), ("student_sft", "student_kd"), ("student_opd", "student_kd")],
)
def test_right_where_the_other_is_wrong(fresh: Page, reported: RunDir, better: str, worse: str) -> None:
    right, wrong = (
        {row["id"] for row in load_jsonl(reported.predictions(model)) if (row["score"] >= 0.5) is is_right}
        for model, is_right in ((better, True), (worse, False))
    )
    choose(fresh, "filter", f"over {better} {worse}")
    assert set(shown_ids(fresh)) == right & wrong
    assert shown_ids(fresh)


@needs_chromium
def test_the_truncated_filter_and_the_domain_filter_work_together(fresh: Page, reported: RunDir) -> None:
    cut = {
        row["id"]
        for model in ("teacher", "student_base", "student_sft", "student_kd", "student_opd")
        for row in load_jsonl(reported.predictions(model))
        if row["domain"] == "aiops" and (row["finish_reason"] == "length" or row["status"] == "truncated")
    }
    assert any(row["status"] == "truncated" and row["finish_reason"] == "stop" for row in aiops_rows(reported))
    choose(fresh, "filter", "filter_truncated")
    choose(fresh, "domain", "aiops")
    assert set(shown_ids(fresh)) == cut
    assert fresh.evaluate("byId('count').textContent") == f"Items: {len(cut)} of 350"


@needs_chromium
def test_search_looks_into_prompts_and_answers(fresh: Page) -> None:
    search(fresh, "WORD17_3 question")
    assert shown_ids(fresh) == ["math-17", "code-17", "aiops-17"]
    search(fresh, "no such words anywhere")
    assert shown_ids(fresh) == []
    assert "No item matches" in fresh.evaluate("byId('item').textContent")


@needs_chromium
def test_the_keyboard_moves_through_items_and_into_the_search(fresh: Page) -> None:
    fresh.press("j", "j")
    fresh.press("j", "j")
    fresh.press("k", "k")
    assert fresh.evaluate("document.querySelector('[aria-selected=true]').firstChild.textContent") == "math-1"
    fresh.press("/", "/")
    assert fresh.evaluate("document.activeElement.id") == "search"
    fresh.press("j", "j")
    assert fresh.evaluate("byId('search').value") == "j"
    fresh.press("Escape")
    assert fresh.evaluate("document.activeElement.id") != "search"


@needs_chromium
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_its_window_in_light_and_dark(page: Page, report: Path, width: int, dark: bool) -> None:
    page.open(report, width=width, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(re.findall(r"\d+", background)[0])
    assert (red < 60) is dark


@needs_chromium
def test_the_page_speaks_chinese(page: Page, tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4, "aiops": 4}, lang="zh")
    stage.run(config, run_dir)
    page.open(run_dir.evaluation / "report.html")
    assert page.evaluate("document.documentElement.lang") == "zh"
    assert page.evaluate("byId('count').textContent") == "8 题中的 8 题"
    assert "教师" in page.evaluate("byId('item').textContent")
    badges = page.evaluate("[...document.querySelectorAll('.badge')].map((badge) => badge.textContent)")
    assert all(badge.split(" · ")[0] in ("正确", "错误", "无答案", "被截断") for badge in badges), badges


def aiops_rows(run_dir: RunDir) -> list[Row]:
    return [row for row in load_jsonl(run_dir.predictions("teacher")) if row["domain"] == "aiops"]


def unpack(html: str) -> Any:
    found = re.search(r'id="packed-items">([^<]*)<', html)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found.group(1))))


def without_namespaces(html: str) -> str:
    return re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)


def choose(page: Page, field: str, value: str) -> None:
    page.evaluate(f"byId({field!r}).value = {value!r}; byId({field!r}).dispatchEvent(new Event('change'))")


def search(page: Page, words: str) -> None:
    page.evaluate(f"byId('search').value = {words!r}; byId('search').dispatchEvent(new Event('input'))")


def shown_ids(page: Page) -> Any:
    return page.evaluate("[...document.querySelectorAll('.entry')].map((row) => row.firstChild.textContent)")

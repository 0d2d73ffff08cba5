"""The Markdown, CSV, console and comparison texts, in both languages."""

from __future__ import annotations

import csv
import io
import json
import re
import string
from pathlib import Path

import pytest
from rich.console import Console

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.curation import Choice
from l2s.generation.tally import Tally
from l2s.jsonl import Row, write_jsonl
from l2s.report import stage
from l2s.report.text import formats
from l2s.report.text.chinese import CHINESE
from l2s.report.text.compare import compare_runs
from l2s.report.text.console import print_summary, summary_table
from l2s.report.text.english import ENGLISH
from l2s.report.text.markdown import escape
from l2s.report.text.sections import build_sections
from l2s.report.text.strings import Text
from l2s.report.text.warnings import say
from l2s.run_dir import RunDir
from l2s.signals.topk import TopkCheck
from l2s.tasks.table import TASKS
from l2s.warning import Warned
from support import synthetic_run
from support.synthetic_run import DISTANCE, load_results, make_run


@pytest.fixture(scope="module")
def markdown(reported: RunDir) -> str:
    return (reported.evaluation / "comparison_report.md").read_text(encoding="utf-8")


def test_the_report_has_every_chapter(markdown: str) -> None:
    headings = re.findall(r"^## (.+)$", markdown, flags=re.MULTILINE)
    assert headings == [
        "Verdict", "Warnings", "Scores", "Contrasts", "Fidelity to the teacher", "Training", "Cost", "Contamination",
        "Environment", "Configuration",
    ]  # fmt: skip


def test_a_share_of_the_change_is_said_beside_the_losses(reported: RunDir) -> None:
    results = load_results(reported)
    en, zh = (Text("en"), "KD: the evaluated student holds 50% of the change"), (Text("zh"), "KD：被评估的学生只保留")
    for text, said in (en, zh):
        for weight, is_said in ((0.5, True), (1.0, False), (None, False)):  # without: of an earlier version
            metrics = results["stages"]["kd"]["metrics"]
            metrics.pop("merge_weight", None)
            metrics |= {} if weight is None else {"merge_weight": weight}
            (training,) = (part for part in build_sections(results, text, []) if part.key == "curves")
            assert (said in training.blocks[0].note) == is_said
            assert "SFT: the" not in training.blocks[0].note


def test_figures_that_the_report_links_are_there(reported: RunDir, markdown: str) -> None:
    links = re.findall(r"!\[[^\]]*\]\((plots/[^)]+)\)", markdown)
    assert {"plots/scores_math.svg", "plots/fidelity_kl.svg", "plots/curve_kd.svg"} <= set(links)
    assert {f"plots/curve_{arm}_heldout.svg" for arm in ("sft", "kd")} <= set(links)
    assert "plots/curve_opd_heldout.svg" not in links
    for link in links:
        assert (reported.evaluation / link).read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_an_interval_stands_beside_every_score(markdown: str) -> None:
    table = markdown.split("## Scores")[1].split("###")[0]
    rows = [line for line in table.splitlines() if re.match(r"\| (math|code|AIOps)", line)]
    assert len(rows) == 4
    assert re.match(r"\| AIOps \(synthetic\) \[all required, n=100\] \|", rows[3])
    for row in rows:
        assert len(re.findall(r"\d+\.\d% \[\d+\.\d–\d+\.\d\]", row)) == 5


def test_only_detectable_differences_are_bold(markdown: str) -> None:
    table = markdown.split("## Contrasts")[1].split("###")[0]
    rows = [line for line in table.splitlines() if re.match(r"\| (math|code|AIOps)", line)]
    assert len(rows) == 18
    for row in rows:
        assert ("**" in row) is ("no detectable difference" not in row)


def test_every_contrast_says_what_it_could_have_shown(markdown: str) -> None:
    table = markdown.split("## Contrasts")[1].split("###")[0]
    assert len(re.findall(r"\| ±\d+\.\d \|", table)) == 18


def test_the_yield_of_the_teachers_answers_is_reported(markdown: str) -> None:
    assert "| Try 1 | 2,900 of 3,164 right |" in markdown
    assert "| Mean score of the answers kept on math (synthetic) | 80.0% |" in markdown


def test_a_student_of_opd_alone_is_compared_with_the_base(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 40}, models=("teacher", "student_base", "student_opd"))
    stage.run(config, run_dir)
    markdown = (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8")
    assert "**OPD against Base: math " in markdown
    assert "No trained student" not in markdown


@pytest.mark.parametrize(
    ("lang", "title"),
    [("en", "Training items that no answer of the teacher gets right"), ("zh", "教师没有一次答对的训练题")],
)
def test_items_that_no_answer_gets_right_are_named_by_domain(tmp_path: Path, lang: str, title: str) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 10, "aiops": 10}, models=("teacher",), lang=lang)
    missed = {"aiops": ["a|1", "<b>2</b>"], "math": [f"m{number}" for number in range(22)]}
    rows = [{"id": id_, "domain": domain} for domain, ids in missed.items() for id_ in ids]
    run_dir.sft.mkdir(exist_ok=True)
    write_jsonl(run_dir.never_right, rows)
    stage.run(config, run_dir)
    assert load_results(run_dir)["never_right"] == missed
    for report in ("comparison_report.md", "report.html"):
        assert title in (run_dir.evaluation / report).read_text(encoding="utf-8")
    shown = (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8").split(title)[1].split("###")[0]
    assert "sft/never_right.jsonl" in shown.replace("\\", "")
    lines = [line for line in shown.splitlines() if line.startswith("| ")]
    assert lines[2].endswith(f"| 22 | {', '.join(f'm{number}' for number in range(20))}, … |")
    assert "2 | a\\|1, &lt;b&gt;2&lt;/b&gt; |" in lines[3]


def test_answers_held_out_of_training_are_counted_with_their_loss(reported: RunDir, markdown: str) -> None:
    curve = load_results(reported)["heldout_curves"]["kd"]
    (row,) = [line for line in markdown.splitlines() if line.startswith("| KD | 3,100 |")]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[2] == "16"
    assert cells[-1] == f"{curve[0]['loss']:.3f} → {curve[-1]['loss']:.4f}"
    (opd,) = [line for line in markdown.splitlines() if line.startswith("| OPD | 3,100 |")]
    assert opd.endswith("| – |")


def test_the_words_do_not_claim_equality(markdown: str) -> None:
    assert not re.search(r"\b(equal|same performance|identical)\b", markdown)


def test_contamination_and_synthetic_sources_are_said_in_so_many_words(markdown: str) -> None:
    assert "The code score is contaminated: 30 of 50 evaluation items are in the training data" in markdown
    assert "| math (synthetic)" in markdown
    verdict = markdown.split("## Verdict")[1].split("##")[0]
    assert "code score is contaminated" in verdict


@pytest.mark.parametrize(
    ("lang", "farther", "as_close", "closer"),
    [
        ("en", "SFT is farther from the teacher's distribution than Base (mean KL",
         "KD and Base show no detectable difference",
         "KD is closer to the teacher's distribution than SFT"),
        ("zh", "SFT 学生比原始学生离教师的分布更远（平均 KL", "KD 学生与原始学生在接近教师的程度上未检出差异",
         "KD 学生比 SFT 学生更接近教师的分布"),
    ],
)  # fmt: skip
def test_a_student_that_training_took_no_closer_to_the_teacher_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lang: str, farther: str, as_close: str, closer: str
) -> None:
    monkeypatch.setattr(synthetic_run, "DISTANCE", DISTANCE | {"student_base": 0.2, "student_sft": 0.5})
    config, run_dir = make_run(tmp_path, models=("teacher", "student_base", "student_sft", "student_kd"), lang=lang)
    stage.run(config, run_dir)
    markdown = (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8")
    verdict = re.split("^## ", markdown, flags=re.MULTILINE)[1]
    for sentence in (farther, as_close, closer):
        assert sentence in verdict


def test_the_verdict_leads_with_what_the_student_gained_its_share_of_the_gap_its_size_and_speed(
    reported: RunDir, markdown: str
) -> None:
    results = load_results(reported)
    headline, lines = re.split("^## ", markdown, flags=re.MULTILINE)[1].strip().split("\n\n")[1:]
    (math,) = [found for found in results["comparisons"] if found["domain"] == "math"
               and (found["model"], found["reference"]) == ("student_opd", "student_base")]  # fmt: skip
    (gap,) = [
        found for found in results["gap_recovered"] if (found["domain"], found["model"]) == ("math", "student_opd")
    ]
    low, high = (formats.points(bound) for bound in math["ci95"])
    gain = f"math (synthetic) {formats.points(math['difference'])} points \\[{low}, {high}\\]"
    assert headline.startswith(f"**OPD against Base: {gain} ({gap['recovered']:.0%} of the teacher's lead)")
    assert headline.endswith("3.12 times smaller and 2.49 times as fast as the teacher.**")
    assert all(line.startswith("- ") for line in lines.splitlines())
    assert "OPD against Base" not in lines
    assert "KD against Base" in lines
    console = Console(width=400, file=io.StringIO(), record=True)
    print_summary(reported, console)
    plain = headline.strip("*").replace("\\", "")
    assert console.export_text().startswith(plain)
    assert f'<p class="headline">{plain}</p>'.replace("'", "&#39;") in (reported.evaluation / "report.html").read_text(
        encoding="utf-8"
    )


def test_that_the_students_came_closer_than_the_base_is_not_repeated(markdown: str) -> None:
    verdict = markdown.split("## Verdict")[1].split("##")[0]
    assert "KD is closer to the teacher's distribution than SFT" in verdict
    assert "distribution than Base" not in verdict


def test_markdown_takes_names_literally() -> None:
    assert escape("a|b *c* <d>\n`e`") == r"a\|b \*c\* &lt;d&gt; \`e\`"


def test_the_csv_has_a_row_for_every_model_and_domain(reported: RunDir) -> None:
    text = (reported.evaluation / "model_comparison.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    results = load_results(reported)
    assert len(rows) == 15
    for row in rows:
        found = results["evaluation"][row["model"]]["domain_results"][row["domain"]]
        assert float(row["main_metric"]) == found["main_metric"]
        assert [float(row["ci95_low"]), float(row["ci95_high"])] == found["ci95"]
        strict = [row["all_required"], row["all_required_ci95_low"], row["all_required_ci95_high"]]
        if row["domain"] == "aiops":
            values = [found["also"]["all_required"], *found["also_ci95"]["all_required"]]
            assert [float(value) for value in strict] == values
        else:
            assert strict == ["", "", ""]
        assert row["contaminated"] == ("True" if row["domain"] == "code" else "False")
        kl = results["fidelity"][row["model"]]["domains"][row["domain"]]["ci95"]["mean_kl"]
        assert [float(row["mean_kl_ci95_low"]), float(row["mean_kl_ci95_high"])] == kl


def test_the_summary_shows_scores_and_mean_kl(reported: RunDir) -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(summary_table(load_results(reported)))
    text = console.export_text()
    assert "math (synthetic)" in text
    assert "Mean KL" in text
    assert re.search(r"\d+\.\d%", text)
    assert "all required, n=100" in text
    below = text.split("Mean KL")[1].splitlines()
    assert len(re.findall(r"\d\.\d+–\d\.\d+", below[1])) == 4  # the teacher's is 0 by definition


def test_the_terminal_says_that_a_score_is_contaminated(reported: RunDir, tmp_path: Path) -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    print_summary(reported, console)
    assert "The code score is contaminated and supports no conclusion about new problems." in console.export_text()
    config, run_dir = make_run(tmp_path, sizes={"code": 4})
    stage.run(config, run_dir)
    print_summary(run_dir, console)
    assert "contaminated" not in console.export_text()


def test_the_chinese_summary_cuts_no_name_short_in_a_terminal_of_80_columns(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"aiops": 4}, lang="zh")
    stage.run(config, run_dir)
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(summary_table(load_results(run_dir)))
    assert "…" not in console.export_text()


def test_both_languages_have_the_same_sentences_with_the_same_blanks() -> None:
    assert ENGLISH.keys() == CHINESE.keys()
    for key in ENGLISH:
        assert blanks(ENGLISH[key]) == blanks(CHINESE[key]), key


def test_a_count_of_one_has_the_singular() -> None:
    text = Text("en")
    assert text("heldout_loss", n="1") == "on 1 answer held out of training"
    assert text("heldout_loss", n="1,000") == "on 1,000 answers held out of training"
    one, many = (text("warn_repeated_train", domain="d", found=found, n=10, example="a = b") for found in (1, 2))
    assert one == "d: 1 of 10 training rows repeats the prompt of an earlier row (a = b), so it counts more than once"
    assert many == "d: 2 of 10 training rows repeat the prompt of an earlier row (a = b), so they count more than once"


def test_words_for_one_and_for_many_come_in_pairs_and_no_noun_of_a_count_is_fixed() -> None:
    for key, sentence in ENGLISH.items():
        specs = [spec for _, name, spec, _ in string.Formatter().parse(sentence) if name and spec and "|" in spec]
        assert all(spec.count("|") == 1 for spec in specs), key
        fixed = re.findall(
            r"\{(?:n|found|cores|threads)\} (?:\w+ )*?(?:items|answers|prompts|rows|cores|threads)\b", sentence
        )
        assert not fixed or key in SEVERAL, key


def test_every_sentence_is_used() -> None:
    folder = Path(stage.__file__).parent
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.suffix in (".py", ".jinja", ".js") and path.stem not in ("english", "chinese")
    )
    everything = "".join(path.read_text(encoding="utf-8") for path in folder.parent.rglob("*.py"))
    built = {f"say_{verdict}" for verdict in ("higher", "lower", "no detectable difference")}
    built |= {key for key in ENGLISH if key.startswith("warn_") and f'"{key.removeprefix("warn_")}"' in everything}
    unused = [key for key in ENGLISH if f'"{key}"' not in sources and f"'{key}'" not in sources]
    assert [key for key in unused if key not in built and f"strings.{key}" not in sources] == []


def test_every_verdict_of_a_grader_has_a_name_in_both_languages() -> None:
    assert [status for task in TASKS.values() for status in task.statuses if status not in task.names] == []


def warnings_of(rows: list[Row]) -> list[Warned]:
    tally = Tally()
    tally.add(Choice([], rows, []))
    return tally.metrics()["warnings"]


def test_what_stages_warn_of_is_said_in_the_language_of_the_report() -> None:
    row = {"domain": "math", "finish_reason": "length", "num_tokens": 8, "graded": {"score": 0}, "response": "4"}
    rows = [row] * 5
    stopped = [row | {"finish_reason": "stop", "response": "<think>Let me see"}] * 5
    found = [*warnings_of(rows), *warnings_of(stopped)]
    found += TopkCheck(0.31, 0.5, -0.02, 0.9, 0.8).warnings()
    cut, unclosed, topk = (say(json.loads(json.dumps(warning)), Text("zh")) for warning in found)
    assert cut.startswith("5 条教师在数学上的回答中有 5 条在 max_new_tokens 处被截断")
    assert unclosed.startswith("5 条教师在数学上的回答中有 5 条结束时仍未走出思考")
    assert all(part in topk for part in ("偏差达 50%", "-2%", "31%"))
    cut, unclosed, topk = (say(warning, Text("en")) for warning in found)
    assert cut.startswith("5 of 5 teacher answers on math were cut at max_new_tokens")
    assert unclosed.startswith("5 of 5 teacher answers on math ended inside their thinking")
    assert "by 50% for a single token and by -2% over all tokens (31% of" in topk


def test_a_sentence_in_a_manifest_of_an_early_version_stays_as_it_is() -> None:
    assert say("5 of 5 of something", Text("zh")) == "5 of 5 of something"


def test_every_warning_of_the_report_is_said_in_both_languages(tmp_path: Path) -> None:
    models = ("teacher", "student_base", "student_kd")
    for lang in ("en", "zh"):
        config, run_dir = make_run(tmp_path, name=lang, lang=lang, models=models, code_train_source="humaneval",
                                   math_source="synthetic")  # fmt: skip
        stage.run(config, run_dir)
    english, chinese = (load_results(RunDir(tmp_path / lang))["warnings"] for lang in ("en", "zh"))
    assert len(english) == len(chinese) >= 4
    assert all(re.search("[\u4e00-\u9fff]", text) for text in chinese if "max_length" not in text)
    assert not any("{" in text for text in [*english, *chinese])


def test_every_metric_has_a_name_in_both_languages() -> None:
    assert [task.name for task in TASKS.values() if task.metric(ExperimentConfig()) not in task.names] == []


def test_a_chinese_report_is_chinese(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 10}, lang="zh")
    stage.run(config, run_dir)
    markdown = (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8")
    assert "## 结论" in markdown
    assert "未检出差异" in markdown
    assert "no detectable difference" not in markdown
    assert "no_answer" not in markdown
    assert "KD 学生对比 SFT 学生：" in markdown
    assert "精确匹配率，n=10" in markdown
    prose = re.sub(r"\[[^\]]*\]|\([^)]*\)", "", markdown.split("## 警告")[0])
    assert not re.search(r"[\u4e00-\u9fff][,;:]", prose)


def test_two_runs_are_compared_on_the_items_they_share(tmp_path: Path) -> None:
    make_run(tmp_path, name="first", sizes={"math": 30})
    make_run(tmp_path, name="second", sizes={"math": 40, "code": 10}, seed=1, kd_lr=3e-4, models=("student_kd",))
    text = compare_runs(tmp_path / "first", tmp_path / "second")
    assert text.startswith("# first against second")
    assert re.search(r"\| kd\\_lr \| 0\.00015 \| 0\.0003 \|", text)
    contrasts = text.split("## Paired contrasts")[1].split("##")[0]
    assert re.search(r"\| math \| KD \| 30 \|", contrasts)
    assert "code" not in contrasts
    assert "Teacher" not in contrasts


def test_items_that_were_changed_are_not_paired(tmp_path: Path) -> None:
    make_run(tmp_path, name="first", sizes={"math": 10})
    make_run(tmp_path, name="second", sizes={"code": 10})
    assert "share no evaluation item" in compare_runs(tmp_path / "first", tmp_path / "second")


def test_comparing_something_else_than_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape("config.yaml")):
        compare_runs(tmp_path, tmp_path)


SEVERAL = ("never_right_note", "leaks_note", "warn_same_answers")  # their counts are always above 1


def blanks(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}

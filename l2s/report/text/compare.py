"""Two experiments side by side: their settings that differ, and their results on the items they share."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from l2s.arms import MODELS
from l2s.evaluation import stats
from l2s.jsonl import Row
from l2s.report.numbers.costs import check_one_engine
from l2s.report.numbers.files import RunFiles, read_run
from l2s.report.numbers.results import build_results, shown_domains
from l2s.report.numbers.schema import Results
from l2s.report.numbers.scores import clusters, contrast, pair
from l2s.report.text import formats
from l2s.report.text.markdown import escape, render_table
from l2s.report.text.strings import Text
from l2s.report.text.tables.contrasts import contrast_cells
from l2s.report.text.tables.fidelity import kl_cell
from l2s.report.text.tables.scores import score_cell
from l2s.report.text.tables.table import Cells, Table, domain_label, make_table
from l2s.run_dir import RunDir, differing
from l2s.tasks.own.user_code import parse_spec
from l2s.tasks.table import in_order

NAMES_AND_PLACES = (
    "experiment_name",
    "output_dir",
    "processed_dir",
    "lang",
)  # change no result


@dataclass(frozen=True)
class Run:
    """One side of the comparison.

    Attributes:
        name: that of its folder; the path as it was given, if two folders have one name.
    """

    name: str
    files: RunFiles
    results: Results


def compare_runs(a: Path, b: Path) -> str:
    """A Markdown comparison of two run folders, in the language of the first, made from their files alone.

    Raises:
        UserError: one of them is not the folder of an experiment.
    """
    names = [path.resolve().name for path in (a, b)]
    if names[0] == names[1] and a.resolve() != b.resolve():
        names = [str(a), str(b)]
    runs = (_load(a, names[0]), _load(b, names[1]))
    check_one_engine(
        {cost["engine"]: f"{run.name}/{model}" for run in runs for model, cost in run.results["models"].items()}
    )
    text = Text(runs[0].files.config.lang)
    parts = [f"# {escape(text('compare_title', a=runs[0].name, b=runs[1].name))}"]
    for title, table, empty in (
        ("compare_config", _config_table(*runs, text), "compare_same_config"),
        ("compare_scores", _score_table(*runs, text), "say_nothing"),
        ("compare_contrasts", _contrast_table(*runs, text), "compare_no_items"),
        ("compare_fidelity", _fidelity_table(*runs, text), "no_fidelity"),
        ("compare_cost", _time_table(*runs, text), "none"),
    ):
        parts += [f"## {text(title)}", text(empty) if table.is_empty else render_table(table)]
        if title == "compare_config":
            parts += [escape(note) for note in (*_grader_notes(*runs, text), *_circumstance_notes(*runs, text))]
        if title == "compare_scores":
            parts += [escape(note) for run in runs for note in _seed_notes(run, text)]
        if title == "compare_contrasts" and not table.is_empty:
            parts.append(escape(text("compare_contrasts_note")))
    return "\n\n".join(parts) + "\n"


def _load(root: Path, name: str) -> Run:
    run_dir = RunDir(root)
    files = read_run(run_dir.load_config(), run_dir)
    return Run(name, files, build_results(files))


def _seed_notes(run: Run, text: Text) -> list[str]:
    """Of which seed the students of `run` are, if it trained with several."""
    if not run.results["seeds"]:
        return []
    seeds = run.results["seeds"][0]["seeds"]
    return [text("compare_seed", name=run.name, seed=seeds[0], seeds=", ".join(map(str, seeds)))]


def _config_table(a: Run, b: Run, text: Text) -> Table:
    left, right = (run.results["config"] | differing(run.files.manifests.values()) for run in (a, b))
    names = [name for name in {**left, **right} if name not in NAMES_AND_PLACES and not name.startswith("run_")]
    rows: list[Cells] = [
        [name, str(left.get(name)), str(right.get(name))] for name in names if left.get(name) != right.get(name)
    ]
    contents: list[Cells] = [
        [text("compare_content", name=name), *(_shortened(digests) for digests in pair_of_digests)]
        for name, pair_of_digests in _changed_files(a, b).items()
    ]
    return make_table([text("setting"), a.name, b.name], rows + contents + _circumstances(a, b, text))


def _circumstances(a: Run, b: Run, text: Text) -> list[Cells]:
    """Rows of the versions and machines that stages of both runs had, where they differ."""
    common = a.files.manifests.keys() & b.files.manifests.keys()
    left, right = (_found_by_stages(run, common, text) for run in (a, b))
    return [
        [name, *(", ".join(sorted(values)) for values in (left[name], right[name]))]
        for name in left
        if name in right and left[name] != right[name]
    ]


def _found_by_stages(run: Run, stages: Set[str], text: Text) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for manifest in (run.files.manifests[stage] for stage in run.files.manifests if stage in stages):
        for package, version in manifest.versions.items():
            found.setdefault(text("compare_version", name=package), set()).add(version)
        found.setdefault(text("devices"), set()).add(manifest.device)
        if manifest.machine:
            counts = {name: manifest.machine[name] for name in ("cores", "threads", "usable_threads")}
            processor = f"{manifest.machine['cpu']}, {text('processor_count', **counts)}"
            found.setdefault(text("processor"), set()).add(processor)
    return found


def _circumstance_notes(a: Run, b: Run, text: Text) -> list[str]:
    return [text("compare_circumstances")] if _circumstances(a, b, text) else []


def _changed_files(a: Run, b: Run) -> dict[str, tuple[set[str], set[str]]]:
    """Files and models with one name in both runs, but another content: their fingerprints in either.

    Only stages that both finished are compared. What a run made itself follows from its settings and these files.
    """
    common = a.files.manifests.keys() & b.files.manifests.keys()
    left, right = _outside_files(a, common), _outside_files(b, common)
    return {name: (left[name], right[name]) for name in left if name in right and left[name] != right[name]}


def _outside_files(run: Run, stages: Set[str]) -> dict[str, set[str]]:
    """The fingerprints of what these stages read from outside the run folder: data, graders and local models."""
    made = {name for manifest in run.files.manifests.values() for name in manifest.outputs}
    found: dict[str, set[str]] = {}
    for stage, manifest in run.files.manifests.items():
        for name, digest in manifest.inputs.items() if stage in stages else ():
            inside = name in made or (not Path(name).is_absolute() and (run.files.root / name).exists())
            if not inside and not digest.startswith("hub:"):  # the name of a hub model is a setting
                found.setdefault(name, set()).add(digest)
    return found


def _shortened(digests: Set[str]) -> str:
    return ", ".join(f"sha256 {digest[:8]}" for digest in sorted(digests))


def _grader_notes(a: Run, b: Run, text: Text) -> list[str]:
    """That the runs were graded by different code, where their setting names one file that has changed."""
    specs = [parse_spec(run.files.config.own_grader) for run in (a, b)]
    files = {str(spec.file) for spec in specs if spec}
    return [text("compare_grader_changed", file=name) for name in _changed_files(a, b) if name in files]


def _score_table(a: Run, b: Run, text: Text) -> Table:
    found = {
        (domain, model): [
            run.results["evaluation"].get(model, {"domain_results": {}})["domain_results"].get(domain) for run in (a, b)
        ]
        for domain in _domains(a, b)
        for model in MODELS
    }
    rows: list[Cells] = [
        [
            _label(a, b, domain, text),
            text(model),
            *(score_cell(result, show_count=True) for result in results),
        ]
        for (domain, model), results in found.items()
        if any(results)
    ]
    return make_table([text("domain"), text("model"), a.name, b.name], rows)


def _domains(a: Run, b: Run) -> list[str]:
    return in_order([*shown_domains(a.results), *shown_domains(b.results)])


def _label(a: Run, b: Run, domain: str, text: Text) -> str:
    """The domain's name, called synthetic if a generator made its items in either run."""
    labels = {domain_label(run.results, domain, text) for run in (a, b)}
    return max(labels, key=len)


def _contrast_table(a: Run, b: Run, text: Text) -> Table:
    """B - A for each model that both evaluated."""
    rows: list[Cells] = []
    for domain in _domains(a, b):
        pairs = {model: _shared(a.files, b.files, model, domain) for model in MODELS}
        compared = {model: _compare(found) for model, found in pairs.items() if found}
        adjusted = stats.holm([comparison.p_value for comparison in compared.values()])
        for (model, comparison), p_holm in zip(compared.items(), adjusted, strict=True):
            found = contrast(domain, model, model, comparison, p_holm, tests=len(compared))
            rows.append(
                [
                    _label(a, b, domain, text),
                    text(model),
                    formats.count(found["n"]),
                    *contrast_cells(found, text),
                ]
            )
    header = ("domain", "model", "items", "difference", "ci95", "p_holm", "wins_losses", "detectable", "conclusion")
    return make_table([text(name) for name in header], rows)


def _shared(a: RunFiles, b: RunFiles, model: str, domain: str) -> list[tuple[Row, Row]]:
    """(B's, A's) answers to the items of a domain that are the same in both runs."""
    identity = ("messages", "reference")
    return [
        (right, left)
        for right, left in pair(b.predictions.get(model, []), a.predictions.get(model, []))
        if None not in (right["score"], left["score"])
        and right["domain"] == domain
        and all(right[name] == left[name] for name in identity)
    ]


def _compare(pairs: Sequence[tuple[Row, Row]]) -> stats.PairedComparison:
    labels = clusters([row for row, _ in pairs])
    return stats.paired_comparison([x["score"] for x, _ in pairs], [y["score"] for _, y in pairs], clusters=labels)


def _fidelity_table(a: Run, b: Run, text: Text) -> Table:
    """Fidelity of both runs. It is not paired: each run has the answers of its own teacher."""
    rows: list[Cells] = [
        [text(model), *(kl_cell(run.results["fidelity"].get(model)) for run in (a, b))]
        for model in MODELS
        if any(model in run.results["fidelity"] for run in (a, b))
    ]
    return make_table([text("mean_kl"), a.name, b.name], rows)


def _time_table(a: Run, b: Run, text: Text) -> Table:
    stages = {**a.results["stages"], **b.results["stages"]}
    rows: list[Cells] = [[stage, *(_time(run.results, stage) for run in (a, b))] for stage in stages]
    return make_table([text("stage"), a.name, b.name], rows)


def _time(results: Results, stage: str) -> str:
    return formats.duration(results["stages"][stage]["seconds"]) if stage in results["stages"] else formats.NONE

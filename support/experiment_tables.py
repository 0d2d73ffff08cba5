"""The kinds of tables that docs/RESULTS.md has, from archived experiments."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from l2s.arms import ARMS, BASE, MODELS, TEACHER
from l2s.evaluation import stats
from l2s.jsonl import Row
from l2s.report.numbers.scores import clusters, is_truncated
from l2s.report.text.formats import bracketed, nats, percent, points
from support.experiment_kept import KD, SFT, Kept, titled

SETTINGS = {
    "sft": ("sft_lr", "sft_epochs"),
    "kd": ("kd_lr", "kd_epochs", "kd_init", "temperature", "alpha"),
    "opd": ("opd_lr", "opd_steps", "opd_batch_size", "kd_init"),
}

Pairs = Sequence[tuple[str, tuple[str, str], tuple[str, str]]]  # title, and two students, each with its experiment


def bounded(value: float, bounds: Sequence[float] | None, digits: int = 1) -> str:
    """A rate and its interval, in percent."""
    low, high = bounds or (value, value)
    return f"{percent(value, digits)} [{100 * low:.1f}, {100 * high:.1f}]"


def difference(value: float, bounds: Sequence[float] | None) -> str:
    """A difference of rates and its interval, in points."""
    return points(value) + bracketed(bounds and [100 * bound for bound in bounds])


def models_table(shown: Sequence[tuple[Kept, str]]) -> list[str]:
    """A row for each model: score, share of the teacher's lead, and distance from the teacher."""
    lines = [
        f"| model | {shown[0][0].measured} | share of the teacher's lead | mean KL, nats per token |",
        "|---|---:|---:|---:|",
    ]
    for kept, model in shown:
        gaps = {gap["model"]: gap for gap in kept.results["gap_recovered"]}
        result, gap, close = kept.result(model), gaps.get(model), kept.results["fidelity"].get(model)
        assert result is not None
        assert result["main_metric"] is not None
        share = bounded(gap["recovered"], gap["ci95"], 0) if gap and gap["recovered"] is not None else ""
        low, high = close["ci95"]["mean_kl"] if close and close["ci95"] else (0.0, 0.0)
        distance = f"{nats(close['mean_kl'])} [{nats(low)}, {nats(high)}]" if close and model != TEACHER else ""
        score = bounded(result["main_metric"], result["ci95"])
        lines.append(f"| {MODELS[model].title} | {score} | {share} | {distance} |")
    return lines


def contrasts_table(kept: Kept) -> list[str]:
    """A row for each contrast: on the first seed's students, and over all seeds with the variation between them."""
    several = len(kept.seeds) > 1
    lines = ["| contrast | points, first seed | p (Holm) | detectable with 80 % power from |"]
    lines = [lines[0] + (f" points, seeds {', '.join(map(str, kept.seeds))} |" if several else "")]
    lines.append("|---|---:|---:|---:|" + "---:|" * several)
    for contrast in kept.results["comparisons"]:
        model, reference = contrast["model"], contrast["reference"]
        title = f"{MODELS[model].title} − {MODELS[reference].title}"
        detectable = contrast["minimum_detectable_difference"]
        power = points(detectable).lstrip("+") if detectable is not None else ""
        own = difference(contrast["difference"], contrast["ci95"])
        line = f"| {title} | {own} | {contrast['p_holm']:.2g} | {power} |"
        lines.append(line + (f" {_over_seeds(kept, model, reference)} |" if several else ""))
    return lines


def _over_seeds(kept: Kept, model: str, reference: str) -> str:
    """The mean difference over seeds; students are paired by seed, answers by item."""
    by_seed = []
    for seed in kept.seeds:
        minus = kept.scores(reference if reference == BASE else kept.of_seed(reference, seed))
        by_seed.append([a - b for a, b in zip(kept.scores(kept.of_seed(model, seed)), minus, strict=True)])
    compared = stats.compare_over_seeds(by_seed, [0.0] * len(by_seed[0]))
    return difference(compared.difference, compared.ci95)


def seeds_table(kept: Kept) -> list[str]:
    """A row for each arm: the score of each seed, and their spread beside the interval over items."""
    titles = " | ".join(f"seed {seed}" for seed in kept.seeds)
    lines = [f"| arm | {titles} | sd between seeds | half of the item interval |"]
    lines.append("|---|" + "---:|" * (len(kept.seeds) + 2))
    for spread in kept.results["seeds"]:
        scores = " | ".join(percent(score) for score in spread["scores"])
        half = 50 * (spread["ci95"][1] - spread["ci95"][0])
        lines.append(f"| {MODELS[spread['model']].title} | {scores} | {100 * spread['sd']:.1f} | {half:.1f} |")
    return lines


def settings_table(experiments: Sequence[Kept]) -> list[str]:
    """A row for each trained student: the settings of its arm, its score and its distance from the teacher."""
    lines = [f"| experiment | arm | settings | {experiments[0].measured} | mean KL |", "|---|---|---|---:|---:|"]
    for kept in experiments:
        for arm in ARMS.values():
            result = kept.result(arm.model.name)
            if result is None or result["main_metric"] is None or arm.name not in SETTINGS:
                continue
            config: dict[str, Any] = kept.results["config"]
            settings = ", ".join(f"{name} {config[name]}" for name in SETTINGS[arm.name])
            close = kept.results["fidelity"][arm.model.name]
            score = bounded(result["main_metric"], result["ci95"])
            lines.append(f"| {kept.name} | {arm.title} | {settings} | {score} | {nats(close['mean_kl'])} |")
    return lines


def pairs_table(experiments: Mapping[str, Kept], pairs: Pairs) -> list[str]:
    """A row for each pair of archived students: the difference on the same items; Holm over the rows."""
    pairs = [pair for pair in pairs if all(_has(experiments, *student) for student in pair[1:])]
    scores = [[experiments[name].scores(model) for model, name in pair[1:]] for pair in pairs]
    units = [clusters(experiments[name].ordered(model)) for _, (model, name), _ in pairs]
    compared = [stats.paired_comparison(*both, clusters=labels) for both, labels in zip(scores, units, strict=True)]
    adjusted = stats.holm([one.p_value for one in compared])
    lines = [f"| difference | points, n={compared[0].n:,} | p (Holm) |", "|---|---:|---:|"]
    for (title, _, _), one, p in zip(pairs, compared, adjusted, strict=True):
        lines.append(f"| {title} | {difference(one.difference, one.ci95)} | {p:.2g} |")
    return lines


def _has(experiments: Mapping[str, Kept], model: str, name: str) -> bool:
    return name in experiments and model in experiments[name].predictions


GROUPS: Mapping[str, Callable[[Row], bool]] = {  # of AIOps logs
    "faults that training has": lambda row: not row["meta"]["healthy"] and not row["meta"]["eval_only_family"],
    "faults that only evaluation has": lambda row: row["meta"]["eval_only_family"],
    "healthy logs": lambda row: row["meta"]["healthy"],
}


def lead_table(experiments: Mapping[str, Kept], beside: Kept, students: Sequence[tuple[str, str]]) -> list[str]:
    """A row for each student (model, experiment): its score on the items that the teacher of `beside` answered, and its
    share of that teacher's lead over the base."""
    asked = [str(row["id"]) for row in beside.ordered(TEACHER)]
    units = clusters(beside.ordered(TEACHER))
    lines = [f"| model | {beside.measured} | share of the teacher's lead |", "|---|---:|---:|"]
    for model, name in students:
        kept = experiments[name]
        found = {str(row["id"]): float(row["score"]) for row in kept.predictions[model]}
        scores = [found[item] for item in asked]
        gap = stats.gap_recovered(scores, beside.scores(BASE), beside.scores(TEACHER), clusters=units)
        assert gap.ratio is not None
        score = bounded(statistics.mean(scores), stats.mean_interval(scores))
        lines.append(f"| {titled(kept, model)} | {score} | {bounded(gap.ratio, gap.ci95, 0)} |")
    return lines


def aiops_groups_table(kept: Kept) -> list[str]:
    """A row for each group of AIOps logs: the scores of the models, and what KD gained over the base.

    The last row has all logs, with other units of the intervals: all healthy logs are one.
    """
    models = [TEACHER, BASE, KD]
    lines = [f"| logs | n | {' | '.join(MODELS[model].title for model in models)} | KD − Base, points |"]
    lines.append("|---|" + "---:|" * (len(models) + 2))
    for title, belongs in [*GROUPS.items(), ("all, healthy ones as one unit", lambda row: True)]:
        rows = {model: [row for row in kept.ordered(model) if belongs(row)] for model in models}
        units = clusters(rows[KD]) if title in GROUPS else [row["meta"]["family"] for row in rows[KD]]
        scores = {model: [float(row["score"]) for row in rows[model]] for model in models}
        own = " | ".join(
            bounded(sum(found) / len(found), stats.mean_interval(found, clusters=units)) for found in scores.values()
        )
        gain = stats.paired_comparison(scores[KD], scores[BASE], clusters=units)
        lines.append(f"| {title} | {len(rows[KD])} | {own} | {difference(gain.difference, gain.ci95)} |")
    return lines


def answers_table(kept: Kept) -> list[str]:
    """A row for each model: score, length and cut answers, and the share of the teacher's lead if it was evaluated."""
    gaps = {gap["model"]: gap for gap in kept.results["gap_recovered"] if gap["domain"] == kept.domain}
    header = ["model", kept.measured, "mean tokens of an answer", "cut answers"]
    header += ["share of the teacher's lead"] * bool(gaps)
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    for model in (one for one in (TEACHER, BASE, SFT, KD) if one in kept.predictions):
        rows, scores = kept.predictions[model], kept.scores(model)
        score = bounded(statistics.mean(scores), stats.mean_interval(scores))
        tokens, cut = statistics.mean(row["num_tokens"] for row in rows), sum(map(is_truncated, rows))
        cells = [titled(kept, model), score, f"{tokens:.0f}", str(cut)]
        if gaps:
            gap = gaps.get(model)
            cells.append(bounded(gap["recovered"], gap["ci95"], 0) if gap and gap["recovered"] is not None else "")
        lines.append(f"| {' | '.join(cells)} |")
    return lines

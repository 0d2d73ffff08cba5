"""Tables of docs/RESULTS.md, from the archived experiments alone."""

from __future__ import annotations

import json
import statistics
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from l2s.arms import ARMS, BASE, MODELS, TEACHER, copy_name
from l2s.evaluation import stats
from l2s.jsonl import Row
from l2s.report.numbers.schema import DomainResult, Results
from l2s.report.numbers.scores import clusters, is_truncated
from l2s.report.text.formats import bracketed, nats, percent, points
from support.experiment_archive import RESULTS

SFT, KD, OPD = "student_sft", "student_kd", "student_opd"
MEASURES = {"own": "right answers", "math": "right answers", "code": "pass@1", "aiops": "concept rate"}
SELECTION = ("rate-", "temperature-", "alpha-")  # names of the runs that chose settings
SETTINGS = {
    "sft": ("sft_lr", "sft_epochs"),
    "kd": ("kd_lr", "kd_epochs", "kd_init", "temperature", "alpha"),
    "opd": ("opd_lr", "opd_steps", "opd_batch_size", "kd_init"),
}


@dataclass(frozen=True)
class Kept:
    """An archived experiment: its results and each model's predictions, those of further seeds included."""

    name: str
    results: Results
    predictions: dict[str, list[Row]]

    @classmethod
    def load(cls, name: str) -> Kept:
        """Read it from its archive, without unpacking."""
        predictions = {}
        with tarfile.open(RESULTS / f"{name}.tar.xz") as tar:
            for member in tar:
                path, file = Path(member.name), tar.extractfile(member)
                assert file is not None, "archives hold files alone"
                if path.name == "results.json":
                    results = cast(Results, json.load(file))
                elif path.parent.name == "predictions":
                    predictions[path.stem] = [json.loads(line) for line in file]
        return cls(name, results, predictions)

    def only(self, domain: str) -> Kept:
        """The same with the scores and predictions of one domain alone."""
        evaluation: Any = {
            model: {**found, "domain_results": {domain: found["domain_results"][domain]}}
            for model, found in self.results["evaluation"].items()
        }
        predictions = {
            model: [row for row in rows if row["domain"] == domain] for model, rows in self.predictions.items()
        }
        return replace(self, results={**self.results, "evaluation": evaluation}, predictions=predictions)

    @property
    def first(self) -> DomainResult:
        """The scores of the first model."""
        result = self.result(next(iter(self.results["evaluation"])))
        assert result is not None
        return result

    def result(self, model: str) -> DomainResult | None:
        """The scores of a model on the only domain, or None where it was not evaluated."""
        found = self.results["evaluation"].get(model)
        return next(iter(found["domain_results"].values())) if found else None

    @property
    def measured(self) -> str:
        """What is measured, and on how many items."""
        return f"{MEASURES[self.domain]}, n={self.first['n']:,}"

    @property
    def domains(self) -> list[str]:
        """The domains that were evaluated."""
        return list(next(iter(self.results["evaluation"].values()))["domain_results"])

    @property
    def domain(self) -> str:
        """The only domain."""
        (domain,) = self.domains
        return domain

    def scores(self, model: str) -> list[float]:
        """The score of each item, in the order of the items."""
        return [float(row["score"]) for row in self.ordered(model)]

    def ordered(self, model: str) -> list[Row]:
        """The predictions in the order of the items."""
        return sorted(self.predictions[model], key=lambda row: str(row["id"]))

    @property
    def seeds(self) -> list[int]:
        """The seeds with which every arm was evaluated."""
        numbers = [int(seed) for seed in self.results["config"]["seeds"].split(",") if seed]
        students = [model for model in self.results["evaluation"] if model not in (TEACHER, BASE)]
        return [seed for seed in numbers if {self.of_seed(one, seed) for one in students} <= set(self.predictions)]

    def of_seed(self, model: str, seed: int) -> str:
        """The name of an arm's student with this seed; the first seed's is the arm's own."""
        first = int(self.results["config"]["seeds"].split(",")[0])
        return model if seed == first else copy_name(model, seed)


def titled(kept: Kept, model: str) -> str:
    """The name of a model; of a student also what else its training had, and whether it has half of its change."""
    return MODELS[model].title + (VARIANTS.get(kept.name, "") if model in (SFT, KD) else "")


def bounded(value: float, bounds: Sequence[float] | None, digits: int = 1) -> str:
    """A rate and its interval, in percent."""
    low, high = bounds or (value, value)
    return f"{percent(value, digits)} [{100 * low:.1f}, {100 * high:.1f}]"


def difference(value: float, bounds: Sequence[float] | None) -> str:
    """A difference of rates and its interval, in points."""
    return points(value) + bracketed(bounds and [100 * bound for bound in bounds])


def headline(experiments: Mapping[str, Kept]) -> list[tuple[Kept, str]]:
    """The models of the first table and of the figure, each with its experiment: all have the same items."""
    shown = [(experiments["final"], model) for model in experiments["final"].results["evaluation"]]
    return shown + [(experiments[name], OPD) for name in ("opd-from-base",) if name in experiments]


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


FACTORS = (  # title, a student of one experiment, and one of another that differs in one setting
    ("SFT: rate 5e-5 − 1e-4", (SFT, "rate-5e-05"), (SFT, "rate-0.0001")),
    ("KD: rate 5e-5 − 1e-4", (KD, "rate-5e-05"), (KD, "rate-0.0001")),
    ("KD: T=2 − T=1", (KD, "temperature-2"), (KD, "rate-0.0001")),
    ("KD: T=3 − T=1", (KD, "temperature-3"), (KD, "rate-0.0001")),
    ("KD: alpha 0.3 − 0", (KD, "alpha-0.3"), (KD, "rate-0.0001")),
    ("KD: alpha 0.5 − 0", (KD, "alpha-0.5"), (KD, "rate-0.0001")),
)
ALONE = ("qwen_aiops",)  # experiments of another pair, with tables of their own
REFERENCES = ("qwen_math", "qwen_math_500")  # of the same pair, on reference solutions; the second has the teacher
WHOLE, HALF = "qwen_math", "qwen_half"  # the same students with all of their change, and with half of it
PROGRAMS, PROGRAMS_HALF = "qwen_programs", "qwen_programs_half"  # the same, trained on the teacher's programs as well
VARIANTS = {HALF: ", half", PROGRAMS: " with programs", PROGRAMS_HALF: " with programs, half"}
Pairs = Sequence[tuple[str, tuple[str, str], tuple[str, str]]]
FURTHER: Mapping[str, tuple[Sequence[str], Pairs]] = {  # experiments beside the final one, and their contrasts
    "longer": (
        ("kd-after-sft", "sft-twice"),
        (
            ("KD after SFT − SFT", (KD, "kd-after-sft"), (SFT, "final")),
            ("SFT twice as long − SFT", (SFT, "sft-twice"), (SFT, "final")),
            ("KD after SFT − SFT twice as long", (KD, "kd-after-sft"), (SFT, "sft-twice")),
        ),
    ),
    "opd": (
        ("opd-from-base", "opd-from-sft"),
        (
            ("OPD from base − Base", (OPD, "opd-from-base"), (BASE, "opd-from-base")),
            ("OPD from base − SFT", (OPD, "opd-from-base"), (SFT, "final")),
            ("OPD from base − KD", (OPD, "opd-from-base"), (KD, "final")),
            ("OPD from SFT − SFT", (OPD, "opd-from-sft"), (SFT, "opd-from-sft")),
            ("OPD from SFT − OPD from base", (OPD, "opd-from-sft"), (OPD, "opd-from-base")),
        ),
    ),
    "answers": (
        ("answers-1", "answers-4"),
        (("SFT: up to 4 answers − 1", (SFT, "answers-4"), (SFT, "answers-1")),),
    ),
}


def of_one(name: str) -> Pairs:
    """What students gained over the base, KD over SFT, and KD over its teacher, in one experiment."""
    pairs = ((SFT, BASE), (KD, BASE), (KD, SFT), (KD, TEACHER))
    return [(f"{MODELS[one].title} − {MODELS[other].title}", (one, name), (other, name)) for one, other in pairs]


def of_half() -> Pairs:
    """What half of the change gained over the base, and over the whole change."""
    pairs: list[tuple[str, tuple[str, str], tuple[str, str]]] = []
    for model in (SFT, KD):
        half, title = (model, HALF), MODELS[model].title
        pairs += [(f"{title}, half − Base", half, (BASE, HALF)), (f"{title}, half − {title}", half, (model, WHOLE))]
    return [*pairs, ("KD, half − SFT, half", (KD, HALF), (SFT, HALF))]


def of_programs() -> Pairs:
    """What KD with programs beside the solutions gained over the base, and over KD without them."""
    pairs: list[tuple[str, tuple[str, str], tuple[str, str]]] = []
    for name, without in ((PROGRAMS_HALF, HALF), (PROGRAMS, WHOLE)):
        title, others = f"KD{VARIANTS[name]}", f"KD{VARIANTS.get(without, '')}"
        pairs += [(f"{title} − Base", (KD, name), (BASE, WHOLE)), (f"{title} − {others}", (KD, name), (KD, without))]
    return pairs


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


def results_page(experiments: Mapping[str, Kept]) -> dict[str, list[str]]:
    """The tables of docs/RESULTS.md, by what they show; those of experiments that are not archived are left out."""
    final = experiments["final"]
    chosen = [kept for name, kept in experiments.items() if name.startswith(SELECTION)]
    tables = {
        "headline": models_table(headline(experiments)),
        "contrasts": contrasts_table(final),
        "seeds": seeds_table(final),
        "selection": settings_table(chosen),
        "factors": pairs_table(experiments, FACTORS),
    }
    for title, (names, pairs) in FURTHER.items():
        if found := [experiments[name] for name in names if name in experiments]:
            tables[title] = settings_table(found)
            tables[f"{title}: differences"] = pairs_table(experiments, pairs)
            for kept in found:
                if len(kept.seeds) > 1:
                    tables[f"{kept.name}: contrasts"] = contrasts_table(kept)
                    tables[f"{kept.name}: seeds"] = seeds_table(kept)
    for kept in (experiments[name] for name in ALONE if name in experiments):
        tables[kept.name] = models_table([(kept, model) for model in kept.results["evaluation"]])
        tables[f"{kept.name}: differences"] = pairs_table({kept.name: kept}, of_one(kept.name))
        tables[f"{kept.name}: groups"] = aiops_groups_table(kept)
    if HALF in experiments:
        for domain in experiments[HALF].domains:
            both = {name: experiments[name].only(domain) for name in (WHOLE, HALF)}
            tables[f"{HALF}: {domain}"] = answers_table(both[HALF])
            tables[f"{HALF}: {domain}, differences"] = pairs_table(both, of_half())
    for name in (PROGRAMS_HALF, PROGRAMS):
        for domain in experiments[name].domains if name in experiments else ():
            tables[f"{name}: {domain}"] = answers_table(experiments[name].only(domain))
    for domain in experiments[PROGRAMS_HALF].domains if PROGRAMS_HALF in experiments else ():
        names = [name for name in (WHOLE, HALF, PROGRAMS, PROGRAMS_HALF) if name in experiments]
        beside = {name: experiments[name].only(domain) for name in names if domain in experiments[name].domains}
        tables[f"{PROGRAMS}: {domain}, differences"] = pairs_table(beside, of_programs())
    for references in (experiments[name] for name in REFERENCES if name in experiments):
        for domain in references.domains:
            kept = references.only(domain)
            tables[f"{kept.name}: {domain}"] = answers_table(kept)
            tables[f"{kept.name}: {domain}, differences"] = pairs_table({kept.name: kept}, of_one(kept.name))
    return tables

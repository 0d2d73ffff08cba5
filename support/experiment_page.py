"""The tables of docs/RESULTS.md, from the archived experiments alone: which students are shown, and beside which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from l2s.arms import BASE, MODELS, TEACHER
from support.experiment_kept import (
    HALF,
    KD,
    OPD,
    PROGRAMS,
    PROGRAMS_HALF,
    REFERENCES,
    SFT,
    TWICE,
    VARIANTS,
    WHOLE,
    WITH_TEACHER,
    Kept,
)
from support.experiment_tables import (
    Pairs,
    aiops_groups_table,
    answers_table,
    contrasts_table,
    lead_table,
    models_table,
    pairs_table,
    seeds_table,
    settings_table,
)

SELECTION = ("rate-", "temperature-", "alpha-")  # names of the runs that chose settings
ALONE = ("qwen_aiops",)  # experiments of another pair, with tables of their own
FACTORS = (  # title, a student of one experiment, and one of another that differs in one setting
    ("SFT: rate 5e-5 − 1e-4", (SFT, "rate-5e-05"), (SFT, "rate-0.0001")),
    ("KD: rate 5e-5 − 1e-4", (KD, "rate-5e-05"), (KD, "rate-0.0001")),
    ("KD: T=2 − T=1", (KD, "temperature-2"), (KD, "rate-0.0001")),
    ("KD: T=3 − T=1", (KD, "temperature-3"), (KD, "rate-0.0001")),
    ("KD: alpha 0.3 − 0", (KD, "alpha-0.3"), (KD, "rate-0.0001")),
    ("KD: alpha 0.5 − 0", (KD, "alpha-0.5"), (KD, "rate-0.0001")),
)
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


def of_twice() -> Pairs:
    """What a second distillation gained over the first, and both over the base."""
    before = (BASE, TWICE)
    return [
        ("KD twice − KD with programs, half", (KD, TWICE), before),
        ("KD twice − Base", (KD, TWICE), (BASE, WHOLE)),
        ("KD twice − KD", (KD, TWICE), (KD, WHOLE)),
    ]


def parts() -> list[tuple[Sequence[str], Pairs]]:
    """The parts of the page about the Qwen pair: the experiments whose answers are shown, and their contrasts."""
    own: list[tuple[Sequence[str], Pairs]] = [((name,), of_one(name)) for name in REFERENCES]
    return [*own, ((HALF,), of_half()), ((PROGRAMS_HALF, PROGRAMS), of_programs()), ((TWICE,), of_twice())]


def part_tables(experiments: Mapping[str, Kept], names: Sequence[str], pairs: Pairs) -> dict[str, list[str]]:
    """For each domain, the answers of some experiments, and the contrasts on the items of the first of these."""
    tables: dict[str, list[str]] = {}
    shown = [experiments[name] for name in names if name in experiments]
    for domain in dict.fromkeys(domain for kept in shown for domain in kept.domains):
        here = {name: kept.only(domain) for name, kept in experiments.items() if domain in kept.domains}
        found = [here[kept.name] for kept in shown if kept.name in here]
        tables |= {f"{kept.name}: {domain}": answers_table(kept) for kept in found}
        asked = {str(row["id"]) for row in found[0].predictions[KD]}
        on_these = {name: kept.asked(asked) for name, kept in here.items()}
        tables[f"{found[0].name}: {domain}, differences"] = pairs_table(on_these, pairs)
    return tables


def headline(experiments: Mapping[str, Kept]) -> list[tuple[Kept, str]]:
    """The models of the first table and of the figure, each with its experiment: all have the same items."""
    shown = [(experiments["final"], model) for model in experiments["final"].results["evaluation"]]
    return shown + [(experiments[name], OPD) for name in ("opd-from-base",) if name in experiments]


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
    for names, pairs in parts():
        tables |= part_tables(experiments, names, pairs)
    if WITH_TEACHER in experiments:
        further = {name: experiments[name].only("math") for name in VARIANTS if _has_math(experiments, name)}
        students = [(one, name) for name, kept in further.items() for one in (SFT, KD) if one in kept.predictions]
        answered = experiments[WITH_TEACHER].only("math")
        tables[f"{WITH_TEACHER}: further students"] = lead_table(further, answered, students)
    return tables


def _has_math(experiments: Mapping[str, Kept], name: str) -> bool:
    return name in experiments and "math" in experiments[name].domains

"""The verdict: a headline, then one line for each question. It says only what the numbers allow."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from l2s.arms import BASE, CONTRASTS
from l2s.report.numbers.results import has_scores, is_contaminated
from l2s.report.numbers.schema import Contrast, Results, Verdict
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.contrasts import is_detectable
from l2s.report.text.tables.table import domain_label


@dataclass(frozen=True)
class Answered:
    """The verdict in words: the headline, and one line for each further question."""

    headline: str
    lines: list[str]


def write_verdict(results: Results, text: Text) -> Answered:
    """The verdict in the language of `text`."""
    if not results["evaluation"]:
        return Answered(text("say_nothing"), [])
    against_base = _against_base(results)
    lines = [
        *_contrast_sentences(results, text, without=against_base),
        *_fidelity_sentences(results, text),
        *contamination_sentences(results, text),
        *_seed_sentences(results, text),
    ]
    if against_base:
        headline = _headline(against_base, results, text)
    elif results["comparisons"]:
        headline, lines = lines[0], lines[1:]
    else:
        headline = text("say_no_student" if has_scores(results) else "say_not_graded")
    return Answered(text.spaced(headline), [text.spaced(line) for line in lines])


def _against_base(results: Results) -> list[Contrast]:
    """The contrasts with the base student, one for each domain, of the last trained student that has them."""
    found = [contrast for contrast in results["comparisons"] if contrast["reference"] == BASE]
    student = max((_names(contrast) for contrast in found), key=CONTRASTS.index, default=None)
    return [contrast for contrast in found if _names(contrast) == student]


def _headline(contrasts: list[Contrast], results: Results, text: Text) -> str:
    """A student's gain over the base by domain, its distance from the teacher, its size and its speed."""
    student, reference = _names(contrasts[0])
    parts = [text("comma").join(_gain(contrast, results, text) for contrast in contrasts)]
    if {student, reference} <= results["fidelity"].keys():
        before, after = (formats.nats(results["fidelity"][model]["mean_kl"]) for model in (reference, student))
        parts.append(text("say_headline_kl", before=before, after=after))
    ratio = results["ratios"].get(student)
    if ratio and ratio["parameters"] and ratio["tokens_per_second"]:
        size, speed = formats.rate(ratio["parameters"]), formats.rate(ratio["tokens_per_second"])
        parts.append(text("say_headline_size", parameters=size, speed=speed))
    return text("say_contrast", model=text(student), reference=text(reference), parts=text("join").join(parts))


def _gain(contrast: Contrast, results: Results, text: Text) -> str:
    """Such as `math +12.5 [+5.9, +20.4] (60% of the teacher's lead)`."""
    values = {"difference": formats.points(contrast["difference"]), "bounds": _points(contrast)}
    said = text("say_gain", domain=domain_label(results, contrast["domain"], text), **values)
    if not is_detectable(contrast):
        return said + text("say_gain_unclear")
    shares = {(gap["domain"], gap["model"]): gap["recovered"] for gap in results["gap_recovered"]}
    share = shares.get((contrast["domain"], contrast["model"]))
    return said if share is None else said + text("say_gain_share", share=formats.percent(share, 0))


def _contrast_sentences(results: Results, text: Text, *, without: list[Contrast]) -> list[str]:
    """One sentence for each pair of models, domains grouped by finding; `without` the pair of the headline."""
    ordered = sorted(results["comparisons"], key=lambda found: CONTRASTS.index(_names(found)))
    sentences = [
        text("say_contrast", model=text(model), reference=text(reference), parts=_parts(list(group), results, text))
        for (model, reference), group in groupby(ordered, key=_names)
        if (model, reference) not in map(_names, without)
    ]
    if any(is_detectable(contrast) for contrast in ordered):
        sentences.append(text("say_units"))
    return [*sentences, *_unseen_sentences(ordered, text)]


def _unseen_sentences(contrasts: list[Contrast], text: Text) -> list[str]:
    """What the contrasts without a detectable difference could have missed."""
    unseen = [contrast for contrast in contrasts if not is_detectable(contrast)]
    if not unseen:
        return []
    least = [found * 100 for contrast in unseen if (found := contrast["minimum_detectable_difference"]) is not None]
    if len(least) < len(unseen):
        return [text("say_too_few")]
    return [text("say_unseen", points=f"{max(least):.1f}")]


def _seed_sentences(results: Results, text: Text) -> list[str]:
    """Of which seed the students are, if arms were trained with several."""
    if not results["seeds"]:
        return []
    seeds = results["seeds"][0]["seeds"]
    return [text("say_first_seed", seed=seeds[0], seeds=", ".join(map(str, seeds)))]


def _names(contrast: Contrast) -> tuple[str, str]:
    return contrast["model"], contrast["reference"]


def _parts(contrasts: list[Contrast], results: Results, text: Text) -> str:
    verdicts: tuple[Verdict, ...] = ("higher", "lower", "no detectable difference")
    found = {
        verdict: [_finding(contrast, results, text) for contrast in contrasts if contrast["verdict"] == verdict]
        for verdict in verdicts
    }
    return text("join").join(
        text(f"say_{verdict}", domains=text("comma").join(parts)) for verdict, parts in found.items() if parts
    )


def _finding(contrast: Contrast, results: Results, text: Text) -> str:
    """Such as `math (+12.5 [+5.9, +20.4])`, or the bare domain if nothing was detected."""
    label = domain_label(results, contrast["domain"], text)
    if not is_detectable(contrast):
        return label
    return label + text("say_finding", difference=formats.points(contrast["difference"]), bounds=_points(contrast))


def _points(contrast: Contrast) -> str:
    """The interval of a difference of scores, in percentage points."""
    return formats.bracketed(contrast["ci95"] and [100 * bound for bound in contrast["ci95"]])


def _fidelity_sentences(results: Results, text: Text) -> list[str]:
    """Contrasts between trained students, and students that did not come closer to the teacher than the base."""
    keys = {"lower": "say_closer", "higher": "say_farther", "no detectable difference": "say_as_close"}
    return [
        text(
            keys[contrast["verdict"]],
            model=text(contrast["model"]),
            reference=text(contrast["reference"]),
            kl=formats.nats(results["fidelity"][contrast["model"]]["mean_kl"]),
            kl_reference=formats.nats(results["fidelity"][contrast["reference"]]["mean_kl"]),
            difference=formats.signed(contrast["difference"], 4),
            bounds=formats.bracketed(contrast["ci95"], 4),
        )
        for contrast in results["fidelity_comparisons"]
        if contrast["reference"] != "student_base"
        or contrast["verdict"] != "lower"
        or len(results["fidelity_comparisons"]) == 1
    ]


def contamination_sentences(results: Results, text: Text) -> list[str]:
    """One sentence for each domain whose evaluation items were in the training data."""
    return [
        text("say_contaminated", domain=domain_label(results, domain, text))
        for domain in results["contamination"]
        if is_contaminated(results, domain)
    ]
